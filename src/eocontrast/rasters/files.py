"""Open raster files: their values and masks, the first row in the north."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader
from rasterio.windows import Window

from eocontrast.rasters.grids import reversed_axes
from eocontrast.rasters.open import read_valid, read_values


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
        flags = self.header(self.raster.mask_flag_enums)
        # GDAL takes alpha for a mask in files of two or four bands only, even if it is infrared
        # a mask per band has no flag at all
        masked = any(
            not each or (MaskFlags.per_dataset in each and MaskFlags.alpha not in each)
            for each in flags
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

    @property
    def bits(self) -> int:
        """Bits of a value."""
        return 8 * int(np.dtype(self.raster.dtypes[self.numbers[0] - 1]).itemsize)

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


def whole_window(raster: DatasetReader) -> Window:
    """Return the window of a whole raster."""
    return Window(0, 0, raster.width, raster.height)
