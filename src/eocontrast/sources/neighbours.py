"""Which patches of a regular grid lie together, so that none is learnt from beside one scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

Place = tuple[str, int, int]
"""Tile, column and row."""

REACH = 2
"""Columns or rows of a step: two patches touch or have room for one patch between them."""


def neighbours(places: Sequence[Place]) -> list[str]:
    """The group of each place, named by its first member.

    Two patches belong together if they are of one tile and at most `REACH` columns and rows apart;
    so do all that are linked by such steps. Time grows with the number of places.
    """
    ungrouped, groups = set(places), dict[Place, str]()
    for first in sorted(ungrouped):
        reached = [first] if first in ungrouped else []
        ungrouped.difference_update(reached)
        while reached:
            here = reached.pop()
            groups[here] = "_".join(str(part) for part in first)
            near = [place for place in _around(here) if place in ungrouped]
            ungrouped.difference_update(near)
            reached += near
    return [groups[place] for place in places]


def _around(place: Place) -> Iterator[Place]:
    tile, column, row = place
    steps = range(-REACH, REACH + 1)
    return ((tile, column + right, row + down) for right, down in product(steps, steps))
