"""The bands of one sensor from one file or several, whole or by window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from rasterio.windows import Window

from eocontrast.modalities import Units
from eocontrast.rasters.bands import (
    alpha_band,
    band_numbers,
    by_expected_name,
    check_single_band,
    choose_bands,
    unknown_descriptions,
)
from eocontrast.rasters.files import BandFile
from eocontrast.rasters.grids import Grid, common_size, reversed_axes
from eocontrast.rasters.groups import BandGroup, joined
from eocontrast.rasters.headers import check_headers
from eocontrast.rasters.open import gdal_settings, open_raster
from eocontrast.rasters.products import band_files
from eocontrast.rasters.values import AUTOMATIC, GUESSES, Declared, Missing, Reason, Statement


@dataclass(frozen=True)
class SensorImage:
    """Open files that hold the bands of one sensor.

    Attributes:
        groups: Files by grid.
        order: Place of each band among those of all groups.
        bands: Names of the bands in the order of reading.
        units: Units of the values.
        unknown: Descriptions of a file that look like names of bands but are not known.
    """

    groups: tuple[BandGroup, ...]
    order: tuple[int, ...]
    bands: tuple[str, ...]
    units: Units
    unknown: tuple[str, ...] = ()

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
        values = joined([group.read(window, out_shape, missing) for group in self.groups])
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
    files = files and by_expected_name(files, bands)
    if files is None:
        file = Path(path)
        raster = stack.enter_context(open_raster(file))
        found = band_numbers(file, raster, default, ordered, declared=declared)
        numbers = by_expected_name(found, bands)
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
    of_file: dict[Path, list[str]] = {}
    for band in bands:
        file = opened[band]
        if file.path not in of_file:
            grid = Grid.of(file.raster)
            same = [members for other, members in places if other.coincides(grid)]
            if not same:
                places.append((grid, []))
            of_file[file.path] = same[0] if same else places[-1][1]
        of_file[file.path].append(band)
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
    check_headers([*opened.values()], units, declared)
    names = [band for _, members in places for band in members]
    order = tuple(map(names.index, bands))
    return SensorImage(tuple(groups), order, bands, units, _unknown(opened))


def _unknown(opened: dict[str, BandFile]) -> tuple[str, ...]:
    files = {file.path: file.raster for file in opened.values()}
    for path, raster in files.items():
        bands = {band: file.numbers[0] for band, file in opened.items() if file.path == path}
        if unknown := unknown_descriptions(raster, bands):
            return unknown
    return ()


def _files(bands: Sequence[BandFile]) -> tuple[BandFile, ...]:
    """Join bands of one file, so that it is read once."""
    files: dict[Path, BandFile] = {}
    for band in bands:
        numbers = files[band.path].numbers if band.path in files else []
        files[band.path] = replace(band, numbers=[*numbers, *band.numbers])
    return tuple(files.values())
