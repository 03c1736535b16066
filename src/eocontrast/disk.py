"""Room on the disk, asked before anything is written."""

from __future__ import annotations

import shutil
from pathlib import Path

from eocontrast.errors import UserError


def check_free_disk(folder: Path, size: int, what: str) -> None:
    """There is room for `size` bytes.

    Raises:
        UserError: says how much is needed and how much is free.
    """
    free = shutil.disk_usage(folder).free
    if free < size:
        raise UserError(
            f"{what} needs {size / 2**20:.1f} MiB, {folder} has {free / 2**20:.1f} MiB free: "
            "free some space"
        )
