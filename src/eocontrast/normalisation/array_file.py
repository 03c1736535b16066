"""An array on disk that grows by rows, so that nobody has to hold all of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from eocontrast.runtime.files import whole


class ArrayFile:
    """Appends rows to a new file; closed, it has the bytes that `np.save` gives the whole array."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._rows = 0
        self._row: NDArray[Any] | None = None

    def append(self, row: NDArray[Any]) -> None:
        """Write one row; all have one shape and type."""
        if self._row is None:
            self._row = np.empty_like(row)
            self._write_header()
        self._file.write(np.ascontiguousarray(row).reshape(-1).data)
        self._rows += 1

    def close(self) -> None:
        """Say how many rows there are."""
        self._file.seek(0)
        self._write_header()

    def _write_header(self) -> None:
        assert self._row is not None
        shape, descr = (self._rows, *self._row.shape), npy.dtype_to_descr(self._row.dtype)
        # numpy leaves room for the first axis to grow: the header's length is always the same
        header = {"descr": descr, "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(self._file, header)


@contextmanager
def growing(path: Path) -> Iterator[ArrayFile]:
    """A new file at `path`; nothing is there after an error."""
    with whole(path) as partial, partial.open("wb") as file:
        array = ArrayFile(file)
        yield array
        array.close()
