"""From rasters to the patch store: read, audit, encode, and one pass of statistics.

The unit of work is a shard: its rows are read, audited and written on their own, and statistics of
shards merge exactly, so the result does not depend on who worked on which shard.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from eocontrast.audit import Finding, audit_sensor, missing_pixels, refuse_too_many
from eocontrast.errors import UserError
from eocontrast.inputs import InputSpec
from eocontrast.labels import class_shares, mask_targets, single_label
from eocontrast.modalities import SENSORS, Modality, Sensor
from eocontrast.patches import shard_path
from eocontrast.rasters import read_bands, read_mask
from eocontrast.sources import Source, read_source
from eocontrast.subsets import split_by_group


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared deviations per band; merges exactly (Chan et al. 1979)."""

    count: NDArray[np.float64]
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.floating]) -> Moments:
        """Moments of (bands, pixels), NaN left out."""
        count = np.isfinite(values).sum(axis=1).astype(np.float64)
        mean = np.nansum(values, axis=1) / np.maximum(count, 1)
        squares = np.nansum((values - mean[:, None]) ** 2, axis=1)
        return cls(count, mean, squares)

    def merge(self, other: Moments) -> Moments:
        """Moments of both samples together."""
        count = self.count + other.count
        weight = other.count / np.maximum(count, 1)
        delta = other.mean - self.mean
        squares = self.squares + other.squares + delta**2 * self.count * weight
        return Moments(count, self.mean + delta * weight, squares)

    @property
    def sd(self) -> NDArray[np.float64]:
        """Standard deviation per band."""
        return np.sqrt(self.squares / np.maximum(self.count, 1))


@dataclass(frozen=True)
class Patch:
    """One manifest row, read and encoded; without arrays where an error was found."""

    arrays: dict[str, NDArray[np.integer]]
    facts: dict[str, object]
    moments: dict[Sensor, Moments]
    findings: list[Finding]


def build_store(
    raw: Path,
    folder: Path,
    *,
    seed: int,
    test_fraction: float,
    shard_mib: int,
    max_bad_fraction: float,
    workers: int | None = None,
) -> dict[str, int]:
    """Write the patch store of the source in `raw` to `folder`, whole or not at all.

    Args:
        raw: folder that `download` filled.
        folder: where the store goes; replaced.
        seed: of the split of groups that the manifest gives none.
        test_fraction: share of those that is tested on.
        shard_mib: largest shard of one sensor, in MiB.
        max_bad_fraction: share of patches that may be left out for errors.
        workers: processes that read rasters; one a core where None.

    Returns:
        Number of patches by split, and `quarantined`.

    Raises:
        UserError: an unreadable or wrong raster, sizes that differ, too many bad patches, no space.
    """
    source = read_source(raw)
    manifest = source.manifest.copy()
    manifest["labelled"] = manifest["label"] != ""
    manifest["split"] = split_by_group(manifest, test_fraction, seed)
    build = folder.with_name(folder.name + ".partial")
    shutil.rmtree(build, ignore_errors=True)
    build.mkdir(parents=True)
    store = _Writer(build, source, shard_mib)
    # the declaration alone travels with every row: the manifest may have millions
    read = partial(_read, raw, replace(source, manifest=manifest.head(0)))
    rows = manifest.to_dict("records")
    # processes, because opening a small raster is a millisecond that holds the interpreter's lock
    with multiprocessing.Pool(workers) as pool:
        patches = pool.imap(read, rows, chunksize=min(32, 1 + len(rows) // 32))
        for patch in tqdm(patches, total=len(rows), desc="normalise", disable=None):
            store.add(patch)
    refuse_too_many(store.findings, len(manifest), max_bad_fraction)
    counts = store.finish()
    shutil.rmtree(folder, ignore_errors=True)
    build.rename(folder)
    return counts


def _read(raw: Path, source: Source, row: dict[str, str]) -> Patch:
    arrays: dict[str, NDArray[np.integer]] = {}
    findings: list[Finding] = []
    moments: dict[Sensor, Moments] = {}
    valid: list[NDArray[np.bool_]] = []
    for sensor, modality in source.modalities.items():
        values = read_bands(str(raw / row[sensor]), modality)
        findings += audit_sensor(row["id"], sensor, modality, values)
        missing = missing_pixels(modality, values)
        values = np.where(missing, np.nan, values)
        arrays[sensor] = modality.encode(values)
        valid.append(~missing)
        clipped = np.clip(modality.decode(arrays[sensor]), *modality.valid_range)
        moments[sensor] = Moments.of(clipped.reshape(len(values), -1).astype(np.float64))
    _same_size(row["id"], "s1", valid[0].shape, "s2", valid[1].shape)
    facts: dict[str, object] = {name: row[name] for name in ("id", "group", "split")}
    facts["valid"] = float((valid[0] & valid[1]).mean())
    facts |= _label(raw, source, row, arrays, valid[1].shape)
    return Patch(arrays, facts, moments, findings)


def _label(
    raw: Path,
    source: Source,
    row: dict[str, str],
    arrays: dict[str, NDArray[np.integer]],
    size: tuple[int, ...],
) -> dict[str, object]:
    names = list(source.classes)
    if row["label"] in names:
        return {"label": names.index(row["label"])}
    if not row["label"]:
        return {"label": -1}
    mask = read_mask(raw / row["label"])
    _same_size(row["id"], "label", mask.shape, "s2", size)
    targets = mask_targets(mask, tuple(source.classes.values()))
    arrays["label"] = targets
    shares = class_shares(targets, len(names))
    columns = {f"share_{k}": float(share) for k, share in enumerate(shares)}
    return {"label": single_label(shares), **columns}


def _same_size(
    patch: str, one: str, size: tuple[int, ...], other: str, expected: tuple[int, ...]
) -> None:
    if size != expected:
        raise UserError(
            f"patch {patch}: {one} has {size[0]} x {size[1]} pixels, {other} {expected[0]} x "
            f"{expected[1]}; both must be of one size"
        )


class _Writer:
    """Collects patches into shards of bounded size."""

    def __init__(self, folder: Path, source: Source, shard_mib: int) -> None:
        self.folder, self.source = folder, source
        self.shard_bytes = shard_mib * 2**20
        self.findings: list[Finding] = []
        self.facts: list[dict[str, object]] = []
        self.moments: dict[Sensor, Moments] = {}
        self.pending: list[Patch] = []
        self.shard = 0
        self.size: tuple[int, ...] | None = None
        self.digest = hashlib.sha256()

    def add(self, patch: Patch) -> None:
        """Keep a patch, or quarantine it when an error was found."""
        self.findings += patch.findings
        if any(finding.severity == "error" for finding in patch.findings):
            return
        self._check_size(patch)
        self.pending.append(patch)
        if patch.facts["split"] != "test":  # statistics must not know the test split
            for sensor, moments in patch.moments.items():
                known = self.moments.get(sensor)
                self.moments[sensor] = known.merge(moments) if known else moments
        if len(self.pending) * max(a.nbytes for a in patch.arrays.values()) >= self.shard_bytes:
            self._flush()

    def finish(self) -> dict[str, int]:
        """Write what is left, the index, the statistics and the audit."""
        self._flush()
        if not self.facts:
            raise UserError("the manifest leaves no usable patch; see the findings above")
        index = pd.DataFrame(self.facts)
        self.digest.update(index.to_csv(index=False).encode())
        index.to_parquet(self.folder / "index.parquet", index=False)
        findings = [finding.to_dict() for finding in self.findings]
        _write_json(self.folder / "audit.json", {"findings": findings})
        _write_json(self.folder / "stats.json", self._header())
        counts = {str(split): int(n) for split, n in index["split"].value_counts().items()}
        bad = {f.id for f in self.findings if f.severity == "error"}
        return {**dict(sorted(counts.items())), "quarantined": len(bad)}

    def _check_size(self, patch: Patch) -> None:
        size = patch.arrays["s2"].shape[1:]
        self.size = self.size or size
        if size[0] != size[1]:
            raise UserError(
                f"patch {patch.facts['id']} is not square: {size[0]} x {size[1]} pixels"
            )
        _same_size(str(patch.facts["id"]), "it", size, "the patches before it", self.size)

    def _flush(self) -> None:
        if not self.pending:
            return
        for row, patch in enumerate(self.pending):
            self.facts.append({**patch.facts, "shard": self.shard, "row": row})
        for kind, arrays in self._stacks():
            path = shard_path(self.folder, kind, self.shard)
            path.parent.mkdir(exist_ok=True)
            self.digest.update(arrays.tobytes())
            np.save(path, arrays, allow_pickle=False)
        self.pending = []
        self.shard += 1

    def _stacks(self) -> Iterator[tuple[str, NDArray[np.integer]]]:
        for sensor in SENSORS:
            yield sensor, np.stack([patch.arrays[sensor] for patch in self.pending])
        if any("label" in patch.arrays for patch in self.pending):
            nothing = np.full(self.size or (), 255, dtype=np.uint8)
            yield "label", np.stack([p.arrays.get("label", nothing) for p in self.pending])

    def _header(self) -> dict[str, object]:
        header: dict[str, object] = {
            "classes": list(self.source.classes),
            "palette": self.source.palette,
            "patch_size": self.size[0] if self.size else 0,
            "digest": self.digest.hexdigest(),
        }
        if not self.moments:
            raise UserError(
                "every usable patch is in the split test: statistics need others, give some of "
                "them the split train or pretrain"
            )
        for sensor, modality in self.source.modalities.items():
            header[sensor] = _input_spec(sensor, modality, self.moments[sensor]).to_dict()
        return header


def _input_spec(sensor: Sensor, modality: Modality, moments: Moments) -> InputSpec:
    constant = [b for b, sd in zip(modality.bands, moments.sd, strict=True) if not sd > 0]
    if constant:
        raise UserError(f"{sensor}: bands {constant} hold one value everywhere; drop them")
    # six significant digits: rounding noise of another CPU does not change the artifact
    mean, sd = (tuple(float(f"{v:.6g}") for v in values) for values in (moments.mean, moments.sd))
    return InputSpec(modality, mean, sd)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")
