"""Names of the weight files of a curve, and their index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eocontrast.runtime.errors import COMES_BACK, UserError, readable
from eocontrast.runtime.files import file_sha256
from eocontrast.runtime.sealed import read_sealed, write_sealed

INDEX = "points.json"
"""Names the points of a folder: later stages read by name, never by glob."""


def point_file(folder: Path, fraction: float, seed: int) -> Path:
    """Where the weights of a point lie."""
    return folder / f"{fraction}-{seed}.safetensors"


def write_index(folder: Path, files: Sequence[str], left_out: dict[str, str]) -> None:
    """Leave names and digests of the points, and the fractions left out, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    digests = {name: file_sha256(folder / name) for name in files}
    write_sealed(folder / INDEX, {"points": digests, "left_out": left_out})


def read_index(folder: Path) -> tuple[list[Path], dict[str, str]]:
    """Weight files of the points, and the fractions left out with the reason.

    Raises:
        UserError: the folder holds no index, or a file is not the one that the index names.
    """
    again = f"run the stage that fine-tunes again, `dvc repro -f -s <stage>`{COMES_BACK}"
    with readable(f"{folder / INDEX} cannot be read", again):
        index = read_sealed(folder / INDEX)
        digests, left_out = dict(index["points"]), dict(index["left_out"])
    for name, written in digests.items():
        if file_sha256(folder / name) != written:
            raise UserError(f"{folder / name} is not as it was written: {again}")
    return [folder / name for name in digests], left_out
