"""Pairs of an area from a STAC catalogue: searched for, read by window, and kept as GeoTIFFs.

`patches` lays out the grid, `search` finds items, `offset` decides on the offset of 1000,
`observe` reads a patch, `report` counts what is missing, and `catalogs` holds the presets.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from eocontrast.config.catalogues import StacParams
from eocontrast.modalities import SENTINEL1, Modality
from eocontrast.rasters.source import COLUMNS, Source
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import file_sha256
from eocontrast.runtime.parallel import parallel_map
from eocontrast.sources.labels.vectors import read_area
from eocontrast.sources.manifest import palette
from eocontrast.sources.stac.catalogs import catalog_of
from eocontrast.sources.stac.cover import label_patches
from eocontrast.sources.stac.load import quiet
from eocontrast.sources.stac.observe import Reader
from eocontrast.sources.stac.patches import Patch, patches_of
from eocontrast.sources.stac.record import Record
from eocontrast.sources.stac.report import write_report
from eocontrast.sources.stac.search import find_items

THREADS = 8
"""Patches that a process reads at a time: it waits for the network most of the time."""

BATCH = 64
"""Patches of a task, after which progress is shown; at its end threads wait for the slowest."""


def fetch(folder: Path, params: StacParams, workers: int | None = None) -> Source:
    """Read the pairs of an area that are not there yet, and describe all of them.

    Args:
        folder: Folder for rasters, records and the report.
        params: Parameters of the source.
        workers: Processes that read; one per core if None.

    Raises:
        UserError: the catalogue, the area or the labels cannot be used, or no patch has a pair.
    """
    catalog_of(params.catalog)  # credentials first: the grid of a large area takes seconds
    patches = patches_of(params)
    here = folder / _digest(params)
    here.mkdir(parents=True, exist_ok=True)
    records = _known(here, patches)
    missing = [patch for patch in patches if patch.name not in records]
    batches = [missing[start : start + BATCH] for start in range(0, len(missing), BATCH)]
    if missing:
        # here, once, so that workers find the items on disk
        find_items(catalog_of(params.catalog), params, read_area(params.area), here)
    done, total = len(records), len(patches)
    with tqdm(None, "patches", total, initial=done, unit="patch", disable=None) as bar:
        for batch in parallel_map(_fetch, [(params, here, batch) for batch in batches], workers):
            records |= {record.id: record for record in batch}
            bar.update(len(batch))
    ordered = [records[patch.name] for patch in patches]
    write_report(folder, patches, ordered)
    source = _source(folder, here, params, patches, ordered)
    if params.label_collection == "none":
        return source
    return label_patches(source, folder, here, params, patches)


_NOT_PIXELS = {"labels", "label_collection", "classes", "patches", "seed", "area"}


def _digest(params: StacParams) -> str:
    """Name the folder after all that determines a patch; labels and their number do not."""
    told = params.model_dump(mode="json", exclude=_NOT_PIXELS)
    told["area"] = file_sha256(params.area)  # another area has other items
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]


def _known(here: Path, patches: Sequence[Patch]) -> dict[str, Record]:
    known = {}
    for patch in patches:
        file = here / "records" / f"{patch.name}.json"
        if file.exists():
            known[patch.name] = Record(**json.loads(file.read_text()))
    return known


def _fetch(params: StacParams, here: Path, patches: list[Patch]) -> list[Record]:
    """Read some patches in threads; the first error ends the run."""
    catalog = catalog_of(params.catalog)
    s1, s2 = find_items(catalog, params, read_area(params.area), here)
    reader = Reader(catalog, params, s1, s2, here)
    with quiet(), ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(reader.fetch, patches))


def _source(
    folder: Path,
    here: Path,
    params: StacParams,
    patches: Sequence[Patch],
    records: Sequence[Record],
) -> Source:
    rows = list(_rows(here.relative_to(folder), patches, records))
    if not rows:
        causes = pd.Series([record.cause for record in records]).value_counts()
        counted = ", ".join(f"{cause}: {count}" for cause, count in causes.items())
        raise UserError(
            f"none of {len(records)} patches has a pair ({counted}); widen the dates, max_cloud or "
            f"max_days_apart; {folder / 'report.png'} shows where"
        )
    manifest = pd.DataFrame(rows, columns=list(COLUMNS))
    # clip at 10,000, the reflectance of a perfect diffuser
    modality = Modality(params.bands, "DN", (0.0, 10000.0))
    classes = dict(params.classes)
    licence = catalog_of(params.catalog).licence
    return Source(SENTINEL1, modality, classes, palette(classes), manifest, licence=licence)


def _rows(
    here: Path, patches: Sequence[Patch], records: Sequence[Record]
) -> Iterator[tuple[str, ...]]:
    for patch, record in zip(patches, records, strict=True):
        if not record.cause:
            paths = (f"{here.as_posix()}/{sensor}/{patch.name}.tif" for sensor in ("s1", "s2"))
            yield (patch.name, *paths, "", patch.group, "")
