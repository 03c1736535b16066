"""A tile whose pixels come from as many observations as it takes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import geometry_mask

from eocontrast.config.catalogues import StacParams
from eocontrast.modalities import SENTINEL1, Sensor
from eocontrast.sources.scenes.cut import write_patch
from eocontrast.sources.stac.catalogs import Catalog
from eocontrast.sources.stac.observe import CLEAR_ENOUGH, LOOKED_AT, Reader
from eocontrast.sources.stac.patches import Patch
from eocontrast.sources.stac.record import Record
from eocontrast.sources.stac.search import Items, Observation


class Mosaicker(Reader):
    """Reads tiles whose pixels come from as many observations as it takes.

    Args:
        sensors: Sensors to read, `s2` and perhaps `s1`.
        plane: Area in metres of the tiles' zone; pixels outside it are left at no data.
        catalog, params, s1, s2, folder: As of `Reader`.
    """

    def __init__(
        self,
        sensors: Collection[Sensor],
        plane: shapely.Geometry,
        catalog: Catalog,
        params: StacParams,
        s1: Items,
        s2: Items,
        folder: Path,
    ) -> None:
        super().__init__(catalog, params, s1, s2, folder)
        self.sensors, self.plane = sensors, plane
        for sensor in sensors:
            (folder / sensor).mkdir(exist_ok=True)

    def _read(self, patch: Patch) -> Record:
        record, radar = Record(patch.name), list[Observation]()
        if "s1" in self.sensors:
            pairs, record.cause = self._pairs(patch)
            optical, radar = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        else:
            seen, record.cause = self._optical(patch)
            optical = sorted(seen, key=lambda o: (o.cloud, o.time))
        if record.cause:
            return record
        numbers = self._cloudless(patch, optical, record)
        if not numbers.any():
            record.cause = "clouds"
            return record
        write_patch(self.folder / f"s2/{patch.name}.tif", numbers, self.modality, patch.grid)
        if radar:
            power = self._covered(patch, radar, record)
            write_patch(self.folder / f"s1/{patch.name}.tif", power, SENTINEL1, patch.grid)
        return record

    def _cloudless(
        self, patch: Patch, optical: Sequence[Observation], record: Record
    ) -> NDArray[np.int32]:
        """Return digital numbers, each pixel of the first observation that sees it clearly."""
        mosaic = np.zeros((len(self.params.bands), patch.side, patch.side), np.int32)
        missing = self._inside(patch)
        area = missing.sum()
        for s2 in optical[:LOOKED_AT]:
            # the first clear view counts, so that neighbours come from one day if they can
            wanted = ~self._unclear(patch, s2) & missing
            if wanted.any():
                numbers, decisions = self._numbers(patch, s2)
                mosaic[:, wanted] = numbers[:, wanted]
                record.s2 += s2.names
                record.offsets |= {name: asdict(decision) for name, decision in decisions.items()}
            missing &= (mosaic == 0).all(0)
            record.unclear = round(float(missing.sum() / max(area, 1)), 4)
            if record.unclear <= CLEAR_ENOUGH:
                break
        return mosaic

    def _covered(
        self, patch: Patch, radar: Sequence[Observation], record: Record
    ) -> NDArray[np.float32]:
        """Return backscatter in dB, each pixel of the first observation that has it."""
        mosaic = np.full((2, patch.side, patch.side), np.nan, np.float32)
        inside = self._inside(patch)
        # a swath of 250 km may end within a tile
        for s1 in {tuple(s1.names): s1 for s1 in radar}.values():
            missing = np.isnan(mosaic) & inside
            if not missing.any():
                break
            mosaic[missing] = self._power(patch, s1)[missing]
            record.s1 += s1.names
        return mosaic

    def _inside(self, patch: Patch) -> NDArray[np.bool_]:
        shape, transform = (patch.side, patch.side), patch.grid.transform
        inside: NDArray[np.bool_] = geometry_mask([self.plane], shape, transform, invert=True)
        return inside
