"""From rasters to the patch store: by shards, on any number of workers, whole or not at all."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from eocontrast.modalities import Sensor
from eocontrast.normalisation.audit import Finding, has_error, refuse_too_many
from eocontrast.normalisation.audit_report import audit_table, write_audit
from eocontrast.normalisation.bands import stored_bands
from eocontrast.normalisation.consistency import Consistency
from eocontrast.normalisation.index import write_index
from eocontrast.normalisation.pairs import Patch, StoreBands
from eocontrast.normalisation.shards import (
    Rows,
    audit_rows,
    finished_shard,
    note_path,
    write_shard,
)
from eocontrast.normalisation.splits import split_by_group
from eocontrast.rasters.open import RasterError
from eocontrast.rasters.read import bands_size
from eocontrast.rasters.source import Source, read_source
from eocontrast.runtime.files import check_free_disk, code_sha256
from eocontrast.runtime.parallel import parallel_map


def build_store(
    manifests: Path,
    folder: Path,
    audit: Path,
    *,
    seed: int,
    test_fraction: float,
    shard_mib: int,
    max_bad_fraction: float,
    check_shift: bool,
    drop_bands: Collection[str] = (),
    fill_bands: Mapping[Sensor, Sequence[str]] | None = None,
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
        check_shift: whether to look for a shift of S1 against S2.
        drop_bands: names of bands that are left out.
        fill_bands: names by sensor of bands that are no data everywhere where it lacks them.
        workers: processes that read rasters; one a core where None.

    Returns:
        Number of patches by split, and `quarantined`.

    Raises:
        UserError: too many patches with errors, none without, or no space.
    """
    source = read_source(manifests)
    manifest = source.manifest.copy()
    manifest["labelled"] = manifest["label"] != ""
    manifest["split"] = split_by_group(manifest, test_fraction, seed)
    source = replace(source, manifest=manifest)
    bands = stored_bands(source, drop_bands, fill_bands)
    plan = _plan(source, bands, shard_mib)
    build = folder.with_name(folder.name + ".partial")
    _begin(build, f"{plan.digest(manifests)} {check_shift} {bands}")
    patches = list(_stored(build, plan, (_told(source), bands, check_shift), workers))
    findings, kept = _judged(plan, patches)
    write_audit(audit, findings, len(manifest))
    print(audit_table(findings, len(manifest)), file=sys.stderr)
    if findings:
        print(f"every finding is in {audit}", file=sys.stderr)
    _forget_errors(build, plan, findings)
    refuse_too_many(findings, len(manifest), max_bad_fraction)
    counts = write_index(build, source, bands, plan.side, kept)
    shutil.rmtree(build / "shards")
    (build / PLAN).unlink()
    for left in build.rglob("*.partial"):  # by a worker that was killed while it wrote
        left.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    build.rename(folder)
    return {**counts, "quarantined": len(manifest) - len(kept)}


def audit_source(source: Source, *, check_shift: bool, workers: int | None = None) -> list[Finding]:
    """The findings on every patch of a source, and nothing stored.

    Where the manifest gives no split, none is drawn: such patches count as learnt from.

    Args:
        source: as `read_source` gives it.
        check_shift: whether to look for a shift of S1 against S2.
        workers: processes that read rasters; one a core where None.
    """
    bands = stored_bands(source)
    plan = _plan(source, bands, shard_mib=1)
    told = (_told(source), bands, check_shift)
    calls = [(*told, number, rows) for number, rows in enumerate(plan.shards)]
    pieces = dict(_shown(parallel_map(audit_rows, calls, workers), plan, done=0))
    patches = [patch for number in sorted(pieces) for patch in pieces[number]]
    return _judged(plan, patches)[0]


PLAN = "plan"
"""File that tells one state of data and code from another."""


@dataclass(frozen=True)
class _Plan:
    """Which rows go into which shard, a function of the manifest alone.

    Attributes:
        first: id of the first patch whose size can be read.
        side: of that, and of all patches, in pixels.
        patch_bytes: of the largest patch in the store.
        shards: rows by number.
    """

    first: str
    side: int
    patch_bytes: int
    shards: tuple[Rows, ...]

    def digest(self, manifests: Path) -> str:
        """Of all that determines the shards, the code included."""
        told = hashlib.sha256(repr((self, code_sha256())).encode())
        for file in sorted(manifests.iterdir()):
            if file.is_file():
                told.update(file.read_bytes())
        return told.hexdigest()


def _plan(source: Source, bands: StoreBands, shard_mib: int) -> _Plan:
    rows = [{str(k): v for k, v in row.items()} for row in source.manifest.to_dict("records")]
    first, side = _first_square(source, rows)
    stored = [kept.modality for kept in bands.values()]
    pixel = [len(m.bands) * np.dtype(m.storage.dtype).itemsize for m in stored]
    count = max(1, -(-shard_mib * 2**20 // (max(pixel) * side**2)))
    pieces = tuple(rows[start : start + count] for start in range(0, len(rows), count))
    return _Plan(first, side, (sum(pixel) + 1) * side**2, pieces)  # 1 for the mask


def _first_square(source: Source, rows: Rows) -> tuple[str, int]:
    for row in rows:
        try:
            height, width = bands_size(
                (source.rasters or Path()) / row["s2"], source.s2, source.declared("s2")
            )
        except RasterError:  # becomes a finding when it is read
            continue
        if height == width:
            return row["id"], height
    return rows[0]["id"], 1  # each of them has an error


def _begin(build: Path, digest: str) -> None:
    """Keep what an earlier run of the same plan wrote, and nothing else."""
    note = build / PLAN
    if not (note.exists() and note.read_text() == digest):
        shutil.rmtree(build, ignore_errors=True)
        build.mkdir(parents=True)
        note.write_text(digest)


def _stored(
    build: Path, plan: _Plan, told: tuple[Source, StoreBands, bool], workers: int | None
) -> Iterator[Patch]:
    """What is to be known of every row, in their order, when all shards are written."""
    found = {number: finished_shard(build, number) for number in range(len(plan.shards))}
    missing = [number for number, patches in found.items() if patches is None]
    ahead = sum(len(plan.shards[number]) for number in missing)
    check_free_disk(build, ahead * plan.patch_bytes, "the patch store")
    where = (plan.side, build.absolute())
    calls = [(*told, number, plan.shards[number], *where) for number in missing]
    done = sum(map(len, plan.shards)) - ahead
    found |= dict(_shown(parallel_map(write_shard, calls, workers), plan, done))
    return (patch for patches in found.values() for patch in patches or ())


def _shown(
    pieces: Iterable[tuple[int, list[Patch]]], plan: _Plan, done: int
) -> Iterator[tuple[int, list[Patch]]]:
    total = sum(map(len, plan.shards))
    with tqdm(None, "audit", total, initial=done, unit="patch", disable=None) as progress:
        for number, patches in pieces:
            progress.update(len(patches))
            yield number, patches


def _told(source: Source) -> Source:
    """What travels with every shard: the declaration alone, for the manifest may have millions."""
    rasters = (source.rasters or Path()).absolute()  # workers may start elsewhere
    return replace(source, manifest=source.manifest.head(0), rasters=rasters)


def _judged(plan: _Plan, patches: Iterable[Patch]) -> tuple[list[Finding], list[Patch]]:
    """All findings, and the patches without an error."""
    consistency = Consistency(plan.first, plan.side)
    every, kept = [], []
    for patch in patches:
        findings = consistency.findings(patch)
        every += findings
        if not has_error(findings):
            kept.append(patch)
    return every, kept


def _forget_errors(build: Path, plan: _Plan, findings: list[Finding]) -> None:
    """Shards with an error are read again if this run ends here: somebody may mend the rasters."""
    bad = {finding.id for finding in findings if finding.severity == "error"}
    for number, rows in enumerate(plan.shards):
        if any(row["id"] in bad for row in rows):
            note_path(build, number).unlink()
