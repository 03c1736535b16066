"""Shards of the patch store, each written by one worker from some rows of the manifest.

Any number of workers on any number of machines may write them in any order. A killed run continues
with the shards that are missing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from eocontrast.labels import IGNORE_INDEX
from eocontrast.modalities import SENSORS
from eocontrast.normalisation.audit import has_error
from eocontrast.normalisation.pairs import Patch, StoreBands, read_pair
from eocontrast.patches.shard_files import shard_path
from eocontrast.rasters.open import gdal_settings
from eocontrast.rasters.source import Source
from eocontrast.runtime.files import whole, write_text

Rows = Sequence[dict[str, Any]]
"""Rows of a manifest; `check_shift` says whether to look for a shift of S1 against S2."""


def note_path(folder: Path, shard: int) -> Path:
    """Return the path of the note that a finished shard has while the store is built."""
    return folder / "shards" / f"{shard:05d}.json"


def audit_rows(
    source: Source, bands: StoreBands, number: int, rows: Rows
) -> tuple[int, list[Patch]]:
    """Read and audit patches without storing anything.

    Args:
        source: Meaning of the rasters.
        bands: Bands to audit, by sensor.
        number: Number of this piece of the manifest, returned as it is.
        rows: Rows of the manifest.
    """
    with gdal_settings():
        patches = (read_pair(source, bands, row, row["check_shift"]) for row in rows)
        return number, [replace(patch, arrays={}) for patch in patches]


def write_shard(
    source: Source,
    bands: StoreBands,
    number: int,
    rows: Rows,
    side: int,
    folder: Path,
) -> tuple[int, list[Patch]]:
    """Read, audit, encode and write patches; those with an error are left out.

    Args:
        source: Meaning of the rasters.
        bands: Bands of the store, by sensor.
        number: Number of the shard.
        rows: Rows of the manifest.
        side: Side in pixels of every patch; patches of another size are left out.
        folder: Folder of the store that is built.

    Returns:
        The number of the shard, and every patch without its arrays. They are also written to the
        shard's note, after the arrays.
    """
    patches: list[Patch] = []
    arrays: list[dict[str, NDArray[np.integer]]] = []
    with gdal_settings():
        for row in rows:
            patch = read_pair(source, bands, row, row["check_shift"])
            facts = {**patch.facts, "shard": number, "row": len(arrays)}
            patches.append(replace(patch, facts=facts, arrays={}))
            if not has_error(patch.findings) and patch.size == (side, side):
                arrays.append(patch.arrays)
    for sensor in SENSORS:
        write_array(shard_path(folder, sensor, number), [stored[sensor] for stored in arrays])
    if any("label" in stored for stored in arrays):
        ignored = np.full((side, side), IGNORE_INDEX, dtype=np.uint8)
        masks = [stored.get("label", ignored) for stored in arrays]
        write_array(shard_path(folder, "label", number), masks)
    write_text(note_path(folder, number), json.dumps([patch.to_dict() for patch in patches]))
    return number, patches


def finished_shard(folder: Path, number: int) -> list[Patch] | None:
    """Return the patches of a shard that an earlier run finished; None if it did not."""
    path = note_path(folder, number)
    if not path.exists():
        return None
    return [Patch.from_dict(fields) for fields in json.loads(path.read_text())]


def write_array(path: Path, arrays: Sequence[NDArray[np.integer]]) -> None:
    """Write arrays of one shape as one `.npy` file; write no file if there are none."""
    if not arrays:
        return
    header = npy.header_data_from_array_1_0(arrays[0])
    header |= {"fortran_order": False, "shape": (len(arrays), *arrays[0].shape)}
    with whole(path) as partial, partial.open("wb") as file:
        npy.write_array_header_1_0(file, header)
        # np.save reports a full disk without its error number, a memory map ends the process, and
        # stacking would double the memory
        for array in arrays:
            file.write(np.ascontiguousarray(array).data)
