"""Published splits: lists of patches that are kept as they are, even if they cut a group.

A list is a text file with one name per line, or a CSV file with the names in its first column. A
name is a patch, one of its rasters, or the folder of a scene (`ROIs1158_spring/s1_63`). The first
line may be a header. Pickled lists are not read, because loading a pickle can run code.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from eocontrast.config.sources import Split
from eocontrast.runtime.errors import UserError, some
from eocontrast.sources.rois import data_folder, patch_name, scene_name


def apply_lists(
    manifest: pd.DataFrame,
    lists: Path | Mapping[Split, Path],
    others: Split,
    parameter: str,
    rois: Sequence[str] = (),
) -> pd.DataFrame:
    """Return the manifest with the splits of the lists.

    Args:
        manifest: table whose ids are names of patches.
        lists: a list per split, or one list of test patches.
        others: split of the patches that no list names.
        parameter: the parameter that names the lists, for messages.
        rois: regions of interest to apply the lists to; all if empty.

    Raises:
        UserError: a list cannot be read, or a name is in two lists or not in the data.
    """
    files = {"test": lists} if isinstance(lists, Path) else lists
    # cut off the number: ids are <scene>_p<number>, and lists may name whole scenes
    members = manifest.groupby(manifest["id"].str.rpartition("_p")[0])["id"].agg(list).to_dict()
    split = dict[str, str]()
    for part, path in files.items():
        for listed in read_list(path, parameter):
            for name in members.get(listed, [listed]):
                if split.setdefault(name, part) != part:
                    raise UserError(f"{parameter}: {name} is in the lists {split[name]} and {part}")
    if rois:
        split = {name: part for name, part in split.items() if name.startswith(tuple(rois))}
    absent = sorted(split.keys() - set(manifest["id"]))
    if absent:
        raise UserError(
            f"{parameter}: {len(absent)} of {len(split)} listed names are not in the data, such as "
            f"{some(absent)}; use the lists of this data set, or unpack what is "
            "missing"
        )
    return manifest.assign(split=manifest["id"].map(split).fillna(others))


def read_list(path: Path, parameter: str) -> list[str]:
    """Read the names of patches and scenes in a list, each once, in order.

    Raises:
        UserError: the file is missing, is not text, has another format, or names nothing.
    """
    try:
        # spreadsheets write a byte-order mark
        lines = data_folder(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{parameter}: {path} cannot be read as UTF-8 text ({error}); name a file with one "
            "patch per line (pickles are not read)"
        ) from error
    names = []
    for number, line in enumerate(lines, 1):
        cell = line.partition(",")[0].strip(' "')
        name = patch_name(cell) or scene_name(cell)
        if name:
            names.append(name)
        elif cell and number > 1:
            raise UserError(
                f"{parameter}: line {number} of {path} is {line[:60]!r}, expected a name such as "
                "ROIs0000_test_0_p12, ROIs0000_test_s2_0_p12.tif, or ROIs1158_spring/s1_63"
            )
    if not names:
        raise UserError(f"{parameter}: {path} names no patch, expected one per line")
    return list(dict.fromkeys(names))


def divide_groups(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the manifest with the test patches of each cut group in a group of their own.

    Published numbers refer to the published split, so no patch changes its split. A warning counts
    the test patches whose group is also trained on.
    """
    test = manifest["split"] == "test"
    cut = set(manifest["group"][test]) & set(manifest["group"][~test])
    apart = test & manifest["group"].isin(cut)
    if apart.any():
        print(
            f"warning: {apart.sum()} of {test.sum()} test patches belong to {len(cut)} groups that "
            "are also trained on; the official split is kept",
            file=sys.stderr,
        )
    return manifest.assign(group=manifest["group"].where(~apart, manifest["group"] + "_test"))
