"""From rasters to the patch store, whole or not at all."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from eocontrast.audit import Finding, refuse_too_many
from eocontrast.audit_report import audit_table, write_audit
from eocontrast.consistency import Consistency
from eocontrast.pairs import read_pairs
from eocontrast.shards import ShardWriter
from eocontrast.sources import Source, read_source
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
    check_shift: bool,
    workers: int | None = None,
) -> dict[str, int]:
    """Write the patch store of a source to `folder`, whole or not at all.

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
    build = folder.with_name(folder.name + ".partial")
    shutil.rmtree(build, ignore_errors=True)
    build.mkdir(parents=True)
    store = ShardWriter(build, source, shard_mib, expected=len(manifest))
    for patch in read_pairs(replace(source, manifest=manifest), check_shift, workers):
        store.add(patch)
    write_audit(audit, store.findings, len(manifest))
    print(audit_table(store.findings, len(manifest)))
    refuse_too_many(store.findings, len(manifest), max_bad_fraction)
    counts = store.finish()
    shutil.rmtree(folder, ignore_errors=True)
    build.rename(folder)
    return counts


def audit_source(source: Source, *, check_shift: bool, workers: int | None = None) -> list[Finding]:
    """The findings on every patch of a source, and nothing stored.

    Where the manifest gives no split, none is drawn: such patches count as learnt from.

    Args:
        source: as `read_source` gives it.
        check_shift: whether to look for a shift of S1 against S2.
        workers: processes that read rasters; one a core where None.
    """
    consistency = Consistency()
    patches = read_pairs(source, check_shift, workers)
    return [finding for patch in patches for finding in consistency.findings(patch)]
