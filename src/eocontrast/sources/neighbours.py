"""Groups of adjacent patches on a regular grid, so that none is trained on beside a test patch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

Place = tuple[str, int, int]
"""Tile, column and row."""

REACH = 2
"""Patches at most this many columns and rows apart are adjacent: one patch fits between them."""


def neighbours(places: Sequence[Place]) -> list[str]:
    """Return the group of each place, named after its first member.

    Patches of a tile are in one group if adjacent patches link them.
    """
    unique = sorted(set(places))
    tiles = {tile: number for number, tile in enumerate({tile: None for tile, _, _ in unique})}
    # tiles are further apart than the reach, so one tree serves all and never links two tiles
    points = [(column, row, (REACH + 1) * tiles[tile]) for tile, column, row in unique]
    # infinity is the norm of the larger difference: columns and rows each within reach
    pairs = KDTree(np.reshape(points, (-1, 3))).query_pairs(REACH, np.inf, output_type="ndarray")
    names = ["_".join(map(str, place)) for place in unique]
    groups = dict(zip(unique, first_linked(names, pairs), strict=True))
    return [groups[place] for place in places]


def first_linked(names: Sequence[str], links: ArrayLike) -> list[str]:
    """Return, for each name, the first name of its connected component.

    Args:
        names: names of the N nodes.
        links: pairs of linked nodes by position, shape (L, 2).
    """
    edges = np.asarray(links, dtype=np.intp).reshape(-1, 2).T
    graph = coo_array((np.ones(edges.shape[1], bool), tuple(edges)), shape=(len(names),) * 2)
    component = connected_components(graph, directed=False)[1]
    first = np.unique(component, return_index=True)[1]
    return [names[position] for position in first[component]]
