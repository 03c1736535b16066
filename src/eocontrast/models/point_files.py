"""Names of weight files of pretraining and of a curve, and the index of a curve's points."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from eocontrast.runtime.errors import COMES_BACK, readable
from eocontrast.runtime.files import write_text

SINGLE = "single"
"""Name of the run that `finetune` in params.yaml describes, where others have that of their arm."""

INDEX = "points.json"
"""Lists the points of a folder: later stages read by name, never by glob."""


def pretrained_file(folder: Path, init: str, seeds: Sequence[int], seed: int) -> Path:
    """Return the path of one training of a run: `<init>.safetensors` has the first seed.

    Args:
        folder: Folder of all pretrained weights.
        init: Name of the run.
        seeds: Seeds of its trainings.
        seed: One of them.
    """
    name = init if seed == seeds[0] else f"{init}/{seed}"
    return folder / f"{name}.safetensors"


def point_file(folder: Path, fraction: float, seed: int) -> Path:
    """Return the path of a point's weights."""
    return folder / f"{fraction}-{seed}.safetensors"


def write_index(folder: Path, files: Sequence[str], left_out: dict[str, str]) -> None:
    """Write the names of the points, and the fractions left out, to `folder`."""
    index = {"points": list(files), "left_out": left_out}
    write_text(folder / INDEX, json.dumps(index, indent=1) + "\n")


def read_index(folder: Path) -> tuple[list[Path], dict[str, str]]:
    """Return the weight files of the points, and the fractions left out with the reason.

    Raises:
        UserError: The folder has no index, or it is damaged.
    """
    again = f"run the stage that fine-tunes again, `dvc repro -f -s <stage>`{COMES_BACK}"
    with readable(f"{folder / INDEX} cannot be read", again):
        index = json.loads((folder / INDEX).read_text())
        return [folder / name for name in index["points"]], dict(index["left_out"])
