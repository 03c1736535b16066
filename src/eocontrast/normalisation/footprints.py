"""Whether the rasters of one patch cover the same ground, by their sizes and what files say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eocontrast.normalisation.audit import Finding
from eocontrast.rasters.grids import Grid


def audit_sizes(patch: str, sizes: Mapping[str, tuple[int, ...]]) -> list[Finding]:
    """An error for each raster that differs in height and width from S2, or else from the first.

    Args:
        patch: id of the patch.
        sizes: height and width in pixels, by column of the manifest.
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
    """The message that says both sizes."""
    return (
        f"{one} has {size[0]} x {size[1]} pixels, {other} {expected[0]} x {expected[1]}; "
        "both must be of one size"
    )


def audit_places(patch: str, places: Mapping[str, Sequence[Grid]]) -> list[Finding]:
    """A warning for each raster that says it lies elsewhere than the first one that says anything.

    No error: the manifest says what belongs together, and published patches carry wrong places.

    Args:
        patch: id of the patch.
        places: of the files of each raster, by its column of the manifest.
    """
    known = [
        (name, grid)
        for name, grids in places.items()
        for grid in grids
        if not grid.transform.is_identity
    ]
    found: dict[str, Finding] = {}
    for name, place in known:
        difference = _difference(place, known[0][1])
        if difference:
            message = f"{name} and {known[0][0]} {difference}; do they belong together?"
            found.setdefault(name, Finding(patch, "georeference", "warning", message))
    return list(found.values())


def _difference(one: Grid, other: Grid) -> str:
    """What differs, nothing where it is less than half of the finer pixel."""
    if one.crs and other.crs and one.crs != other.crs:
        return f"are in {one.crs.to_string()} and {other.crs.to_string()}"
    apart = max(abs(a - b) for a, b in zip(one.bounds, other.bounds, strict=True))
    if apart > 0.5 * min(one.pixel, other.pixel):
        return f"have bounds that differ by up to {apart:g} (pixels of {other.pixel:g})"
    return ""
