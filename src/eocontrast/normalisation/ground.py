"""Properties of all patches together: the size of a pixel, and the offset of Sentinel-2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from eocontrast.modalities import Sensor
from eocontrast.normalisation.audit import Finding, Severity
from eocontrast.normalisation.pairs import Patch
from eocontrast.patches.agreement import same_pixel
from eocontrast.rasters.offsets import TWICE, DarkEnds, Evidence, is_dark, offset_by_content
from eocontrast.rasters.source import Source

_CURE = (
    "set sources.manifest.s2.offset to -1000 if all have the offset of baseline 04.00, to 0 if "
    "none has it, or convert one group"
)


def pixel_size(patches: Sequence[Patch]) -> float | None:
    """Return the median size of a pixel in metres; None if no raster is georeferenced."""
    # take the median, which a few patches of another size do not move
    sizes = [size for patch in patches if (size := patch.evidence.get("pixel"))]
    # degrees of longitude shrink towards the poles: three digits are exact enough
    return float(f"{np.median(sizes):.3g}") if sizes else None


def with_offset(source: Source, sensor: Sensor, patches: Sequence[Patch]) -> bool | None:
    """Return whether the stored values of Sentinel-2 hold the offset of 1000.

    Returns:
        None if it cannot be told, or for radar.
    """
    counts = [dark for patch in patches if (dark := _dark(patch)) is not None]
    if sensor != "s2" or not counts:
        return None
    evidence = offset_by_content(np.sum(counts, axis=0))
    if evidence == "present" and not any(map(_taken_off, patches)):
        return True
    stated = all(patch.evidence.get("offset") for patch in patches)
    return False if evidence == "absent" or stated else None


def audit_ground(source: Source, patches: Sequence[Patch]) -> Iterator[Finding]:
    """Yield findings on patches that differ from the others in pixel size or in the offset."""
    pixel = pixel_size(patches)
    severity: Severity = "error" if source.files else "warning"
    for patch in patches:
        size = patch.evidence.get("pixel")
        if size and pixel and not same_pixel(size, pixel):
            message = (
                f"pixels have {size:.3g} m, most others {pixel:.3g} m; resample one group "
                "(gdalwarp -tr)"
            )
            yield Finding(patch.id, "resolution", severity, message)
    yield from _offsets(source, patches, severity)
    for patch in patches:
        by_user = (patch.evidence.get("offset") or [""])[0] == "user"
        if _taken_off(patch) and not by_user and patch.evidence.get("below", 0) > TWICE:
            message = (
                "the header or product states an offset of s2, but many values lie too low to hold "
                "it: it was taken off before; set sources.manifest.s2.offset to 0, or correct the "
                "header"
            )
            yield Finding(patch.id, "offset", severity, message)


def _offsets(source: Source, patches: Sequence[Patch], severity: Severity) -> Iterator[Finding]:
    """Compare the dark ends of Sentinel-2's bands, which an offset of 1000 lifts above 1000."""
    declared = source.declared("s2").offset != "auto"
    stated = [] if declared else [patch for patch in patches if _taken_off(patch)]
    silent = [p for p in patches if declared or not p.evidence.get("offset")]
    # patches without optical values have no dark ends
    dark = {patch.id: ends for patch in silent if (ends := _dark(patch)) is not None}
    kinds: dict[str, Evidence] = {name: offset_by_content(ends) for name, ends in dark.items()}
    lifted = [name for name, kind in kinds.items() if kind == "present"]
    without = [name for name, kind in kinds.items() if kind == "absent"]
    near = [name for name in without if not is_dark(dark[name])]
    # ground gets darker without a step at 1000, so many patches just above it are an offset
    clear = len(lifted) >= 2 * (len(near) + 1)
    # a statement shows the kind of product as well as dark ground does
    others = without or [patch.id for patch in stated]
    if lifted and others and (clear or not near):
        message = (
            f"no band of s2 goes below 1000 in {len(lifted)} patches ({_first(lifted)}), but in "
            f"{len(others)} others ({_first(others)}) one does or an offset is stated: "
            f"two kinds of products; {_CURE}"
        )
        level = severity if clear and not declared else "warning"
        yield from (Finding(name, "offset", level, message) for name in lifted)
    elif declared:
        return
    elif lifted and not others and 2 * len(lifted) >= len(dark):
        message = f"no band of s2 goes below 1000 in any patch, as in products since 2022; {_CURE}"
        yield from (Finding(name, "offset", severity, message) for name in lifted)
    elif dark and not without and any(kind == "doubtful" for kind in kinds.values()):
        message = (
            "s2 has no value below 1000, and few of its bands begin there: bright ground, or "
            f"products since 2022; {_CURE}"
        )
        doubtful = [name for name, kind in kinds.items() if kind == "doubtful"]
        yield from (Finding(name, "offset", "warning", message) for name in doubtful)
    if stated and dark:
        message = (
            f"the header or product of {len(stated)} patches ({_first([p.id for p in stated])}) "
            f"states an offset of s2, which is applied; {len(dark)} patches ({_first([*dark])}) "
            "have none"
        )
        yield from (Finding(patch.id, "offset", "warning", message) for patch in stated)
    elif stated:
        message = "the header or product states an offset of s2, which is taken off"
        yield from (Finding(patch.id, "offset", "note", message) for patch in stated)


def _dark(patch: Patch) -> DarkEnds | None:
    counts = patch.evidence.get("dark")
    return np.array(counts, np.int64) if counts else None


def _taken_off(patch: Patch) -> bool:
    """Return whether a statement changed the values; 0 leaves them as they are."""
    statement = patch.evidence.get("offset")
    return bool(statement and statement[1])


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
