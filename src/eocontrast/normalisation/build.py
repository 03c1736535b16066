"""Build the patch store from rasters, by shards, on any number of workers."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from eocontrast.modalities import Sensor
from eocontrast.normalisation.audit import Finding, has_error, refuse_too_many
from eocontrast.normalisation.audit_report import audit_table, write_audit
from eocontrast.normalisation.bands import stored_bands
from eocontrast.normalisation.consistency import Consistency
from eocontrast.normalisation.dataset import (
    audit_dataset,
    refuse_empty_splits,
    refuse_gaps,
    split_report,
    split_table,
)
from eocontrast.normalisation.gaps import gaps, read_report, summary
from eocontrast.normalisation.index import write_index
from eocontrast.normalisation.pairs import Patch, StoreBands
from eocontrast.normalisation.plan import Plan, plan_shards
from eocontrast.normalisation.shards import (
    audit_rows,
    finished_shard,
    note_path,
    write_shard,
)
from eocontrast.normalisation.splits import split_by_group
from eocontrast.rasters.source import Source, read_source
from eocontrast.runtime.files import check_free_disk
from eocontrast.runtime.parallel import parallel_map

SHIFT_SAMPLE = 500
"""Pairs in which `build_store` looks for a shift; `eocontrast audit` looks in all.

At 256 px the search takes two and a half times as long as the rest of the stage. A product that is
misregistered shows in a sample, and a shift is a warning that keeps no patch out of the store.
"""


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
    finetuned: bool = False,
) -> dict[str, int]:
    """Write the patch store of a source to `folder`, whole or not at all.

    A run that was killed continues with the shards that are missing in `<folder>.partial`, and ends
    in the same bytes, as does any number of workers.

    Args:
        manifests: Folder in which `download` described the source.
        folder: Folder of the store, which is replaced.
        audit: JSON file for findings on the rasters; apart from the store, because no model
            depends on it.
        seed: Seed of the split of groups to which the manifest gives none.
        test_fraction: Share of those groups' patches to test on.
        shard_mib: Largest shard of one sensor, in MiB.
        max_bad_fraction: Share of patches that may be left out for errors.
        check_shift: Whether to look for a shift of S1 against S2, in `SHIFT_SAMPLE` pairs.
        drop_bands: Names of bands to leave out.
        fill_bands: Names by sensor of bands to add as missing data if it lacks them.
        workers: Processes that read rasters, by default one per core.
        finetuned: whether models are fine-tuned on the store, which needs labels in both splits.

    Returns:
        Number of patches by split, and `quarantined`.

    Raises:
        UserError: too many patches with errors, none without, or no space.
    """
    source = read_source(manifests)
    manifest = source.manifest.copy()
    manifest["labelled"] = manifest["label"] != ""
    manifest["split"] = split_by_group(manifest, test_fraction, seed)
    manifest["check_shift"] = _sampled(len(manifest), SHIFT_SAMPLE if check_shift else 0, seed)
    if finetuned:
        refuse_empty_splits(manifest)
    source = replace(source, manifest=manifest)
    bands = stored_bands(source, drop_bands, fill_bands)
    plan = plan_shards(source, bands, shard_mib)
    build = folder.with_name(folder.name + ".partial")
    _begin(build, f"{plan.digest(manifests)} {bands}")
    patches = list(_stored(build, plan, (_told(source), bands), workers))
    findings, kept = _judged(source, plan, patches)
    searched = int(manifest["check_shift"].sum())
    report = read_report(manifests)
    findings += gaps(report)
    write_audit(audit, findings, len(manifest), searched, summary(report))
    print(audit_table(findings, len(manifest)), file=sys.stderr)
    if findings:
        print(f"every finding is in {audit}", file=sys.stderr)
    if 0 < searched < len(manifest):
        print(
            f"a shift was searched in {searched} of {len(manifest)} patches; `eocontrast audit "
            f"{manifests}` searches all",
            file=sys.stderr,
        )
    _forget_errors(build, plan, findings)
    refuse_too_many(findings, len(manifest), max_bad_fraction)
    if kept:
        print(split_report(kept, [*source.classes]), file=sys.stderr)
    if finetuned and kept:
        refuse_gaps(split_table(kept, [*source.classes]))
    counts = write_index(build, source, bands, plan.side, kept)
    shutil.rmtree(build / "shards")
    (build / PLAN).unlink()
    for left in build.rglob("*.partial"):  # by a worker that was killed while it wrote
        left.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    build.rename(folder)
    return {**counts, "quarantined": len(manifest) - len(kept)}


def audit_source(
    source: Source, *, check_shift: bool, workers: int | None = None
) -> tuple[list[Finding], list[Patch]]:
    """The findings on every patch of a source and the patches without errors; nothing is stored.

    Patches without a split count as training patches.

    Args:
        source: Source that `read_source` returns.
        check_shift: Whether to look for a shift of S1 against S2 in every pair.
        workers: Processes that read rasters, by default one per core.
    """
    bands = stored_bands(source)
    source = replace(source, manifest=source.manifest.assign(check_shift=check_shift))
    plan = plan_shards(source, bands, shard_mib=1)
    told = (_told(source), bands)
    calls = [(*told, number, rows) for number, rows in enumerate(plan.shards)]
    pieces = dict(_shown(parallel_map(audit_rows, calls, workers), plan, done=0))
    patches = [patch for number in sorted(pieces) for patch in pieces[number]]
    findings, kept = _judged(source, plan, patches)
    return findings, kept


PLAN = "plan"
"""File that identifies the state of data and code."""


def _sampled(patches: int, wanted: int, seed: int) -> NDArray[np.bool_]:
    """Draw `wanted` of the patches, all of them if there are no more."""
    drawn = np.random.default_rng(seed).permutation(patches)[:wanted]
    return np.isin(np.arange(patches), drawn)


def _begin(build: Path, digest: str) -> None:
    """Keep what an earlier run of the same plan wrote, and nothing else."""
    note = build / PLAN
    if not (note.exists() and note.read_text() == digest):
        shutil.rmtree(build, ignore_errors=True)
        build.mkdir(parents=True)
        note.write_text(digest)


def _stored(
    build: Path, plan: Plan, told: tuple[Source, StoreBands], workers: int | None
) -> Iterator[Patch]:
    """Write all missing shards and return the audit record of every row."""
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
    pieces: Iterable[tuple[int, list[Patch]]], plan: Plan, done: int
) -> Iterator[tuple[int, list[Patch]]]:
    total = sum(map(len, plan.shards))
    with tqdm(None, "audit", total, initial=done, unit="patch", disable=None) as progress:
        for number, patches in pieces:
            progress.update(len(patches))
            yield number, patches


def _told(source: Source) -> Source:
    """Return the source without its manifest, which may have millions of rows."""
    rasters = (source.rasters or Path()).absolute()  # workers may start elsewhere
    return replace(source, manifest=source.manifest.head(0), rasters=rasters)


def _judged(
    source: Source, plan: Plan, patches: Sequence[Patch]
) -> tuple[list[Finding], list[Patch]]:
    """Return all findings, and the patches without an error."""
    consistency = Consistency(plan.first, plan.side)
    together: dict[str, list[Finding]] = {}
    for finding in audit_dataset(source, patches):
        together.setdefault(finding.id, []).append(finding)
    every, kept = [], []
    for patch in patches:
        findings = consistency.findings(patch) + together.get(patch.id, [])
        every += findings
        if not has_error(findings):
            kept.append(patch)
    return every, kept


def _forget_errors(build: Path, plan: Plan, findings: list[Finding]) -> None:
    """Remove shards with an error, so that they are read again after the rasters are mended."""
    bad = {finding.id for finding in findings if finding.severity == "error"}
    for number, rows in enumerate(plan.shards):
        if any(row["id"] in bad for row in rows):
            note_path(build, number).unlink()
