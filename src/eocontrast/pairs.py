"""One place: its rasters read, audited, and encoded as the store keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eocontrast.audit import Finding, audit_sensor, missing_pixels
from eocontrast.errors import UserError
from eocontrast.labels import class_shares, mask_targets, named_classes, single_label
from eocontrast.modalities import Sensor
from eocontrast.moments import Moments
from eocontrast.rasters import read_bands, read_mask
from eocontrast.sources import Source


@dataclass(frozen=True)
class Patch:
    """One manifest row, read and encoded; not to be kept where a finding is an error."""

    arrays: dict[str, NDArray[np.integer]]
    facts: dict[str, object]
    moments: dict[Sensor, Moments]
    findings: list[Finding]


def read_pair(source: Source, row: dict[str, str]) -> Patch:
    """Read, audit and encode the rasters of one manifest row.

    Raises:
        UserError: a raster is missing, damaged, or of another size or number of bands.
    """
    assert source.rasters is not None  # as `read_source` gives it
    arrays: dict[str, NDArray[np.integer]] = {}
    findings: list[Finding] = []
    moments: dict[Sensor, Moments] = {}
    valid: list[NDArray[np.bool_]] = []
    for sensor, modality in source.modalities.items():
        values = read_bands(str(source.rasters / row[sensor]), modality)
        findings += audit_sensor(row["id"], sensor, modality, values)
        missing = missing_pixels(modality, values)
        values = np.where(missing, np.nan, values)
        arrays[sensor] = modality.encode(values)
        valid.append(~missing)
        clipped = np.clip(modality.decode(arrays[sensor]), *modality.valid_range)
        moments[sensor] = Moments.of(clipped.reshape(len(values), -1).astype(np.float64))
    check_same_size(row["id"], "s1", valid[0].shape, "s2", valid[1].shape)
    facts: dict[str, object] = {name: row[name] for name in ("id", "group", "split")}
    facts["valid"] = float((valid[0] & valid[1]).mean())
    facts |= _label(source, row, arrays, valid[1].shape)
    return Patch(arrays, facts, moments, findings)


def _label(
    source: Source,
    row: dict[str, str],
    arrays: dict[str, NDArray[np.integer]],
    size: tuple[int, ...],
) -> dict[str, object]:
    names = list(source.classes)
    if not row["label"]:
        return {"label": -1}
    named = named_classes(row["label"], names)
    if named is not None:
        # nobody says how much of each there is
        equal = {f"share_{k}": (k in named) / len(named) for k in range(len(names))}
        return {"label": named[0], **equal}
    mask = read_mask((source.rasters or Path()) / row["label"])
    check_same_size(row["id"], "label", mask.shape, "s2", size)
    targets = mask_targets(mask, tuple(source.classes.values()))
    arrays["label"] = targets
    shares = class_shares(targets, len(names))
    columns = {f"share_{k}": float(share) for k, share in enumerate(shares)}
    return {"label": single_label(shares), **columns}


def check_same_size(
    patch: str, one: str, size: tuple[int, ...], other: str, expected: tuple[int, ...]
) -> None:
    """Two rasters have one height and width.

    Raises:
        UserError: names the patch and both sizes.
    """
    if size != expected:
        raise UserError(
            f"patch {patch}: {one} has {size[0]} x {size[1]} pixels, {other} {expected[0]} x "
            f"{expected[1]}; both must be of one size"
        )
