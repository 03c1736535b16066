"""Read the bands of one sensor from raster files, whole or by window."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags, Resampling
from rasterio.io import DatasetReader
from rasterio.windows import Window

from eocontrast.modalities import Modality, Units
from eocontrast.rasters.bands import alpha_band, band_numbers, check_single_band, choose_bands
from eocontrast.rasters.grids import (
    Grid,
    bilinear,
    common_size,
    reversed_axes,
    source_window,
    span,
    warp,
)
from eocontrast.rasters.open import (
    RasterError,
    gdal_settings,
    open_raster,
    read_valid,
    read_values,
)
from eocontrast.rasters.products import band_files, product_offset
from eocontrast.rasters.values import (
    AUTOMATIC,
    GUESSES,
    Declared,
    Missing,
    Reason,
    Statement,
    mark_missing,
    to_units,
)

THINNED = 1024
"""Largest side to which a raster on another grid is thinned for a look at its values."""


@dataclass(frozen=True)
class Raster:
    """Values and grids of the files behind one cell of a manifest.

    Attributes:
        values: (bands, H, W), NaN for no data. They keep the type of the file unless a pixel is
            missing, a scale is declared, or a band was resampled: copies cost more than reading.
        grids: Grid of each resolution.
        missing: Number of missing pixels by reason, before any resampling.
        offset: Offset that somebody states; None if nobody does.
        turned: Whether rows or columns of a file were reversed.
    """

    values: NDArray[Any]
    grids: tuple[Grid, ...]
    missing: Missing = field(default_factory=Missing)
    offset: Statement | None = None
    turned: bool = False


@dataclass(frozen=True)
class BandFile:
    """An open raster and the bands to read from it.

    Attributes:
        path: Path for messages.
        raster: Open raster.
        numbers: Numbers of the bands, from 1.
        alpha: Number of the band that is 0 where there is no data.
    """

    path: Path
    raster: DatasetReader
    numbers: list[int]
    alpha: int | None = None

    def read(self, window: Window, out_shape: tuple[int, int] | None) -> NDArray[Any]:
        """Read values as they are on disk, the first row in the north."""
        arguments = (self._on_disk(window), out_shape)
        return self._turned(read_values(self.path, self.raster, self.numbers, *arguments))

    def valid(self, window: Window, out_shape: tuple[int, int] | None) -> NDArray[np.bool_] | None:
        """Read which pixels the file's own masks call valid; None if it has none."""
        flags = [self.raster.mask_flag_enums[number - 1] for number in self.numbers]
        # GDAL takes alpha for a mask in files of two or four bands only, even if it is infrared
        masked = any(
            MaskFlags.per_dataset in each and MaskFlags.alpha not in each for each in flags
        )
        if not masked and self.alpha is None:
            return None
        arguments = (self._on_disk(window), out_shape)
        valid: NDArray[np.bool_] = np.ones((len(self.numbers), 1, 1), np.bool_)
        if masked:
            valid = valid & read_valid(self.path, self.raster, self.numbers, *arguments)
        if self.alpha is not None:
            alpha = read_values(self.path, self.raster, [self.alpha], *arguments)
            valid = valid & (alpha.repeat(len(self.numbers), 0) != 0)
        return self._turned(valid)

    def header(self, values: Sequence[Any]) -> list[Any]:
        """Return the entries of the bands that are read, of one per band of the file."""
        return [values[number - 1] for number in self.numbers]

    def _on_disk(self, window: Window) -> Window:
        rows, cols = reversed_axes(self.raster.transform)
        row, col = window.row_off, window.col_off
        row = self.raster.height - row - window.height if rows else row
        col = self.raster.width - col - window.width if cols else col
        return Window(col, row, window.width, window.height)

    def _turned(self, values: NDArray[Any]) -> NDArray[Any]:
        rows, cols = reversed_axes(self.raster.transform)
        return values[:, :: -1 if rows else 1, :: -1 if cols else 1]


@dataclass(frozen=True)
class BandGroup:
    """Files whose bands lie on one grid.

    Attributes:
        files: One raster, or one per band.
        grid: Grid of the files.
        units: Units of the values.
        declared: What the user declares about the files.
        size: Height and width in pixels to which the bands are upsampled.
        guesses: Rules for no-data values that no header declares.
        target: Another grid to which the bands are warped instead.
    """

    files: tuple[BandFile, ...]
    grid: Grid
    units: Units
    declared: Declared
    size: tuple[int, int]
    guesses: Collection[Reason] = GUESSES
    target: Grid | None = None

    def read(
        self, window: Window | None, out_shape: tuple[int, int] | None, missing: Missing
    ) -> NDArray[Any]:
        """Read values in `units`, shape (bands, h, w), NaN for no data."""
        window = window or Window(0, 0, self.size[1], self.size[0])
        if self.target:
            return self._warped(window, out_shape, self.target, missing)
        coarse = (self.grid.height, self.grid.width)
        if self.size == coarse:
            return self._stored(window, out_shape, missing)
        rows = span(window.row_off, window.height, coarse[0], self.size[0])
        cols = span(window.col_off, window.width, coarse[1], self.size[1])
        # the coarse window reaches one pixel beyond the fine one, so windows join without seams
        (top, bottom), (left, right) = ((axis[0][0], axis[1][-1] + 1) for axis in (rows, cols))
        part = Window.from_slices((top, bottom), (left, right))
        # thinned pixels serve to look at values: nearest neighbours of a coarse band will do
        values = self._stored(part, out_shape, missing)
        return values if out_shape else bilinear(values, rows, cols)

    def on_grid(self, grid: Grid) -> BandGroup:
        """Return the group on another grid: upsampled if it fits into it evenly, else warped.

        Raises:
            RasterError: sizes differ, and one of them has no georeference.
        """
        size = (grid.height, grid.width)
        if self.grid.coincides(grid) or grid.refines(self.grid):
            return replace(self, size=size)
        if not (self.grid.located and grid.located):
            raise RasterError(
                "size",
                f"{self.files[0].path} has {self.grid.height} x {self.grid.width} pixels, the "
                f"scene {grid.height} x {grid.width}, and not both are georeferenced: give both a "
                "CRS and a transform (gdalwarp), or one size",
            )
        return replace(self, size=size, target=grid)

    def _warped(
        self, window: Window, out_shape: tuple[int, int] | None, target: Grid, missing: Missing
    ) -> NDArray[Any]:
        target = target.part(
            slice(window.row_off, window.row_off + window.height),
            slice(window.col_off, window.col_off + window.width),
        )
        if out_shape:
            target = target.resized(*out_shape)
        needed = source_window(self.grid, target)
        if needed is None:
            return np.full((self._count(), target.height, target.width), np.nan, np.float32)
        source, part = self.grid.part(*needed), Window.from_slices(*needed)
        if out_shape:
            thinned = (min(source.height, THINNED), min(source.width, THINNED))
            values = self._stored(part, thinned, missing)
            return warp(values, source.resized(*thinned), target, Resampling.nearest)
        return warp(self._stored(part, None, missing), source, target)

    def _stored(
        self, window: Window, out_shape: tuple[int, int] | None, missing: Missing
    ) -> NDArray[Any]:
        values = _joined([file.read(window, out_shape) for file in self.files])
        nodata, scales, offsets = (
            [entry for file in self.files for entry in file.header(getattr(file.raster, name))]
            for name in ("nodatavals", "scales", "offsets")
        )
        valid = self._valid(window, out_shape)
        values = mark_missing(values, nodata, valid, self.declared, missing, self.guesses)
        stated = self.offset
        return to_units(values, scales, offsets, self.units, stated.number if stated else "auto")

    @property
    def offset(self) -> Statement | None:
        """Return the offset that the user states, or else the header, or else the product."""
        if self.declared.offset != "auto":
            return Statement("user", self.declared.offset)
        if any(entry for file in self.files for entry in file.header(file.raster.offsets)):
            return Statement("header", "auto")
        optical = self.units in ("DN", "reflectance")
        stated = product_offset(self.files[0].path, self.units) if optical else None
        return None if stated is None else Statement("product", stated)

    def _valid(self, window: Window, out_shape: tuple[int, int] | None) -> NDArray[np.bool_] | None:
        """Read the masks of all files; None if there are none, since most files have none."""
        masks = [file.valid(window, out_shape) for file in self.files]
        if all(mask is None for mask in masks):
            return None
        size = out_shape or (int(window.height), int(window.width))
        every = [
            np.ones((len(file.numbers), *size), np.bool_) if mask is None else mask
            for file, mask in zip(self.files, masks, strict=True)
        ]
        return _joined(every)

    def _count(self) -> int:
        return sum(len(file.numbers) for file in self.files)


def whole_window(raster: DatasetReader) -> Window:
    """Return the window of a whole raster."""
    return Window(0, 0, raster.width, raster.height)


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


@dataclass(frozen=True)
class SensorImage:
    """Open files that hold the bands of one sensor.

    Attributes:
        groups: Files by grid.
        order: Place of each band among those of all groups.
        bands: Names of the bands in the order of reading.
        units: Units of the values.
    """

    groups: tuple[BandGroup, ...]
    order: tuple[int, ...]
    bands: tuple[str, ...]
    units: Units

    @property
    def grids(self) -> tuple[Grid, ...]:
        """Grid of each group."""
        return tuple(group.grid for group in self.groups)

    @property
    def offset(self) -> Statement | None:
        """Return the offset that somebody states; None if nobody does."""
        stated = (group.offset for group in self.groups)
        return next((statement for statement in stated if statement), None)

    @property
    def turned(self) -> bool:
        """True if rows or columns of a file are reversed when it is read."""
        files = (file for group in self.groups for file in group.files)
        return any(any(reversed_axes(file.raster.transform)) for file in files)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels of the finest band.

        Raises:
            RasterError: another band does not divide it evenly.
        """
        return common_size(
            {group.files[0].path: (group.grid.height, group.grid.width) for group in self.groups}
        )

    def read(
        self,
        window: Window | None = None,
        out_shape: tuple[int, int] | None = None,
        missing: Missing | None = None,
    ) -> NDArray[Any]:
        """Read values in `units`, shape (bands, h, w), NaN for no data.

        Args:
            window: Part of the grid that all files share; everything if None.
            out_shape: Height and width to thin the pixels to.
            missing: Takes the number of missing pixels by reason.

        Raises:
            RasterError: a file is truncated.
        """
        missing = missing or Missing()
        values = _joined([group.read(window, out_shape, missing) for group in self.groups])
        return values if self.order == (*range(len(values)),) else values[[*self.order]]

    def upsampled(self) -> SensorImage:
        """Return the image with its coarse bands on the pixels of the finest one.

        Raises:
            RasterError: a band does not divide the finest one evenly.
        """
        size = self.size
        return replace(self, groups=tuple(replace(group, size=size) for group in self.groups))

    def on_grid(self, grid: Grid) -> SensorImage:
        """Return the image on another grid, as `BandGroup.on_grid` does for each group."""
        return replace(self, groups=tuple(group.on_grid(grid) for group in self.groups))


@contextmanager
def open_image(
    path: str | Path,
    bands: tuple[str, ...],
    units: Units,
    ordered: tuple[str, ...] | None = None,
    optional: tuple[str, ...] = (),
    files: Declared = AUTOMATIC,
    declared: bool = False,
) -> Iterator[SensorImage]:
    """Open the files that hold the bands of a sensor.

    Args:
        path: One raster, one per band if it holds `{band}`, or the folder of a product.
        bands: Names of the bands to read, in this order.
        units: Units of the values.
        ordered: Names of all bands in the order of the file. If None, its descriptions count;
            without those, the file must hold exactly `bands`.
        optional: Names of bands that may be missing.
        files: What the user declares about no-data values and the offset.
        declared: True if the user declares `bands` for files of any description.

    Raises:
        RasterError: a file cannot be read, or a band is missing.
    """
    with gdal_settings(), ExitStack() as stack:
        opened = _open_files(stack, path, bands, ordered, optional, declared)
        yield _grouped(opened, tuple(opened), units, files)


def _open_files(
    stack: ExitStack,
    path: str | Path,
    bands: tuple[str, ...],
    ordered: tuple[str, ...] | None,
    optional: tuple[str, ...],
    declared: bool,
) -> dict[str, BandFile]:
    """Return the open file of each band to read, and the band's number in it."""
    default = tuple(band for band in bands if band not in optional)
    files = band_files(path, ordered or bands)
    if files is None:
        file = Path(path)
        raster = stack.enter_context(open_raster(file))
        numbers = band_numbers(file, raster, default, ordered, declared=declared)
        chosen = choose_bands(path, numbers, bands, optional)
        alpha = alpha_band(raster, numbers.values())
        return {band: BandFile(file, raster, [numbers[band]], alpha) for band in chosen}
    present = [band for band, file in files.items() if band not in optional or file.is_file()]
    # only the files of these bands are opened: others may be missing
    opened = {}
    for band in choose_bands(path, present, bands, optional):
        raster = stack.enter_context(open_raster(files[band]))
        number = check_single_band(files[band], raster, band)
        opened[band] = BandFile(files[band], raster, [number], alpha_band(raster, [number]))
    return opened


def _grouped(
    opened: dict[str, BandFile], bands: tuple[str, ...], units: Units, declared: Declared
) -> SensorImage:
    """Join the bands of one file, and the files of one grid."""
    places: list[tuple[Grid, list[str]]] = []
    for band in bands:
        grid = Grid.of(opened[band].raster)
        same = [members for other, members in places if other.coincides(grid)]
        if same:
            same[0].append(band)
        else:
            places.append((grid, [band]))
    # a single band may be 0 on dark ground: the bands of the other grids tell where fill is
    alone = all(len(members) == 1 for _, members in places)
    guesses: dict[bool, tuple[Reason, ...]] = {True: GUESSES, False: ("impossible",)}
    groups = [
        BandGroup(
            _files([opened[band] for band in members]), grid, units, declared,
            (grid.height, grid.width), guesses=guesses[alone or len(members) > 1],
        )
        for grid, members in places
    ]  # fmt: skip
    names = [band for _, members in places for band in members]
    return SensorImage(tuple(groups), tuple(map(names.index, bands)), bands, units)


def _files(bands: Sequence[BandFile]) -> tuple[BandFile, ...]:
    """Join bands of one file, so that it is read once."""
    files: dict[Path, BandFile] = {}
    for band in bands:
        numbers = files[band.path].numbers if band.path in files else []
        files[band.path] = replace(band, numbers=[*numbers, *band.numbers])
    return tuple(files.values())


def bands_size(
    path: str | Path, modality: Modality, declared: Declared = AUTOMATIC
) -> tuple[int, int]:
    """Return height and width in pixels that `read_raster` will give, from headers alone.

    Raises:
        RasterError: a file is missing or unreadable, or its bands are not those of the modality.
    """
    with _open(path, modality, declared) as image:
        return image.size


def read_raster(path: str | Path, modality: Modality, declared: Declared = AUTOMATIC) -> Raster:
    """Read all bands in the modality's units, with the grid of each resolution.

    Raises:
        RasterError: a file is missing, truncated or unreadable, or its bands are not those of the
            modality.
    """
    missing = Missing()
    with _open(path, modality, declared) as image:
        values = image.upsampled().read(missing=missing)
        return Raster(values, image.grids, missing, image.offset, image.turned)


def _open(
    path: str | Path, modality: Modality, declared: Declared
) -> AbstractContextManager[SensorImage]:
    return open_image(path, modality.bands, modality.units, files=declared, declared=True)
