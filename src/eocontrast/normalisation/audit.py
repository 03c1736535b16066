"""Audit rules for the values of a raster, and the limit of bad patches.

More rules are in `places`, `shift`, `consistency`, `dataset` and `RasterError`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from eocontrast.modalities import Modality, Sensor, implausible, limits, whole_numbers
from eocontrast.rasters.flat import empty_block, flat_area
from eocontrast.rasters.values import WORDS, Reason
from eocontrast.runtime.errors import UserError

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""An error keeps the patch out of the store; a warning deserves a look; a note is harmless."""

Found = tuple[str, Severity, str]
"""Rule, severity, and what follows the raster's name in the message."""

MANY = 0.05
"""Share of pixels that may be clipped: clouds, snow and roofs are brighter than a diffuser."""


@dataclass(frozen=True)
class Finding:
    """One rule that one patch breaks."""

    id: str
    rule: str
    severity: Severity
    message: str

    def to_dict(self) -> dict[str, str]:
        """Return a form that JSON can hold."""
        return asdict(self)


@dataclass(frozen=True)
class _Present:
    """Values of a raster (bands, pixels), and each band's least and largest value."""

    values: NDArray[Any]
    low: NDArray[Any]
    high: NDArray[Any]

    @property
    def extremes(self) -> tuple[float, float]:
        """Return the values of all bands."""
        return float(self.low.min()), float(self.high.max())


def audit_sensor(
    patch: str,
    sensor: Sensor,
    modality: Modality,
    values: NDArray[Any],
    missing: NDArray[np.bool_],
    reasons: Mapping[Reason, int] | None = None,
) -> list[Finding]:
    """Audit the values of one raster of a patch.

    Args:
        patch: Id of the patch.
        sensor: Sensor of the raster.
        modality: Bands and units that the values should have.
        values: (bands, H, W) in the modality's units.
        missing: Pixels without data, (H, W), whose values are not looked at.
        reasons: Number of missing pixels by reason.
    """
    if missing.all():
        why = _why(reasons or {})
        message = f"{sensor} holds no data in any pixel{why}; mend it, or take the patch out"
        return [Finding(patch, "all_nodata", "error", message)]
    found: list[Found] = []
    present = values.reshape(len(values), -1)
    if missing.any():
        present = values[:, ~missing]
        found.append(_missing(float(missing.mean()), reasons or {}))
    held = _Present(present, present.min(axis=1), present.max(axis=1))
    found += _units(modality, held) or _dtype(modality, held)
    found += _saturated(modality, held) + _constant(modality, held) + _repeated(modality, held)
    if area := flat_area(values, missing, limits(modality)):
        cure = f"declare that value, as the file holds it, as no data (nodata of {sensor})"
        found.append(("undeclared_fill", "warning", f"holds {area}; {cure}"))
    elif block := empty_block(values, missing):
        band = f"{modality.bands[block[0]]} is exactly 0 in a rectangle of {block[1]:.1%} of the"
        cure = "a tile of that band may be missing; write the file again"
        found.append(("undeclared_fill", "warning", f"band {band} pixels; {cure}"))
    return [Finding(patch, rule, level, f"{sensor} {what}") for rule, level, what in found]


def _missing(share: float, reasons: Mapping[Reason, int]) -> Found:
    """Report how many pixels are missing and why; a few are the edge of a swath or a dark pixel."""
    many = share > MANY
    # messages of notes are grouped, so they hold no number
    shown = f"{share:.1%}" if many else f"less than {MANY:.0%}"
    message = f"has no data in {shown} of its pixels{_why(reasons)}; they are masked"
    return "some_nodata", "warning" if many else "note", message


def _why(reasons: Mapping[Reason, int]) -> str:
    return f" ({', '.join(WORDS[reason] for reason in reasons)})" if reasons else ""


def _units(modality: Modality, held: _Present) -> list[Found]:
    """Report values that the declared units can hardly take."""
    low, high = held.extremes
    reason = implausible(held.values, modality)
    # an offset leaves noise below 0 on dark ground
    if not reason and modality.units == "DN" and low < 0 and (held.values < 0).mean() > MANY:
        reason = "many values are negative and are stored as 0"
    message = f"is declared as {modality.units}, but {reason} ({low:.3g}..{high:.3g})"
    return [("implausible_units", "warning", message)] if reason else []


def _dtype(modality: Modality, held: _Present) -> list[Found]:
    """Report fractions among counted numbers, or whole numbers among measured ones."""
    whole, (low, high) = map(whole_numbers, held.values), held.extremes
    message = ""
    # bands that were brought to a finer grid have fractions, those of that grid have none
    if modality.units == "DN" and not any(whole):
        message = "is declared as DN but no band holds whole numbers only: reflectance, resampled?"
    elif modality.units != "DN" and low < high and all(whole):
        message = f"is declared as {modality.units} but holds whole numbers only: rounded, or DN?"
    return [("implausible_dtype", "warning", message)] if message else []


def _saturated(modality: Modality, held: _Present) -> list[Found]:
    low, high = limits(modality)
    reaching = held.values[(held.low < low) | (held.high > high)]
    if not len(reaching):
        return []
    share = ((reaching < low) | (reaching > high)).any(axis=0).mean()
    if share <= MANY:
        return []
    message = f"lies outside of {low:g}..{high:g} in {share:.1%} of its pixels; they are clipped"
    return [("saturated", "warning", message)]


def _constant(modality: Modality, held: _Present) -> list[Found]:
    """Report bands of one value, except B10, which sees only clouds, and dark water."""
    dark = modality.units in ("DN", "reflectance")
    floor = modality.valid_range[0] + modality.storage.step
    bands = [
        band
        for band, least, most in zip(modality.bands, held.low, held.high, strict=True)
        if least == most and band != "B10" and not (dark and most <= floor)
    ]
    if not bands or held.values.shape[1] == 1:
        return []
    return [("constant_band", "warning", f"holds a single value in {', '.join(bands)}")]


def _repeated(modality: Modality, held: _Present) -> list[Found]:
    """Report bands that are copies of another one."""
    ends = [*zip(held.low.tolist(), held.high.tolist(), strict=True)]
    copies = [
        f"{modality.bands[place]} and {modality.bands[other]}"
        for place, (low, high) in enumerate(ends)
        # only bands of one range are compared pixel by pixel
        if (other := ends.index((low, high))) < place and low < high
        and np.array_equal(held.values[place], held.values[other])
    ]  # fmt: skip
    return [("repeated_band", "warning", f"holds the same values in {pair}") for pair in copies]


def audit_names(
    patch: str, sensor: Sensor, modality: Modality, unknown: Sequence[str]
) -> list[Finding]:
    """Report descriptions that may name other bands than those that the user declares.

    Args:
        patch: Id of the patch.
        sensor: Sensor of the raster.
        modality: Bands as the user declares them.
        unknown: Descriptions of these bands, if they look like names but are not known.
    """
    if not unknown:
        return []
    message = (
        f"{sensor} describes its bands as {', '.join(unknown)}, which are no known names; they are "
        f"read in the declared order {', '.join(modality.bands)}"
    )
    return [Finding(patch, "bands", "warning", message)]


def has_error(findings: list[Finding]) -> bool:
    """Return whether one of the findings keeps its patch out of the store."""
    return any(finding.severity == "error" for finding in findings)


def refuse_too_many(findings: list[Finding], patches: int, max_bad_fraction: float) -> None:
    """End the stage when more than `max_bad_fraction` of the patches have an error.

    Raises:
        UserError: lists the first of them.
    """
    errors = [finding for finding in findings if finding.severity == "error"]
    bad = sorted({finding.id for finding in errors})
    if len(bad) > max_bad_fraction * patches:
        first = "; ".join(f"{e.id}: {e.message}" for e in errors[:3])
        raise UserError(
            f"{len(bad)} of {patches} patches cannot be used, more than normalise.max_bad_fraction "
            f"= {max_bad_fraction} allows; the first: {first}. Mend or remove them, or raise it"
            f"{_how_again(errors)}"
        )


def _how_again(errors: list[Finding]) -> str:
    """Return how to get unreadable rasters again; empty if there are none."""
    if all(finding.rule != "unreadable" for finding in errors):
        return ""
    return (
        ". If the rasters lie under data/raw, run `dvc repro -f download`; for an archive of "
        "sen12ms or dfc2020, remove its note data/raw/<source>/archives/<archive>.md5 before, or "
        "it is not unpacked again"
    )
