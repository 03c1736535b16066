"""One place: its rasters read, audited, and encoded as the store keeps them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocontrast.labels import class_shares, mask_targets, named_classes, single_label
from eocontrast.modalities import Modality, Sensor
from eocontrast.normalisation.audit import Finding, audit_sensor, has_error
from eocontrast.normalisation.bands import Bands
from eocontrast.normalisation.footprints import audit_places, audit_sizes
from eocontrast.normalisation.moments import Moments
from eocontrast.normalisation.shift import audit_shift
from eocontrast.patches.shard_files import array_crc32
from eocontrast.rasters.masks import read_mask_raster
from eocontrast.rasters.open import RasterError
from eocontrast.rasters.read import Raster, read_raster
from eocontrast.rasters.source import Source
from eocontrast.rasters.values import encode_pixels


@dataclass(frozen=True)
class Patch:
    """One manifest row, read and encoded; where a finding is an error nothing else is filled."""

    id: str
    split: str
    findings: list[Finding]
    arrays: dict[str, NDArray[np.integer]] = field(default_factory=dict)
    facts: dict[str, object] = field(default_factory=dict)
    moments: dict[Sensor, Moments] = field(default_factory=dict)
    checksums: dict[Sensor, int] = field(default_factory=dict)
    digests: dict[Sensor, str] = field(default_factory=dict)


StoreBands = Mapping[Sensor, Bands]
"""Of the store, by sensor."""


def read_pair(source: Source, bands: StoreBands, row: dict[str, str], check_shift: bool) -> Patch:
    """Read, audit and encode the rasters of one manifest row; what is wrong becomes a finding.

    Args:
        source: what the rasters are; `rasters` is set, as `read_source` does.
        bands: that count; the others are read and forgotten.
        row: of the manifest.
        check_shift: whether to look for a shift of S1 against S2.
    """
    patch = row["id"]
    read = {name: _read(source, bands, row, name) for name in _columns(source, row)}
    findings = [found for found in read.values() if isinstance(found, Finding)]
    rasters = {name: found for name, found in read.items() if isinstance(found, Raster)}
    findings += audit_sizes(patch, {name: r.values.shape[1:] for name, r in rasters.items()})
    findings += audit_places(patch, {name: r.grids for name, r in rasters.items()})
    for sensor, stored in bands.items():
        if sensor in rasters:
            raster = rasters[sensor]
            reasons = raster.missing.pixels
            findings += audit_sensor(patch, sensor, stored.held, raster.values, reasons)
    if has_error(findings):
        return Patch(patch, row["split"], findings)
    encoded = _encode(source, bands, row, rasters, findings)
    if check_shift:
        # bands that are filled hold no evidence
        s1, s2 = (b.held.decode(encoded.arrays[s][: len(b.places)]) for s, b in bands.items())
        findings += audit_shift(patch, s1, s2)
    return encoded


def _columns(source: Source, row: dict[str, str]) -> list[str]:
    """Columns of the manifest that name a raster of this row."""
    names: list[str] = [*source.modalities]
    has_mask = row["label"] and named_classes(row["label"], list(source.classes)) is None
    return [*names, "label"] if has_mask else names


def _read(source: Source, bands: StoreBands, row: dict[str, str], column: str) -> Raster | Finding:
    path = (source.rasters or Path()) / row[column]
    try:
        if column == "label":
            return read_mask_raster(path, source.classes.values())
        sensor: Sensor = "s1" if column == "s1" else "s2"
        raster = read_raster(str(path), source.modalities[sensor])
        return replace(raster, values=bands[sensor].keep(raster.values))
    except RasterError as error:
        return Finding(row["id"], error.rule, "error", f"{column}: {error}")


def _encode(
    source: Source,
    bands: StoreBands,
    row: dict[str, str],
    rasters: dict[str, Raster],
    findings: list[Finding],
) -> Patch:
    facts: dict[str, object] = {name: row[name] for name in ("id", "group", "split")}
    patch = Patch(row["id"], row["split"], findings, facts=facts)
    valid = np.ones(rasters["s2"].values.shape[1:], dtype=np.bool_)
    for sensor, kept in bands.items():
        # the raster's values may be overwritten, since nothing reads them after this
        stored, missing = encode_pixels(kept.held, rasters[sensor].values)
        valid &= ~missing
        patch.arrays[sensor] = kept.fill(stored)
        patch.moments[sensor] = _moments(kept.held, stored)
        patch.checksums[sensor] = array_crc32(patch.arrays[sensor])
        patch.digests[sensor] = _digest(patch.checksums[sensor], patch.moments[sensor])
    facts["valid"] = float(valid.mean())
    patch.facts.update(_label(source, row["label"], rasters.get("label"), patch.arrays))
    return patch


def _moments(modality: Modality, stored: NDArray[np.integer]) -> Moments:
    """In the modality's units, of values cut to its valid range, as networks see them."""
    storage, flat = modality.storage, stored.reshape(len(stored), -1)
    least, most = storage.limits
    low, high = (min(max(limit / storage.step, least), most) for limit in modality.valid_range)
    inside = (low <= flat.min(axis=1)) & (flat.max(axis=1) <= high)
    seen = [
        band if whole else _cut(band[band != storage.nodata], low, high)
        for band, whole in zip(flat, inside, strict=True)
    ]
    return Moments.of(seen).times(storage.step)


def _cut(band: NDArray[np.integer], low: float, high: float) -> NDArray[Any]:
    """Values between limits; integers where these are whole numbers, for their sums are faster."""
    limits = (int(low), int(high)) if low == int(low) and high == int(high) else (low, high)
    return np.asarray(np.clip(band, *limits))


def _digest(crc: int, moments: Moments) -> str:
    """The same for the same pixels, of what is known of them anyway: theirs alone takes 1 ms.

    Of other pixels whose mean and squares agree in every band, one in 2^32 has the same CRC-32.
    """
    told = hashlib.sha256(crc.to_bytes(4))
    for part in moments.parts:
        told.update(part.tobytes())
    return told.hexdigest()


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
    targets = mask_targets(mask.values[0], tuple(source.classes.values()))
    arrays["label"] = targets
    shares = class_shares(targets, len(names))
    columns = {f"share_{k}": float(share) for k, share in enumerate(shares)}
    return {"label": single_label(shares), **columns}
