"""One patch: the clearest Sentinel-2 observation, and the nearest one of Sentinel-1."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pystac
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from eocontrast.config.catalogues import CollectionParams, StacParams
from eocontrast.modalities import SENTINEL1, Modality
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import write_text
from eocontrast.sources.scenes.cut import write_patch
from eocontrast.sources.stac.catalogs import Catalog
from eocontrast.sources.stac.load import configure, load, signing_of
from eocontrast.sources.stac.offset import OFFSET, Decision, decide
from eocontrast.sources.stac.patches import Patch
from eocontrast.sources.stac.record import Record
from eocontrast.sources.stac.search import Items, Observation, with_all

UNCLEAR = (0, 1, 3, 8, 9, 10)
"""Values of the scene classification: no data, defective, shadow, two of cloud, cirrus.

https://sentiwiki.copernicus.eu/web/s2-processing, table of the scene classification.
"""

CLEAR_ENOUGH = 0.01
"""Share of unclear pixels from which on no clearer observation is looked for."""

LOOKED_AT = 8
"""Most observations of Sentinel-2 whose classification is read for a patch."""

NOT_RECEIVED = -32768.0
"""Value for no data of the Planetary Computer's Sentinel-1; zero and less are no power either."""


class Reader:
    """Reads patches of a catalogue into a folder; one per process.

    Args:
        catalog: Collections.
        params: Parameters of the source.
        s1: Items of Sentinel-1.
        s2: Items of Sentinel-2.
        folder: Folder for rasters and records.
    """

    def __init__(
        self, catalog: Catalog, params: StacParams, s1: Items, s2: Items, folder: Path
    ) -> None:
        self.catalog, self.params, self.s1, self.s2 = catalog, params, s1, s2
        self.folder = folder
        self.modality = Modality(params.bands, "DN", (0.0, 10000.0))
        self._deciding: dict[str, Lock] = defaultdict(Lock)
        configure(catalog.options)

    def fetch(self, patch: Patch) -> Record:
        """Write the rasters and the record of a patch, which say nothing if it is there already.

        Raises:
            UserError: its files cannot be read after several attempts.
        """
        file = self.folder / "records" / f"{patch.name}.json"
        if file.exists():
            return Record(**json.loads(file.read_text()))
        record = self._read(patch)
        # last: a patch with a record has its rasters
        write_text(file, json.dumps(asdict(record), indent=1) + "\n")
        return record

    def _read(self, patch: Patch) -> Record:
        record = Record(patch.name)
        pairs, record.cause = self._pairs(patch)
        if record.cause:
            return record
        clearest = self._clearest(patch, pairs)
        if clearest is None:
            record.cause = "clouds"
            return record
        s2, s1, unclear = clearest
        record.s1, record.s2 = s1.names, s2.names
        record.s1_time, record.s2_time = s1.time.isoformat(), s2.time.isoformat()
        record.days_apart = round(s1.days_from(s2), 3)
        record.unclear = round(float(unclear.mean()), 4)
        power = self._power(patch, s1)
        if not np.isfinite(power).any() or np.isfinite(power).mean() < 1 - self.params.max_cloud:
            record.cause = "no data of s1"
            return record
        numbers, decisions = self._numbers(patch, s2)
        record.offsets = {name: asdict(decision) for name, decision in decisions.items()}
        numbers[:, unclear] = 0
        (self.folder / "s1").mkdir(exist_ok=True)
        (self.folder / "s2").mkdir(exist_ok=True)
        write_patch(self.folder / f"s1/{patch.name}.tif", power, SENTINEL1, patch.grid)
        write_patch(self.folder / f"s2/{patch.name}.tif", numbers, self.modality, patch.grid)
        return record

    def _pairs(self, patch: Patch) -> tuple[list[tuple[Observation, Observation]], str]:
        """Return observations of both sensors near in time, the least cloudy first, or a cause."""
        optical, cause = self._optical(patch)
        if cause:
            return [], cause
        radar, cause = with_all("s1", self.s1.over(patch), [*self.catalog.s1.assets.values()])
        if cause:
            return [], cause
        pairs = [(o, min(radar, key=o.days_from)) for o in optical]
        near = [pair for pair in pairs if pair[0].days_from(pair[1]) <= self.params.max_days_apart]
        return sorted(near, key=lambda pair: (pair[0].cloud, pair[0].time)), (
            "" if near else "no s1 near in time"
        )

    def _optical(self, patch: Patch) -> tuple[list[Observation], str]:
        """Return the observations of Sentinel-2 that have all bands, or a cause."""
        wanted = self.catalog.s2.assets
        needed = [*(wanted[band] for band in self.params.bands), self._scl()]
        return with_all("s2", self.s2.over(patch), needed)

    def _unclear(self, patch: Patch, s2: Observation) -> NDArray[np.bool_]:
        """Return the pixels without a clear view."""
        classes = self._load(patch, s2.items, self.catalog.s2, [self._scl()], "nearest", 0)[0]
        return np.isin(classes, UNCLEAR)

    def _clearest(
        self, patch: Patch, pairs: Sequence[tuple[Observation, Observation]]
    ) -> tuple[Observation, Observation, NDArray[np.bool_]] | None:
        best: tuple[Observation, Observation, NDArray[np.bool_]] | None = None
        for s2, s1 in pairs[:LOOKED_AT]:
            unclear = self._unclear(patch, s2)
            if best is None or unclear.mean() < best[2].mean():
                best = s2, s1, unclear
            if unclear.mean() <= CLEAR_ENOUGH:
                break
        return best if best and best[2].mean() <= self.params.max_cloud else None

    def _scl(self) -> str:
        name = self.catalog.s2.scene_classification
        if name is None:
            raise UserError(
                "sources.stac.catalog.s2.scene_classification is none, and clouds cannot be told "
                "without it; name the asset of the scene classification"
            )
        return name

    def _power(self, patch: Patch, s1: Observation) -> NDArray[np.float32]:
        """Return backscatter in dB, NaN without data."""
        names = [self.catalog.s1.assets[band] for band in SENTINEL1.bands]
        values = self._load(patch, s1.items, self.catalog.s1, names, "bilinear", NOT_RECEIVED)
        values = values.astype(np.float32)
        if self.catalog.s1.units == "dB":
            return np.where(values == NOT_RECEIVED, np.float32(np.nan), values)
        power = np.where(values > 0, values, np.float32(np.nan))
        decibel: NDArray[np.float32] = 10 * np.log10(power)
        return decibel

    def _numbers(self, patch: Patch, s2: Observation) -> tuple[NDArray[Any], dict[str, Decision]]:
        """Return digital numbers without the offset, 0 without data, and the decisions."""
        names = [self.catalog.s2.assets[band] for band in self.params.bands]
        decisions = {item.id: self._decide(item) for item in s2.items}
        shape = (len(names), patch.side, patch.side)
        numbers = np.zeros(shape, np.int32)
        # items with and without the offset are read apart, and mosaicked afterwards
        for present in (False, True):
            items = [item for item in s2.items if decisions[item.id].present == present]
            if items:
                part = self._load(patch, items, self.catalog.s2, names, "bilinear", 0)
                held = (part > 0).all(0) & (numbers == 0).all(0)
                taken = np.maximum(part.astype(np.int32) - OFFSET * present, 1)
                numbers[:, held] = taken[:, held]
        return numbers, decisions

    def _decide(self, item: pystac.Item) -> Decision:
        """Decide on the offset of a whole item, once."""
        with self._deciding[item.id]:
            return self._decided(item)

    def _decided(self, item: pystac.Item) -> Decision:
        file = self.folder / "dark_ends" / f"{item.id}.json"
        if file.exists():
            return Decision(**json.loads(file.read_text()))
        names = [self.catalog.s2.assets[band] for band in self.params.bands]
        loaded = load(
            f"item {item.id}",
            [item],
            signing_of(self.catalog.s2),
            bands=names,
            # overviews of a COG are enough: 110 km in 690 pixels
            crs="utm",
            resolution=160,
            dtype="uint16",
            nodata=0,
        )
        numbers = np.stack([loaded[name].to_numpy().squeeze() for name in names])
        decision = decide(item, numbers)
        if decision.contradicts:
            stated, held = ("is", "is not") if decision.stated else ("is not", "is")
            print(
                f"warning: {item.id}: its metadata say that the offset of {OFFSET} {stated} in its "
                f"pixels, but by the dark end of its bands it {held}"
            )
        write_text(file, json.dumps(asdict(decision)) + "\n")
        return decision

    def _load(
        self,
        patch: Patch,
        items: Sequence[pystac.Item],
        collection: CollectionParams,
        names: list[str],
        resampling: str,
        nodata: float,
    ) -> NDArray[Any]:
        """Return the mosaic of some items on a patch's grid, (bands, h, w)."""
        grid = patch.grid
        transform = Affine(*grid.transform[:6])
        box = GeoBox((grid.height, grid.width), transform, f"EPSG:{patch.epsg}")
        loaded = load(
            f"patch {patch.name}",
            items,
            signing_of(collection),
            bands=names,
            geobox=box,
            resampling=resampling,
            groupby=lambda *_: 0,
            nodata=nodata,
            dtype="float32" if collection.units in ("linear", "dB") else "uint16",
            preserve_original_order=True,
        )
        return np.stack([loaded[name].to_numpy()[0] for name in names])
