"""What is wrong with a pair of rasters: rules with a name, and how many bad pairs are too many."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eocontrast.errors import UserError
from eocontrast.modalities import Modality, Sensor


@dataclass(frozen=True)
class Finding:
    """One rule that one patch breaks. An error keeps the patch out of the store."""

    id: str
    rule: str
    severity: str
    message: str

    def to_dict(self) -> dict[str, str]:
        """JSON-able form."""
        return asdict(self)


def audit_sensor(
    patch: str, sensor: Sensor, modality: Modality, values: NDArray[np.floating]
) -> list[Finding]:
    """Findings on one raster of a patch.

    Args:
        patch: id of the patch.
        sensor: which of its rasters.
        modality: what the numbers should be.
        values: (bands, H, W) in the modality's units, NaN where there is no data.
    """
    missing = missing_pixels(modality, values)
    if missing.all():
        return [Finding(patch, "all_nodata", "error", f"{sensor} holds no data in any pixel")]
    findings = []
    if missing.any():
        share = f"{sensor} has no data in {missing.mean():.1%} of its pixels; they are masked"
        findings.append(Finding(patch, "some_nodata", "warning", share))
    low, high = np.nanmin(values[:, ~missing]), np.nanmax(values[:, ~missing])
    if modality.units == "dB" and low >= 0 and high > 0:
        message = f"{sensor} is declared as dB but has no negative value ({low:.3g}..{high:.3g})"
        findings.append(Finding(patch, "implausible_units", "warning", message))
    if modality.units == "DN" and high <= 1.5 and modality.valid_range[1] > 255:
        message = f"{sensor} is declared as DN but its largest value is {high:.3g}: reflectance?"
        findings.append(Finding(patch, "implausible_units", "warning", message))
    return findings


def missing_pixels(modality: Modality, values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Pixels without data, (H, W): a band is not finite, or all digital numbers are 0 (SAFE)."""
    missing: NDArray[np.bool_] = ~np.isfinite(values).all(axis=0)
    if modality.units == "DN":
        missing |= (values == 0).all(axis=0)
    return missing


def write_audit(path: Path, findings: list[Finding], patches: int) -> None:
    """Leave all findings in a JSON file, with how many patches were asked and left out."""
    errors = {finding.id for finding in findings if finding.severity == "error"}
    content = {
        "patches": patches,
        "quarantined": len(errors),
        "findings": [finding.to_dict() for finding in findings],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


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
        )
