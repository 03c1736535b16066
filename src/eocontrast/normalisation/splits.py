"""Split patches into training and test by group."""

from __future__ import annotations

import numpy as np
import pandas as pd

from eocontrast.runtime.errors import UserError


def split_by_group(index: pd.DataFrame, test_fraction: float, seed: int) -> pd.Series:
    """Draw a split for every row that has none.

    Labelled groups are drawn in random order into `test` until it holds `test_fraction` of the
    labelled rows, so no group is in two splits. Unlabelled rows go to `pretrain`, or to `test` with
    the rest of their group, where nothing reads them.

    Args:
        index: Columns `group`, `split` (empty if unknown) and `labelled` (bool).
        test_fraction: Share of the labelled rows without a split to test on.
        seed: Seed of the order in which groups are drawn.

    Raises:
        UserError: rows of one group are given to both `train` and `test`.
    """
    split = index["split"].astype(object).copy()
    open_rows = index[(split == "") & index["labelled"]]
    # sort, so that the draw does not depend on the order of the manifest's rows
    groups = np.sort(open_rows["group"].unique())
    sizes = open_rows["group"].value_counts()
    wanted, taken = test_fraction * len(open_rows), 0
    for group in np.random.default_rng(seed).permutation(groups):
        to_test = taken + sizes[group] / 2 <= wanted  # nearest to the wanted share
        taken += sizes[group] if to_test else 0
        here = (split == "") & (index["group"] == group)
        split[here] = "test" if to_test else "train"
        if not to_test:
            split[here & ~index["labelled"]] = "pretrain"
    split[split == ""] = "pretrain"
    refuse_shared_groups(index["group"], split)
    return split


def refuse_shared_groups(group: pd.Series, split: pd.Series) -> None:
    """Check that no group of the test split is in another split.

    Raises:
        UserError: names a group that is in `test` and in another split.
    """
    shared = set(group[split == "test"]) & set(group[split != "test"])
    if shared:
        others = sorted(set(split[group.isin(shared)]))
        raise UserError(
            f"group {min(shared)} is in the splits {others}: patches of one group are neighbours; "
            "give all of them one split"
        )
