"""Scenes of any size on one grid, read window by window.

The grid is that of Sentinel-2's finest band, or of Sentinel-1's in a scene without Sentinel-2.
Files on another grid (CRS, origin, resolution) are warped bilinearly as they are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from eocontrast.mapping.checks import Resolution, check_values, scene_grid, scene_modality
from eocontrast.mapping.tiles import Tile
from eocontrast.modalities import Sensor, Units
from eocontrast.patches.inputs import InputSpec
from eocontrast.rasters.grids import Grid, finest
from eocontrast.rasters.image import SensorImage, open_image
from eocontrast.rasters.open import gdal_settings
from eocontrast.rasters.values import AUTOMATIC, Declared, encode_pixels
from eocontrast.runtime.errors import UserError

Stored = dict[Sensor, NDArray[np.integer]]
"""Stored integers (bands, h, w) by sensor."""

# stay small: 128 MiB saved 0.035 of about 1.7 s a megapixel (benchmarks/RESULTS.md)
CACHE_BYTES = 64 * 2**20
"""GDAL's cache of blocks; its own default is a twentieth of the machine's memory."""


@dataclass(frozen=True)
class Image:
    """One sensor's image as the user describes it.

    Attributes:
        path: One raster, or one per band if it holds `{band}`.
        bands: Names in the order of the file. If None, the file's descriptions count, or else the
            bands that the model expects.
        units: Units of the values; if None, those that the model expects.
        fill_bands: Names of bands that may be missing. The model then sees them as no data.
        files: What the user declares about no-data values and the offset.
    """

    path: str
    bands: tuple[str, ...] | None = None
    units: Units | None = None
    fill_bands: tuple[str, ...] = ()
    files: Declared = AUTOMATIC

    def open(self, stack: ExitStack, spec: InputSpec) -> SensorImage:
        """Open the files that hold the bands of `spec`.

        Raises:
            UserError: a file cannot be read, a band is missing, or the units do not fit.
        """
        modality = spec.modality
        units = self.units or modality.units
        # reflectance and DN have one storage: 10,000 x reflectance, without a product's offset
        if {units, modality.units} != {"DN", "reflectance"}:
            try:
                spec.channels(replace(modality, units=units))
            except UserError as error:
                raise UserError(f"{self.path}: {error}") from error
        image = open_image(
            self.path, modality.bands, units, self.bands, self.fill_bands, self.files
        )
        return stack.enter_context(image)


class SceneReader:
    """An open scene.

    Attributes:
        grid: Grid of every sensor.
        images: Open images by sensor.
        inputs: What the model expects by sensor; one without an image has no data anywhere.
    """

    def __init__(
        self,
        grid: Grid,
        images: Mapping[Sensor, SensorImage],
        inputs: Mapping[Sensor, InputSpec],
    ) -> None:
        self.grid, self.images, self.inputs = grid, images, inputs
        self._reading = Lock()  # GDAL's rasters serve one thread at a time

    def read(self, window: Tile) -> Stored:
        """Read a window as stored integers; there is no data beyond the scene's edges.

        Any thread may call it.

        Raises:
            UserError: a file is damaged.
        """
        height = min(window.height, self.grid.height - window.row)
        width = min(window.width, self.grid.width - window.col)
        stored: Stored = {}
        for sensor, spec in self.inputs.items():
            storage, bands = spec.modality.storage, spec.modality.bands
            shape = (len(bands), window.height, window.width)
            stored[sensor] = np.full(shape, storage.nodata, storage.dtype)
            if sensor in self.images:
                # bands that the files do not hold stay at no data
                image = self.images[sensor]
                with self._reading:
                    values = image.read(Window(window.col, window.row, width, height))
                channels = [bands.index(band) for band in image.bands]
                stored[sensor][channels, :height, :width], _ = encode_pixels(
                    scene_modality(image, spec), values
                )
        return stored

    def has_data(self, stored: Stored) -> NDArray[np.bool_]:
        """Return the pixels of a window where every image has data, shape (h, w)."""
        # one band suffices: a band that the files do not hold has no data anywhere
        present = [
            (stored[sensor] != self.inputs[sensor].modality.storage.nodata).any(0)
            for sensor in self.images
        ]
        everywhere: NDArray[np.bool_] = np.logical_and.reduce(present)
        return everywhere


@contextmanager
def open_scene(
    images: Mapping[Sensor, Image],
    inputs: Mapping[Sensor, InputSpec],
    check_scale: bool = True,
    resolution: Resolution | None = None,
) -> Iterator[SceneReader]:
    """Open a scene and check a sample of it against what a model expects.

    Args:
        images: At least one of the sensors of `inputs`.
        inputs: What the model expects by sensor.
        check_scale: Refuse values that are implausible in their units.
        resolution: `model` resamples a scene of other pixels than those of training, `scene` keeps
            its pixels. None refuses such a scene.

    Raises:
        UserError: bands, units, values or pixels do not fit, a file cannot be read, or a sensor has
            no data on the grid.
    """
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES), gdal_settings(), ExitStack() as stack:
        # the cache is small because windows are read once, and overlaps soon after each other
        opened = {s: image.open(stack, inputs[s]) for s, image in images.items()}
        # the sharper image keeps its pixels
        main = opened["s2"] if "s2" in opened else next(iter(opened.values()))
        grid = scene_grid(finest(main.grids), inputs, resolution)
        opened = {sensor: image.on_grid(grid) for sensor, image in opened.items()}
        for sensor, image in opened.items():
            try:
                check_values(sensor, inputs[sensor], image, grid, check_scale)
            except UserError as error:
                raise UserError(f"{images[sensor].path}: {error}") from error
        yield SceneReader(grid, opened, inputs)
