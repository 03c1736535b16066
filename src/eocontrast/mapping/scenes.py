"""A scene of any size on one grid, read window by window.

The grid is that of Sentinel-2's finest band, or of Sentinel-1's where that is alone. What lies on
another one (CRS, origin, resolution) is warped to it on the way, bilinearly as `normalise` brings
coarse bands to fine ones. A window costs the memory of a window.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from eocontrast.mapping.images import Image, SensorImage, open_image
from eocontrast.mapping.tiles import Tile
from eocontrast.modalities import Sensor
from eocontrast.patches.inputs import InputSpec
from eocontrast.rasters.grids import Grid, finest
from eocontrast.runtime.errors import UserError

Stored = dict[Sensor, NDArray[np.integer]]
"""By sensor, stored integers (bands, h, w)."""

CACHE_BYTES = 64 * 2**20
"""GDAL's cache of blocks; its own default is a twentieth of the machine's memory."""

SAMPLES, SIDE = 4, 64
"""Windows each way, and their side in pixels, of the sample that is checked before all else."""


class Scene:
    """What the sensors show of one place.

    Attributes:
        grid: of every sensor.
        images: by sensor, those that there are.
        inputs: what a model expects; a sensor without an image has no data anywhere.
    """

    def __init__(
        self,
        grid: Grid,
        images: Mapping[Sensor, SensorImage],
        inputs: Mapping[Sensor, InputSpec],
    ) -> None:
        self.grid, self.images, self.inputs = grid, images, inputs
        self._one_reads = Lock()  # GDAL's rasters serve one thread at a time

    def read(self, window: Tile) -> Stored:
        """What models take of a window, in any thread; no data beyond the scene's edges.

        Raises:
            UserError: a file is damaged.
        """
        height = min(window.height, self.grid.height - window.row)
        width = min(window.width, self.grid.width - window.col)
        inside = Window(window.col, window.row, width, height)
        found: Stored = {}
        for sensor, spec in self.inputs.items():
            storage = spec.modality.storage
            shape = (len(spec.modality.bands), window.height, window.width)
            found[sensor] = np.full(shape, storage.nodata, storage.dtype)
            if sensor in self.images:
                image = self.images[sensor]
                with self._one_reads:
                    values = image.read(inside)
                found[sensor][:, :height, :width] = image.encode(values)
        return found

    def has_data(self, stored: Stored) -> NDArray[np.bool_]:
        """Where every sensor that took an image has a value in some band, (h, w)."""
        known = [
            (stored[sensor] != self.inputs[sensor].modality.storage.nodata).any(0)
            for sensor in self.images
        ]
        found: NDArray[np.bool_] = np.logical_and.reduce(known)
        return found


@contextmanager
def open_scene(
    images: Mapping[Sensor, Image], inputs: Mapping[Sensor, InputSpec], check_scale: bool = True
) -> Iterator[Scene]:
    """A scene whose bands, units and range of values suit `inputs`; a sample of it is read.

    Args:
        images: by sensor, at least one of `inputs`.
        inputs: what a model expects.
        check_scale: refuse values that can hardly be of their units.

    Raises:
        UserError: they do not suit, a file cannot be read, or a sensor has no data on the grid.
    """
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES), ExitStack() as stack:
        opened = {s: open_image(stack, image, inputs[s]) for s, image in images.items()}
        main = opened["s2"] if "s2" in opened else next(iter(opened.values()))
        grid = finest(Grid.of(file.raster) for file in main.files)
        opened = {sensor: image.on_grid(stack, grid) for sensor, image in opened.items()}
        for sensor, image in opened.items():
            try:
                _check(sensor, image, _sample(image, grid), check_scale)
            except UserError as error:
                raise UserError(f"{images[sensor].path}: {error}") from error
        yield Scene(grid, opened, inputs)


def _sample(image: SensorImage, grid: Grid) -> NDArray[Any]:
    """Windows from all over the scene, (n, bands, h, w); where they are void, every n-th pixel."""
    height, width = min(SIDE, grid.height), min(SIDE, grid.width)
    shares = (np.arange(SAMPLES) + 0.5) / SAMPLES
    rows, cols = (
        # multiples of a side, so that a window does not lie across several blocks of a file
        ((shares * room).astype(int) // SIDE * SIDE).tolist()
        for room in (grid.height - height, grid.width - width)
    )
    found = [image.read(Window(col, row, width, height)) for row in rows for col in cols]
    if not any(np.isfinite(values).any() for values in found):
        most = SAMPLES * SIDE
        found = [image.read(shape=(min(grid.height, most), min(grid.width, most)))]
    return np.stack(found)


def _check(sensor: Sensor, image: SensorImage, values: NDArray[Any], check_scale: bool) -> None:
    """Wrong units cost no error later, only accuracy."""
    if not np.isfinite(values).any():
        raise UserError("no data on the scene's grid: are both images of one place?")
    bands, units = image.spec.modality.bands, image.units
    image.spec.prepare(values, bands=bands, units=units, check_scale=False)
    if not check_scale:
        return
    if units == "linear" and np.nanmedian(values) < 0:  # a few bright targets exceed 0 dB
        raise UserError(
            "most values said to be linear are negative, which looks like dB: name their units by "
            f"--{sensor}-units"
        )
    try:
        image.spec.prepare(values, bands=bands, units=units)
    except UserError as error:
        said = str(error).replace("name their units", f"name their units by --{sensor}-units")
        told = said.replace("check_scale=False", "--no-scale-check")
        raise UserError(told) from error
