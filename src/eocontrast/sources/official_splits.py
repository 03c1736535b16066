"""Splits that others published: lists of patches, kept as they are even where they cut a group.

A list is any text file whose cells, between commas, semicolons, tabs or line ends, hold the names
of patches or of their rasters, or folders of whole scenes (`ROIs1158_spring/s1_63`); other cells,
such as a header, are passed over. Pickles are not read, for they can run code.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from eocontrast.config.sources import Split
from eocontrast.runtime.errors import UserError
from eocontrast.sources.rois import LISTED, data_folder, patch_name, scene_name


def apply_lists(
    manifest: pd.DataFrame,
    lists: Path | Mapping[Split, Path],
    others: Split,
    where: str,
    rois: Sequence[str] = (),
) -> pd.DataFrame:
    """The manifest with the splits of the lists.

    Args:
        manifest: its ids are names of patches.
        lists: one file a split; a single one lists what is tested on.
        others: the split of patches that no list names.
        where: the parameter that names the lists, for messages.
        rois: regions of interest that were read; names of others are passed over. All where empty.

    Raises:
        UserError: a list cannot be read or names nothing, or a name is in two lists or not in the
            data.
    """
    files = {"test": lists} if isinstance(lists, Path) else lists
    scenes, split = manifest["id"].groupby(manifest["id"].map(_scene)), dict[str, str]()
    members = {scene: list(names) for scene, names in scenes}
    for part, path in files.items():
        for listed in listed_names(path, where):
            for name in members.get(listed, [listed]):
                if split.setdefault(name, part) != part:
                    raise UserError(f"{where} lists {name} under {split[name]} and under {part}")
    if rois:
        split = {name: part for name, part in split.items() if name.startswith(tuple(rois))}
    absent = sorted(split.keys() - set(manifest["id"]))
    if absent:
        raise UserError(
            f"{where} lists {len(absent)} of {len(split)} names that are not in the data: "
            f"{', '.join(absent[:LISTED])}; use the lists of these data, or unpack what is missing"
        )
    return manifest.assign(split=manifest["id"].map(split).fillna(others))


def _scene(patch: str) -> str:
    return patch.rpartition("_p")[0]


def listed_names(path: Path, where: str) -> list[str]:
    """The names of the patches and scenes that a list holds, each once, in its order.

    Raises:
        UserError: no such file, no text, or no name in it.
    """
    try:
        text = data_folder(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{where}: {path} cannot be read as text in UTF-8 ({error}): name a file with one "
            "patch a line (pickles are not read, for they can run code)"
        ) from error
    cells = [cell.strip(" \"'") for cell in re.split(r"[,;\t\n]", text)]
    found = (patch_name(cell) or scene_name(cell) for cell in cells)
    names = list(dict.fromkeys(name for name in found if name))
    if not names:
        raise UserError(
            f"{where}: {path} names no patch; expected cells such as ROIs0000_test_0_p12, "
            "ROIs0000_test_s2_0_p12.tif, or ROIs1158_spring/s1_63 for a whole scene"
        )
    return names


def divide_groups(manifest: pd.DataFrame) -> pd.DataFrame:
    """The manifest with every group that is scored in part made two; nothing where none is.

    Official splits are what published numbers are of, so no patch changes its split for the sake of
    a group: the patches that are tested on become a group of their own, and how many have
    neighbours that are learnt from is said.
    """
    test = manifest["split"] == "test"
    cut = set(manifest["group"][test]) & set(manifest["group"][~test])
    apart = test & manifest["group"].isin(cut)
    if apart.any():
        print(
            f"warning: {apart.sum()} of {test.sum()} test patches are of groups that are also "
            f"learnt from ({len(cut)} of them); the official split is kept",
            file=sys.stderr,
        )
    return manifest.assign(group=manifest["group"].where(~apart, manifest["group"] + "_test"))
