"""One place: its rasters read, audited, and encoded as the store keeps them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eocontrast.audit import Finding, audit_sensor, has_error, missing_pixels
from eocontrast.footprints import audit_places, audit_sizes
from eocontrast.labels import class_shares, mask_targets, named_classes, single_label
from eocontrast.modalities import Sensor
from eocontrast.moments import Moments
from eocontrast.rasters import Raster, RasterError, read_mask_raster, read_raster
from eocontrast.shift import audit_shift
from eocontrast.sources import Source


@dataclass(frozen=True)
class Patch:
    """One manifest row, read and encoded; where a finding is an error nothing else is filled."""

    id: str
    split: str
    findings: list[Finding]
    arrays: dict[str, NDArray[np.integer]] = field(default_factory=dict)
    facts: dict[str, object] = field(default_factory=dict)
    moments: dict[Sensor, Moments] = field(default_factory=dict)
    digests: dict[Sensor, str] = field(default_factory=dict)


def read_pair(source: Source, row: dict[str, str], check_shift: bool) -> Patch:
    """Read, audit and encode the rasters of one manifest row; what is wrong becomes a finding.

    Args:
        source: what the rasters are; `rasters` is set, as `read_source` does.
        row: of the manifest.
        check_shift: whether to look for a shift of S1 against S2.
    """
    patch = row["id"]
    read = {name: _read(source, row, name) for name in _columns(source, row)}
    findings = [found for found in read.values() if isinstance(found, Finding)]
    rasters = {name: found for name, found in read.items() if isinstance(found, Raster)}
    findings += audit_sizes(patch, {name: r.values.shape[1:] for name, r in rasters.items()})
    findings += audit_places(patch, {name: r.places for name, r in rasters.items()})
    for sensor, modality in source.modalities.items():
        if sensor in rasters:
            findings += audit_sensor(patch, sensor, modality, rasters[sensor].values)
    if has_error(findings):
        return Patch(patch, row["split"], findings)
    encoded = _encode(source, row, rasters, findings)
    if check_shift:
        s1, s2 = (m.decode(encoded.arrays[sensor]) for sensor, m in source.modalities.items())
        findings += audit_shift(patch, s1, s2)
    return encoded


def _columns(source: Source, row: dict[str, str]) -> list[str]:
    """Columns of the manifest that name a raster of this row."""
    names: list[str] = [*source.modalities]
    has_mask = row["label"] and named_classes(row["label"], list(source.classes)) is None
    return [*names, "label"] if has_mask else names


def _read(source: Source, row: dict[str, str], column: str) -> Raster | Finding:
    path = (source.rasters or Path()) / row[column]
    try:
        if column == "label":
            return read_mask_raster(path)
        return read_raster(str(path), source.s1 if column == "s1" else source.s2)
    except RasterError as error:
        return Finding(row["id"], error.rule, "error", f"{column}: {error}")


def _encode(
    source: Source, row: dict[str, str], rasters: dict[str, Raster], findings: list[Finding]
) -> Patch:
    facts: dict[str, object] = {name: row[name] for name in ("id", "group", "split")}
    patch = Patch(row["id"], row["split"], findings, facts=facts)
    valid = np.ones(rasters["s2"].values.shape[1:], dtype=np.bool_)
    for sensor, modality in source.modalities.items():
        values = rasters[sensor].values
        missing = missing_pixels(modality, values)
        stored = modality.encode(np.where(missing, np.nan, values))
        clipped = np.clip(modality.decode(stored), *modality.valid_range)
        patch.arrays[sensor] = stored
        patch.moments[sensor] = Moments.of(clipped.reshape(len(values), -1).astype(np.float64))
        patch.digests[sensor] = hashlib.blake2b(stored.tobytes(), digest_size=16).hexdigest()
        valid &= ~missing
    facts["valid"] = float(valid.mean())
    patch.facts.update(_label(source, row["label"], rasters.get("label"), patch.arrays))
    return patch


def _label(
    source: Source, label: str, mask: Raster | None, arrays: dict[str, NDArray[np.integer]]
) -> dict[str, object]:
    """Index and shares of the classes; a mask's targets join `arrays`."""
    names = list(source.classes)
    if not label:
        return {"label": -1}
    if mask is None:
        named = named_classes(label, names) or []
        # nobody says how much of each there is
        equal = {f"share_{k}": (k in named) / len(named) for k in range(len(names))}
        return {"label": named[0], **equal}
    targets = mask_targets(mask.values[0].astype(np.int64), tuple(source.classes.values()))
    arrays["label"] = targets
    shares = class_shares(targets, len(names))
    columns = {f"share_{k}": float(share) for k, share in enumerate(shares)}
    return {"label": single_label(shares), **columns}
