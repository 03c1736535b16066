"""Scenes of any size on one grid, read window by window.

The grid is that of Sentinel-2's finest band, or of Sentinel-1's in a scene without Sentinel-2.
Files on another grid (CRS, origin, resolution) are warped bilinearly as they are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, Literal

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from eocontrast.mapping.tiles import Tile
from eocontrast.modalities import STORAGE, Modality, Sensor, Units, implausible
from eocontrast.patches.inputs import InputSpec
from eocontrast.rasters.grids import Grid, finest
from eocontrast.rasters.offsets import added_offset, has_offset
from eocontrast.rasters.open import gdal_settings
from eocontrast.rasters.read import SensorImage, open_image
from eocontrast.rasters.values import AUTOMATIC, Declared, encode_pixels, missing_pixels
from eocontrast.runtime.errors import UserError

Stored = dict[Sensor, NDArray[np.integer]]
"""Stored integers (bands, h, w) by sensor."""

Resolution = Literal["model", "scene"]

TOLERANCE = 1.5
"""Ratio of pixel sizes from which a scene looks other than the patches of training."""

CACHE_BYTES = 64 * 2**20
"""GDAL's cache of blocks; its own default is a twentieth of the machine's memory."""

SAMPLES, SIDE = 4, 64
"""Windows each way, and their side in pixels, of the sample whose values are checked."""


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
                    _modality(image, spec), values
                )
        return stored

    def has_data(self, stored: Stored) -> NDArray[np.bool_]:
        """Return the pixels of a window where every image has data, shape (h, w)."""
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
        grid = _grid(finest(main.grids), inputs, resolution)
        opened = {sensor: image.on_grid(grid) for sensor, image in opened.items()}
        for sensor, image in opened.items():
            try:
                _check(sensor, inputs[sensor], image, grid, check_scale)
            except UserError as error:
                raise UserError(f"{images[sensor].path}: {error}") from error
        yield SceneReader(grid, opened, inputs)


def _grid(grid: Grid, inputs: Mapping[Sensor, InputSpec], resolution: Resolution | None) -> Grid:
    """Return the grid of the map, which has pixels about as large as those of training."""
    expected, metres = max(spec.pixel for spec in inputs.values()), grid.metres
    # degrees of longitude shrink towards the poles, so pixels of 10 m are never exactly that
    if metres is None or 1 / TOLERANCE < metres / expected < TOLERANCE or resolution == "scene":
        return grid
    if resolution == "model":
        return grid.with_metres(expected)
    raise UserError(
        f"the scene has pixels of {metres:.3g} m, but the model was trained on pixels of "
        f"{expected:.3g} m. Pass --resolution model to resample the scene, or --resolution scene "
        "to map it as it is"
    )


def _modality(image: SensorImage, spec: InputSpec) -> Modality:
    low, high = spec.modality.valid_range
    # the range of a model in DN, for values in reflectance, and the reverse
    factor = STORAGE[image.units].step / spec.modality.storage.step
    return Modality(image.bands, image.units, (low * factor, high * factor))


def _sample(image: SensorImage, grid: Grid) -> NDArray[Any]:
    """Read pixels with data, shape (bands, n), from windows all over the scene.

    Every n-th pixel of the scene is read instead if the windows hold no data.
    """
    height, width = min(SIDE, grid.height), min(SIDE, grid.width)
    shares = (np.arange(SAMPLES) + 0.5) / SAMPLES
    rows, cols = (
        # multiples of a side, so that a window does not lie across several blocks of a file
        ((shares * room).astype(int) // SIDE * SIDE).tolist()
        for room in (grid.height - height, grid.width - width)
    )
    windows = [image.read(Window(col, row, width, height)) for row in rows for col in cols]
    pixels = _present(np.stack(windows, 1))
    if not pixels.size:
        most = SAMPLES * SIDE
        thinned = image.read(out_shape=(min(grid.height, most), min(grid.width, most)))
        pixels = _present(thinned)
    return pixels


def _present(values: NDArray[Any]) -> NDArray[Any]:
    return values[:, ~missing_pixels(values)]


def _check(
    sensor: Sensor, spec: InputSpec, image: SensorImage, grid: Grid, check_scale: bool
) -> None:
    """Refuse a scene without data, or in other units: those only cost accuracy later."""
    pixels = _sample(image, grid)
    if not pixels.size:
        raise UserError("no data on the scene's grid: are both images of one place?")
    if check_scale and image.offset == "auto" and has_offset(pixels, image.units):
        raise UserError(
            f"no band goes below {pixels.min():.4g}, which looks like the offset of +1000 that "
            "Sentinel-2's products have since 2022 (baseline 04.00), and no header names it. Pass "
            f"--{sensor}-offset {added_offset(image.units):g} to subtract it, or --{sensor}-offset "
            "0 if the values are right"
        )
    reason = implausible(pixels, _modality(image, spec))
    if check_scale and reason:
        raise UserError(
            f"values in {image.units} lie between {pixels.min():.4g} and {pixels.max():.4g}: "
            f"{reason}. Name their units by --{sensor}-units; if they are right, pass "
            "--no-scale-check"
        )
