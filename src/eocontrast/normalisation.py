"""From rasters to the patch store, whole or not at all."""

from __future__ import annotations

import multiprocessing
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from eocontrast.audit import refuse_too_many, write_audit
from eocontrast.pairs import read_pair
from eocontrast.shards import ShardWriter
from eocontrast.sources import read_source
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
    build = folder.with_name(folder.name + ".partial")
    shutil.rmtree(build, ignore_errors=True)
    build.mkdir(parents=True)
    store = ShardWriter(build, source, shard_mib, expected=len(manifest))
    # the declaration alone travels with every row: the manifest may have millions
    read = partial(read_pair, replace(source, manifest=manifest.head(0)))
    rows = manifest.to_dict("records")
    # processes, because opening a small raster is a millisecond that holds the interpreter's lock
    with multiprocessing.Pool(workers) as pool:
        patches = pool.imap(read, rows, chunksize=min(32, 1 + len(rows) // 32))
        for patch in tqdm(patches, total=len(rows), desc="normalise", disable=None):
            store.add(patch)
    write_audit(audit, store.findings, len(manifest))
    refuse_too_many(store.findings, len(manifest), max_bad_fraction)
    counts = store.finish()
    shutil.rmtree(folder, ignore_errors=True)
    build.rename(folder)
    return counts
