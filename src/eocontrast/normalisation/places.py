"""Audit rules for the sizes and places of the rasters of one patch."""

from __future__ import annotations

from collections.abc import Mapping

from eocontrast.normalisation.audit import Finding, Severity
from eocontrast.rasters.read import Raster


def audit_sizes(patch: str, sizes: Mapping[str, tuple[int, ...]]) -> list[Finding]:
    """Report each raster that differs in height or width from S2, or else from the first.

    Args:
        patch: Id of the patch.
        sizes: Height and width in pixels, by column of the manifest.
    """
    if not sizes:
        return []
    reference = "s2" if "s2" in sizes else next(iter(sizes))
    return [
        Finding(patch, "size", "error", sizes_differ(name, size, reference, sizes[reference]))
        for name, size in sizes.items()
        if size != sizes[reference]
    ]


def sizes_differ(one: str, size: tuple[int, ...], other: str, expected: tuple[int, ...]) -> str:
    """Return a message with both sizes."""
    return (
        f"{one} has {size[0]} x {size[1]} pixels, {other} {expected[0]} x {expected[1]}; "
        "both must be of one size"
    )


def audit_places(
    patch: str, rasters: Mapping[str, Raster], severity: Severity = "warning"
) -> list[Finding]:
    """Return a finding for each raster that lies elsewhere than the first that says where it lies.

    Args:
        patch: Id of the patch.
        rasters: Rasters by column of the manifest.
        severity: An error for files of the user; published patches may carry wrong places.
    """
    known = [
        (name, grid)
        for name, raster in rasters.items()
        for grid in raster.grids
        if not grid.transform.is_identity
    ]
    found: dict[str, Finding] = {}
    for name, grid in known:
        difference = grid.difference(known[0][1])
        if difference:
            message = f"{name} {difference} {known[0][0]}; bring both to one grid (gdalwarp)"
            found.setdefault(name, Finding(patch, "georeference", severity, message))
    turned = [name for name, raster in rasters.items() if raster.turned]
    for name in set(rasters) - {name for name, _ in known} if turned else ():
        message = (
            f"the rows of {turned[0]} run from south to north, and {name} does not say how its own "
            "run; give it a CRS and a transform"
        )
        found.setdefault(name, Finding(patch, "georeference", severity, message))
    return list(found.values())
