"""From rasters to the patch store: by shards, on any number of workers, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from eocontrast.audit import refuse_too_many, write_audit
from eocontrast.disk import check_free_disk
from eocontrast.errors import UserError
from eocontrast.inputs import InputSpec
from eocontrast.modalities import Modality, Sensor
from eocontrast.moments import Moments
from eocontrast.rasters import bands_size
from eocontrast.shard_files import KINDS, note_path, shard_path
from eocontrast.shards import Rows, Shard, write_shard
from eocontrast.sources import Source, read_source
from eocontrast.spread import spread
from eocontrast.subsets import split_by_group


def build_store(
    manifests: Path,
    folder: Path,
    audit: Path,
    *,
    seed: int,
    test_fraction: float,
    shard_mib: int,
    max_bad_fraction: float,
    workers: int | None = None,
) -> dict[str, int]:
    """Write the patch store of a source to `folder`, whole or not at all.

    A run that was killed continues with the shards that are missing in `<folder>.partial`, and ends
    in the same bytes, as does any number of workers.

    Args:
        manifests: folder in which `download` described the source.
        folder: where the store goes; replaced.
        audit: JSON file for what is wrong with the rasters; apart from the store, because nothing
            that is learnt depends on it.
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
    source = read_source(manifests)
    manifest = source.manifest.copy()
    manifest["labelled"] = manifest["label"] != ""
    manifest["split"] = split_by_group(manifest, test_fraction, seed)
    plan = _plan(source, manifest, shard_mib)
    build = folder.with_name(folder.name + ".partial")
    _begin(build, plan, manifests)
    shards = _write_shards(build, source, plan, workers)
    findings = [finding for shard in shards for finding in shard.findings]
    write_audit(audit, findings, len(manifest))
    _forget_errors(build, shards)
    refuse_too_many(findings, len(manifest), max_bad_fraction)
    counts = _finish(build, source, plan, shards)
    shutil.rmtree(folder, ignore_errors=True)
    build.rename(folder)
    return {**counts, "quarantined": len(manifest) - sum(counts.values())}


@dataclass(frozen=True)
class _Plan:
    """Which rows go into which shard, a function of the manifest alone."""

    side: int
    patch_bytes: int
    shards: tuple[Rows, ...]

    def digest(self, manifests: Path) -> str:
        """Of all that determines the shards, the code included."""
        code = sorted(Path(__file__).parent.rglob("*.py"))
        told = hashlib.sha256(repr(self).encode())
        for file in (*code, *sorted(manifests.iterdir())):
            if file.is_file():
                told.update(file.read_bytes())
        return told.hexdigest()


def _plan(source: Source, manifest: pd.DataFrame, shard_mib: int) -> _Plan:
    rows = [{str(k): v for k, v in row.items()} for row in manifest.to_dict("records")]
    side = _side(source, rows[0])
    pixel = [len(m.bands) * np.dtype(m.storage.dtype).itemsize for m in source.modalities.values()]
    count = max(1, -(-shard_mib * 2**20 // (max(pixel) * side**2)))
    pieces = tuple(rows[start : start + count] for start in range(0, len(rows), count))
    return _Plan(side, (sum(pixel) + 1) * side**2, pieces)  # 1 for the mask


def _side(source: Source, row: dict[str, str]) -> int:
    assert source.rasters is not None  # as `read_source` gives it
    height, width = bands_size(source.rasters / row["s2"], source.s2)
    if height != width:
        raise UserError(f"patch {row['id']} is not square: {height} x {width} pixels")
    return height


def _begin(build: Path, plan: _Plan, manifests: Path) -> None:
    """Keep what an earlier run of the same plan wrote, and nothing else."""
    note = build / "plan"
    digest = plan.digest(manifests)
    if not (note.exists() and note.read_text() == digest):
        shutil.rmtree(build, ignore_errors=True)
        build.mkdir(parents=True)
        note.write_text(digest)


def _forget_errors(build: Path, shards: Sequence[Shard]) -> None:
    """Shards with an error are read again if this run ends here: somebody may mend the rasters."""
    for number, shard in enumerate(shards):
        if any(finding.severity == "error" for finding in shard.findings):
            note_path(build, number).unlink()


def _write_shards(build: Path, source: Source, plan: _Plan, workers: int | None) -> list[Shard]:
    numbers = range(len(plan.shards))
    known = {n: Shard.load(note_path(build, n)) for n in numbers if note_path(build, n).exists()}
    missing = [number for number in numbers if number not in known]
    patches = sum(len(plan.shards[number]) for number in missing)
    check_free_disk(build, patches * plan.patch_bytes, "the patch store")
    # the declaration alone travels with every shard: the manifest may have millions of rows
    told = replace(source, manifest=source.manifest.head(0), rasters=_absolute(source))
    fixed = (build.absolute(), told, plan.side)
    calls = [(*fixed, number, plan.shards[number]) for number in missing]
    total = sum(map(len, plan.shards))
    with tqdm(None, "normalise", total, initial=total - patches, disable=None) as progress:
        for number, shard in spread(write_shard, calls, workers):
            known[number] = shard
            progress.update(len(plan.shards[number]))
    return [known[number] for number in numbers]


def _absolute(source: Source) -> Path:
    assert source.rasters is not None
    return source.rasters.absolute()  # workers may start elsewhere


def _finish(build: Path, source: Source, plan: _Plan, shards: Sequence[Shard]) -> dict[str, int]:
    """Write the index and the statistics; number of patches by split."""
    facts = [fact for shard in shards for fact in shard.facts]
    if not facts:
        raise UserError("the manifest leaves no usable patch; see the findings above")
    index = pd.DataFrame(facts)
    header: dict[str, object] = {
        "classes": list(source.classes),
        "palette": source.palette,
        "patch_size": plan.side,
        "digest": _digest(build, len(shards), index),
    }
    moments = _merged(shards)
    for sensor, modality in source.modalities.items():
        header[sensor] = _input_spec(sensor, modality, moments[sensor], plan.side).to_dict()
    index.to_parquet(build / "index.parquet", index=False)
    (build / "stats.json").write_text(json.dumps(header, indent=1) + "\n")
    shutil.rmtree(build / "shards")
    (build / "plan").unlink()
    return {str(split): int(n) for split, n in index["split"].value_counts().sort_index().items()}


def _digest(build: Path, shards: int, index: pd.DataFrame) -> str:
    told = hashlib.sha256()
    for number in range(shards):
        for path in (shard_path(build, kind, number) for kind in KINDS):
            if path.exists():
                told.update(np.load(path, allow_pickle=False).tobytes())
    told.update(index.to_csv(index=False).encode())
    return told.hexdigest()


def _merged(shards: Sequence[Shard]) -> dict[Sensor, Moments]:
    known: dict[Sensor, Moments] = {}
    for shard in shards:
        for sensor, moments in shard.moments.items():
            known[sensor] = known[sensor].merge(moments) if sensor in known else moments
    if not known:
        raise UserError(
            "every usable patch is in the split test: statistics need others, give some of "
            "them the split train or pretrain"
        )
    return known


def _input_spec(sensor: Sensor, modality: Modality, moments: Moments, patch_size: int) -> InputSpec:
    constant = [b for b, sd in zip(modality.bands, moments.sd, strict=True) if not sd > 0]
    if constant:
        raise UserError(f"{sensor}: bands {constant} hold one value everywhere; drop them")
    # six significant digits: rounding noise of another CPU does not change the artifact
    mean, sd = (tuple(float(f"{v:.6g}") for v in values) for values in (moments.mean, moments.sd))
    return InputSpec(modality, mean, sd, patch_size)
