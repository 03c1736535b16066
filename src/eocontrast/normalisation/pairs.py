"""One row of the manifest: its rasters read, audited, and encoded as the store keeps them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eocontrast.labels import (
    IGNORE_INDEX,
    class_shares,
    mask_targets,
    named_classes,
    single_label,
)
from eocontrast.modalities import Sensor
from eocontrast.normalisation.audit import (
    Finding,
    audit_names,
    audit_sensor,
    has_error,
)
from eocontrast.normalisation.bands import Bands
from eocontrast.normalisation.moments import Sums, band_sums
from eocontrast.normalisation.places import audit_places, audit_sizes
from eocontrast.normalisation.shift import audit_shift
from eocontrast.rasters.grids import finest
from eocontrast.rasters.levels import levels
from eocontrast.rasters.mask_values import count_values
from eocontrast.rasters.masks import read_mask_raster
from eocontrast.rasters.offsets import dark_ends, share_below
from eocontrast.rasters.open import RasterError
from eocontrast.rasters.read import Raster, read_raster
from eocontrast.rasters.source import CLASSES, SHAPES, Source
from eocontrast.rasters.values import encode_pixels

StoreBands = Mapping[Sensor, Bands]
"""Bands of the store by sensor."""


@dataclass(frozen=True)
class Patch:
    """One row of the manifest after reading; a patch with an error has only findings.

    Attributes:
        id: Name of the patch.
        split: Split of the patch.
        findings: What the audit found in this patch alone.
        size: Height and width in pixels.
        facts: Row of the store's index.
        checksums: CRC-32 of the stored pixels, by `s1`, `s2` and `label`.
        sums: Sums of the stored pixels by sensor, for the band statistics.
        evidence: What only all patches together can judge: values of the mask (`values`), the value
            that its header hides and the number of pixels (`hidden`), the dark ends of Sentinel-2's
            bands before the user's offset (`dark`), who stated an offset and which (`offset`), the
            share of values too low to have held it (`below`), the size of a pixel in metres
            (`pixel`), and typical values by sensor (`levels`).
        arrays: Stored pixels by `s1`, `s2` and, for a mask raster, `label`; none once written.
    """

    id: str
    split: str
    findings: list[Finding]
    size: tuple[int, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    checksums: dict[str, int] = field(default_factory=dict)
    sums: dict[Sensor, Sums] = field(default_factory=dict)
    evidence: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, NDArray[np.integer]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the arrays, ready for JSON."""
        findings = [asdict(finding) for finding in self.findings]
        sums = {sensor: sums.tolist() for sensor, sums in self.sums.items()}
        return {**vars(self), "findings": findings, "sums": sums, "arrays": {}}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Patch:
        """Restore what `to_dict` returned."""
        findings = [Finding(**finding) for finding in fields["findings"]]
        sums = {sensor: np.array(sums) for sensor, sums in fields["sums"].items()}
        return cls(**{**fields, "findings": findings, "size": tuple(fields["size"]), "sums": sums})


def read_pair(source: Source, bands: StoreBands, row: dict[str, str], check_shift: bool) -> Patch:
    """Read, audit and encode the rasters of one row; everything wrong becomes a finding.

    Args:
        source: Meaning of the rasters, with `rasters` set as by `read_source`.
        bands: Bands to keep; others are read and dropped.
        row: Row of the manifest.
        check_shift: Whether to look for a shift of S1 against S2.
    """
    patch = row["id"]
    read = {column: _read(source, bands, row, column) for column in _columns(source, row)}
    findings = [found for found in read.values() if isinstance(found, Finding)]
    rasters = {column: found for column, found in read.items() if isinstance(found, Raster)}
    findings += audit_sizes(patch, {name: r.values.shape[1:] for name, r in rasters.items()})
    findings += audit_places(patch, rasters, "error" if source.files else "warning")
    stored, missing = {}, {}
    typical: dict[Sensor, dict[str, Any] | None] = {}
    for sensor, kept in bands.items():
        if sensor in rasters:
            raster, held = rasters[sensor], kept.held
            # encoding may overwrite missing pixels, at which the audit does not look
            stored[sensor], missing[sensor] = encode_pixels(held, raster.values)
            absent, reasons = missing[sensor], raster.missing.pixels
            findings += audit_sensor(patch, sensor, held, raster.values, absent, reasons)
            known = levels(held, raster.values[:, ~absent])
            typical[sensor] = known.to_dict() if known else None
            if source.files:
                names = source.modalities[sensor]
                findings += audit_names(patch, sensor, names, raster.unknown)
    if has_error(findings):
        return Patch(patch, row["split"], findings)
    if check_shift:
        s1, s2 = (kept.held.decode(stored[sensor]) for sensor, kept in bands.items())
        findings += audit_shift(patch, s1, s2)
    labels, targets = _label(source, row, rasters.get("label"))
    size = missing["s2"].shape
    arrays: dict[str, NDArray[np.integer]] = {
        sensor: kept.fill(stored[sensor]) for sensor, kept in bands.items()
    }
    checksums = {sensor: _crc32(array) for sensor, array in arrays.items()}
    # a patch without a mask counts as one that is ignored everywhere
    ignored = np.full(size, IGNORE_INDEX, dtype=np.uint8)
    checksums["label"] = _crc32(ignored if targets is None else targets)
    if targets is not None:
        arrays["label"] = targets
    valid = float((~missing["s1"] & ~missing["s2"]).mean())
    facts = {name: row[name] for name in ("id", "group", "split", SHAPES) if name in row}
    return Patch(
        id=patch,
        split=row["split"],
        findings=findings,
        size=size,
        facts={**facts, "valid": valid, **labels},
        checksums=checksums,
        evidence=_evidence(source, rasters) | {"levels": typical},
        sums={sensor: band_sums(kept.held, stored[sensor]) for sensor, kept in bands.items()},
        arrays=arrays,
    )


def _evidence(source: Source, rasters: Mapping[str, Raster]) -> dict[str, Any]:
    s2 = rasters["s2"]
    declared = source.declared("s2").offset
    raw = s2.values if declared in ("auto", 0) else s2.values - declared
    dark = dark_ends(raw, source.s2.units)
    sizes = [finest(rasters[sensor].grids).metres for sensor in ("s2", "s1")]
    evidence: dict[str, Any] = {
        "dark": None if dark is None else dark.tolist(),
        "offset": [s2.offset.by, s2.offset.number] if s2.offset else None,
        "below": share_below(s2.values, source.s2.units),
        "pixel": next((size for size in sizes if size), None),
    }
    # what masks of published archives hold is known
    if "label" in rasters and source.files:
        counts = count_values(rasters["label"].values)
        evidence["values"] = {str(value): count for value, count in counts.items()}
        hidden = rasters["label"].missing.pixels.get("nodata", 0)
        evidence["hidden"] = [rasters["label"].nodata, hidden] if hidden else None
    return evidence


def _columns(source: Source, row: dict[str, str]) -> list[str]:
    """Return the columns of the manifest that name a raster of this row."""
    names: list[str] = [*source.modalities]
    has_mask = row["label"] and named_classes(row["label"], list(source.classes)) is None
    return [*names, "label"] if has_mask else names


def _read(source: Source, bands: StoreBands, row: dict[str, str], column: str) -> Raster | Finding:
    path = (source.rasters or Path()) / row[column]
    try:
        if column == "label":
            return read_mask_raster(path, source.classes, source.masks)
        sensor: Sensor = "s1" if column == "s1" else "s2"
        raster = read_raster(str(path), source.modalities[sensor], source.declared(sensor))
        return replace(raster, values=bands[sensor].keep(raster.values))
    except RasterError as error:
        return Finding(row["id"], error.rule, "error", f"{column}: {error}")


def _crc32(stored: NDArray[np.integer]) -> int:
    # prefer CRC-32: 0.5 ms a patch of 256 px, against 1.3 by SHA-256 (benchmarks/RESULTS.md)
    return zlib.crc32(np.ascontiguousarray(stored).data)


def _label(
    source: Source, row: Mapping[str, str], mask: Raster | None
) -> tuple[dict[str, object], NDArray[np.integer] | None]:
    """Return class index and class shares for the index, and the class of every mask pixel."""
    names, label = list(source.classes), row["label"]
    if not label:
        return {"label": -1}, None
    if mask is None:
        named = named_classes(label, names) or []
        # the label does not say how much of each class there is
        equal = {f"share_{k}": (k in named) / len(named) for k in range(len(names))}
        return {"label": named[0], **equal}, None
    targets = mask_targets(mask.values[0], tuple(source.classes.values()))
    shares = class_shares(targets, len(names))
    columns: dict[str, object] = {f"share_{k}": float(share) for k, share in enumerate(shares)}
    if CLASSES in row:
        published = named_classes(row[CLASSES], names) or []
        columns |= {f"present_{k}": k in published for k in range(len(names))}
    return {"label": single_label(shares), **columns}, targets
