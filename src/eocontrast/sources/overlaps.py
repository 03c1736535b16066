"""Groups of patches that share ground, found by their pixels and by their position.

Archives cut patches of 256 px from a scene at a stride of 128 px, so neighbours share identical
quadrants. Georeferenced patches share ground if their bounds intersect. Both tests are needed:
DFC2020 may have no georeference, and the pixels of one place differ between two dates.

An official split may put patches that share ground on both sides. This module only counts them;
`official_splits.divide_groups` gives them separate groups.
"""

from __future__ import annotations

import hashlib
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from tqdm import tqdm

from eocontrast.rasters.open import open_raster, read_values
from eocontrast.runtime.parallel import parallel_map
from eocontrast.sources.neighbours import first_linked
from eocontrast.sources.zones import Box, crossing_zones

Key = TypeVar("Key", bound=Hashable)

Sharers = list[list[int]]
"""Lists of row numbers; the patches of one list share ground."""


@dataclass(frozen=True)
class Footprint:
    """The ground that a patch covers.

    Attributes:
        blocks: digests of its corner blocks, without constant blocks.
        crs: reference system; empty if the raster has no georeference.
        box: bounds in that system.
    """

    blocks: frozenset[bytes]
    crs: str = ""
    box: Box = (0.0, 0.0, 0.0, 0.0)


def footprint(path: str | Path) -> Footprint:
    """Read all bands of a raster and return its footprint.

    Raises:
        UserError: the file is missing, damaged or has another format.
    """
    file = Path(path)
    with open_raster(file) as raster:
        values = read_values(file, raster)
        if raster.crs is None or raster.transform == rasterio.Affine.identity():
            return Footprint(corner_blocks(values))
        return Footprint(corner_blocks(values), raster.crs.to_string(), tuple(raster.bounds))


def corner_blocks(values: NDArray[np.generic], block: int | None = None) -> frozenset[bytes]:
    """Return digests of the corner blocks of (bands, H, W), without constant blocks.

    Args:
        values: all bands of a patch.
        block: side in pixels of the four corner blocks. None takes half of the shorter side, the
            stride of the archives.
    """
    height, width = values.shape[1:]
    # a stride of half a patch: the corner of one patch is the opposite corner of its neighbour
    side = block or min(height, width) // 2
    digests = set()
    for top, left in product({0, height - side}, {0, width - side}):
        part = values[:, top : top + side, left : left + side]
        # saturation and no data look the same everywhere; NaN differs from itself
        finite = np.nan_to_num(part)
        if (finite != finite[:, :1, :1]).any():
            # take 128 bits: of SEN12MS's 720,000 blocks two agree by chance in 1 of 10^27 cases
            digests.add(hashlib.blake2b(part.tobytes(), digest_size=16).digest())
    return frozenset(digests)


def merge_overlapping(manifest: pd.DataFrame, read: Callable[[str], Footprint]) -> pd.DataFrame:
    """Return the manifest with groups merged if their patches share ground; splits do not change.

    A merged group keeps the name of its first group. A line on stderr counts the merged groups, and
    a warning the test patches that share ground with a patch outside the test split.

    Args:
        manifest: rows with `s2`, `group` and `split`.
        read: function that returns the footprint of a Sentinel-2 raster.

    Raises:
        UserError: a raster cannot be read.
    """
    footprints = _all_footprints(list(manifest["s2"]), read)
    content, place = sharing_content(footprints), sharing_place(footprints)
    by_content = merge_groups(list(manifest["group"]), content)
    groups = merge_groups(by_content, place)
    unsplit = bool((manifest["split"] == "").any())
    _print_merged(list(manifest["group"]), by_content, groups, unsplit)
    _warn_of_shared_ground(list(manifest["split"]), [*content, *place])
    return manifest.assign(group=groups)


def _all_footprints(paths: list[str], read: Callable[[str], Footprint]) -> list[Footprint]:
    # warning filters belong to the process: one thread would restore what another ignores
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        # threads: reading and hashing release the interpreter's lock
        footprints = parallel_map(read, [(path,) for path in paths], kind="threads")
        bar = tqdm(footprints, "overlaps", len(paths), unit="patch", leave=False, disable=None)
        return list(bar)


def sharing_content(footprints: Sequence[Footprint]) -> Sharers:
    """Return the patches that contain the same block, a list per block."""
    blocks = ((digest, row) for row, patch in enumerate(footprints) for digest in patch.blocks)
    return [rows for rows in _rows_by_key(blocks).values() if len(rows) > 1]


def sharing_place(footprints: Sequence[Footprint]) -> Sharers:
    """Return the patches with equal bounds, then those of each pair of intersecting bounds.

    Bounds in different reference systems are compared as longitude and latitude.
    """
    boxes = ((patch.crs, patch.box) for patch in footprints)
    rows_by_box = _rows_by_key((key, row) for row, key in enumerate(boxes) if key[0])
    boxes_by_crs: dict[str, list[Box]] = defaultdict(list)
    for crs, box in rows_by_box:
        boxes_by_crs[crs].append(box)
    equal = [rows for rows in rows_by_box.values() if len(rows) > 1]
    crossing = [
        rows_by_box[crs, one] + rows_by_box[crs, other]
        for crs, boxes_of_crs in boxes_by_crs.items()
        for one, other in intersecting(boxes_of_crs)
    ]
    across = [rows_by_box[one] + rows_by_box[other] for one, other in crossing_zones(boxes_by_crs)]
    return equal + crossing + across


def intersecting(boxes: Sequence[Box]) -> set[tuple[Box, Box]]:
    """Return the pairs of distinct boxes that share an area; touching is not enough."""
    ordered = sorted(boxes)
    corners = np.reshape(ordered, (-1, 4))
    shapes = shapely.box(*corners.T)
    one, other = shapely.STRtree(shapes).query(shapes)
    # each pair once, and no box with itself
    one, other = one[one < other], other[one < other]
    shared = np.minimum(corners[one, 2:], corners[other, 2:])
    shared -= np.maximum(corners[one, :2], corners[other, :2])
    # a thousandth of a box is far less than a pixel and more than rounding moves a corner
    smallest = 1e-3 * (corners[one, 2:] - corners[one, :2])
    overlap = (shared > smallest).all(axis=1)
    return {(ordered[a], ordered[b]) for a, b in zip(one[overlap], other[overlap], strict=True)}


def merge_groups(groups: Sequence[str], sharers: Iterable[Sequence[int]]) -> list[str]:
    """Return the group of each patch after merging the groups that each list of rows connects."""
    names = list(dict.fromkeys(groups))
    number = {name: position for position, name in enumerate(names)}
    links = [
        (number[groups[first]], number[groups[row]]) for first, *rows in sharers for row in rows
    ]
    merged = dict(zip(names, first_linked(names, links), strict=True))
    return [merged[group] for group in groups]


def _rows_by_key(items: Iterable[tuple[Key, int]]) -> dict[Key, list[int]]:
    rows: dict[Key, list[int]] = defaultdict(list)
    for key, row in items:
        rows[key].append(row)
    return rows


def _print_merged(
    before: list[str], by_content: list[str], after: list[str], unsplit: bool
) -> None:
    first, second, third = (len(set(groups)) for groups in (before, by_content, after))
    print(
        f"{first} groups of {len(before)} patches: {first - second} merged by content, "
        f"{second - third} more by place, {third} remain",
        file=sys.stderr,
    )
    if unsplit and third == len(before):
        print(
            "warning: no patches share ground, so each is its own group: a split by group may "
            "separate neighbours",
            file=sys.stderr,
        )


def _warn_of_shared_ground(splits: Sequence[str], sharers: Sharers) -> None:
    leaking = set()
    for rows in sharers:
        test = {row for row in rows if splits[row] == "test"}
        if len(test) < len(rows):
            leaking |= test
    if leaking:
        print(
            f"warning: {len(leaking)} of {splits.count('test')} test patches share ground with a "
            "patch that is trained on; the official split is kept",
            file=sys.stderr,
        )
