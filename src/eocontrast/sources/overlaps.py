"""Patches that share ground become one group, found by what they hold and by where they lie.

By content: archives cut patches of 256 px out of a scene at a stride of 128, so neighbours share
whole quadrants, to the bit. By place: two rasters of one reference system whose bounds intersect.
Both are needed: DFC2020 may carry no georeference, and two dates of one place differ in content.

Where the split is official, patches of one group may be both learnt from and scored. This module
counts them and changes no split; `official_splits.divide_groups` keeps such groups apart.
"""

from __future__ import annotations

import hashlib
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from tqdm import tqdm

from eocontrast.rasters.open import open_raster, read_values

Box = tuple[float, float, float, float]
"""Left, bottom, right, top, in the units of the reference system."""

Sharers = list[list[int]]
"""Positions of patches; those of one list share ground."""


@dataclass(frozen=True)
class Footprint:
    """What tells that a patch shares ground with another.

    Attributes:
        blocks: digests of its corner blocks, but for those that hold one value a band.
        crs: reference system, empty where the raster carries no georeference.
        box: its bounds in that system.
    """

    blocks: frozenset[bytes]
    crs: str = ""
    box: Box = (0.0, 0.0, 0.0, 0.0)


def footprint(path: str | Path, block: int | None = None) -> Footprint:
    """Read one raster whole and describe what it covers.

    Args:
        path: of a raster with all bands.
        block: side in pixels of the blocks at its four corners; half of the raster's shorter side,
            the stride of the archives, where None.

    Raises:
        UserError: the file is missing, damaged or of another format.
    """
    file = Path(path)
    with open_raster(file) as raster:
        values = read_values(file, raster)
        if raster.crs is None or raster.transform == rasterio.Affine.identity():
            return Footprint(corner_blocks(values, block))
        return Footprint(corner_blocks(values, block), raster.crs.to_string(), tuple(raster.bounds))


def corner_blocks(values: NDArray[np.generic], block: int | None = None) -> frozenset[bytes]:
    """Digests of the blocks at the four corners of (bands, H, W), constant ones left out."""
    height, width = values.shape[1:]
    side = block or min(height, width) // 2
    digests = set()
    for top, left in product({0, height - side}, {0, width - side}):
        part = values[:, top : top + side, left : left + side]
        # saturation and no data look alike everywhere; NaN differs from itself
        known = np.nan_to_num(part)
        if (known != known[:, :1, :1]).any():
            digests.add(hashlib.blake2b(part.tobytes(), digest_size=16).digest())
    return frozenset(digests)


def merge_overlapping(manifest: pd.DataFrame, read: Callable[[str], Footprint]) -> pd.DataFrame:
    """The manifest with groups joined wherever their patches share ground; splits stay as they are.

    A joined group has the name of the first of its groups. How many groups were joined by what, and
    how many test patches share ground with one that is learnt from, is said on stderr.

    Args:
        manifest: rows with `s2`, `group` and `split`.
        read: describes the Sentinel-2 raster of one row.

    Raises:
        UserError: a raster cannot be read.
    """
    footprints = _all_footprints(list(manifest["s2"]), read)
    content, place = sharing_content(footprints), sharing_place(footprints)
    by_content = joined(list(manifest["group"]), content)
    groups = joined(by_content, place)
    to_be_split = bool((manifest["split"] == "").any())
    _say_what_joined(list(manifest["group"]), by_content, groups, to_be_split)
    _warn_of_shared_ground(list(manifest["split"]), [*content, *place])
    return manifest.assign(group=groups)


def _all_footprints(paths: list[str], read: Callable[[str], Footprint]) -> list[Footprint]:
    # warnings are of the process: what `open_raster` ignores in one thread, another would restore
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        # threads: reading and hashing release the interpreter's lock
        with ThreadPoolExecutor() as pool:
            found = pool.map(read, paths)
            bar = tqdm(found, "overlaps", len(paths), unit="patch", leave=False, disable=None)
            return list(bar)


def sharing_content(footprints: Sequence[Footprint]) -> Sharers:
    """The patches that hold one block, a list a block."""
    holders: dict[bytes, list[int]] = defaultdict(list)
    for position, patch in enumerate(footprints):
        for digest in patch.blocks:
            holders[digest].append(position)
    return [positions for positions in holders.values() if len(positions) > 1]


def sharing_place(footprints: Sequence[Footprint]) -> Sharers:
    """The patches of equal bounds, a list each, joined with those of bounds that intersect them."""
    holders: dict[str, dict[Box, list[int]]] = defaultdict(lambda: defaultdict(list))
    for position, patch in enumerate(footprints):
        if patch.crs:
            holders[patch.crs][patch.box].append(position)
    equal = [at for boxes in holders.values() for at in boxes.values() if len(at) > 1]
    crossing = [
        boxes[a] + boxes[b] for boxes in holders.values() for a, b in intersecting(list(boxes))
    ]
    return equal + crossing


def intersecting(boxes: Sequence[Box]) -> set[tuple[Box, Box]]:
    """Pairs of distinct boxes that have an area in common; to touch is not enough.

    Boxes are compared within the cells of a grid as wide as the largest box, so time grows with
    their number and not with its square.
    """
    widest = max((max(b[2] - b[0], b[3] - b[1]) for b in boxes), default=1.0)
    cells: dict[tuple[int, int], list[Box]] = defaultdict(list)
    for box in boxes:
        columns, rows = (range(int(lo // widest), int(hi // widest) + 1) for lo, hi in _spans(box))
        for cell in product(columns, rows):
            cells[cell].append(box)
    # a set, for two boxes may meet in several cells
    return {
        pair
        for here in cells.values()
        for pair in combinations(sorted(here), 2)
        if _intersect(*pair)
    }


def joined(groups: Sequence[str], sharers: Iterable[Sequence[int]]) -> list[str]:
    """The group of each patch after groups of patches in one list are joined, by union and find."""
    parent = {group: group for group in groups}
    rank = {group: number for number, group in enumerate(dict.fromkeys(groups))}

    def root(group: str) -> str:
        while parent[group] != group:
            parent[group] = group = parent[parent[group]]
        return group

    for positions in sharers:
        for position in positions[1:]:
            pair = root(groups[positions[0]]), root(groups[position])
            parent[max(pair, key=rank.__getitem__)] = min(pair, key=rank.__getitem__)
    return [root(group) for group in groups]


def _say_what_joined(
    before: list[str], by_content: list[str], after: list[str], to_be_split: bool
) -> None:
    first, second, third = (len(set(groups)) for groups in (before, by_content, after))
    print(
        f"{first} groups of {len(before)} patches: {first - second} joined others by content, "
        f"{second - third} more by place, {third} are left",
        file=sys.stderr,
    )
    if to_be_split and third == len(before):
        print(
            "warning: none shares ground with another, each is a group of its own: a split by "
            "group may put neighbours on either side",
            file=sys.stderr,
        )


def _warn_of_shared_ground(splits: Sequence[str], sharers: Sharers) -> None:
    leaking = set()
    for positions in sharers:
        test = {position for position in positions if splits[position] == "test"}
        if len(test) < len(positions):
            leaking |= test
    if leaking:
        print(
            f"warning: {len(leaking)} of {splits.count('test')} test patches share ground with a "
            "patch that is learnt from; the official split is kept",
            file=sys.stderr,
        )


def _spans(box: Box) -> tuple[tuple[float, float], tuple[float, float]]:
    """From where to where a box reaches, across and up."""
    return (box[0], box[2]), (box[1], box[3])


def _intersect(one: Box, other: Box) -> bool:
    # a thousandth of a box is far less than a pixel, and more than corners are rounded by
    return all(
        min(high, end) - max(low, start) > 1e-3 * (high - low)
        for (low, high), (start, end) in zip(_spans(one), _spans(other), strict=True)
    )
