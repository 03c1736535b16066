"""reBEN (BigEarthNet v2): 480,038 pairs with 19 classes and reference maps, or some of its tiles.

    BigEarthNet-S2/<scene>/<patch>/<patch>_B02.tif
    BigEarthNet-S1/<scene>/<patch>/<patch>_VV.tif
    Reference_Maps/<scene>/<patch>/<patch>_reference_map.tif
    metadata.parquet with patch_id, labels, split, s1_name, country and two flags

Archives may take the place of the folders. The split is the data set's own: test is `test`; train
and validation are `train`, or `pretrain` if the labels give no class. Adjacent patches form a group
within a tile. The split cuts tiles, so a group ends where the split does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from eocontrast.config.sources import BigEarthNetParams
from eocontrast.rasters.source import CLASSES, COLUMNS
from eocontrast.runtime.errors import UserError
from eocontrast.sources.bigearthnet_classes import nineteen_names
from eocontrast.sources.bigearthnet_labels import level1_groups
from eocontrast.sources.download.published import manifest_path
from eocontrast.sources.neighbours import neighbours
from eocontrast.sources.reben_files import (
    MAPS,
    S1,
    S2,
    fetch_metadata,
    has_maps,
    patch_folder,
    patch_raster,
    provide,
)
from eocontrast.sources.reben_masks import write_masks
from eocontrast.sources.reben_metadata import ADVICE, METADATA, SPLITS, place, read_metadata
from eocontrast.sources.rois import content, data_folder


def describe_reben(
    folder: Path, params: BigEarthNetParams, *, keep_archives: bool = False
) -> pd.DataFrame:
    """Return the manifest of the chosen patches, after downloading or unpacking what is missing.

    Args:
        folder: destination for downloads, unpacked archives and masks.
        params: the user's folder or an address, and the patches to choose.
        keep_archives: whether downloaded archives stay on disk.

    Raises:
        UserError: something cannot be downloaded or unpacked, the layout or the metadata differ
            from the published ones, or patches are missing.
    """
    data = _metadata_folder(folder, params)
    table = read_metadata(data, params)
    patches, s1_names = list(table["patch_id"]), list(table["s1_name"])
    splits = [SPLITS[split] for split in table["split"]]
    # each split's part of a tile counts as a tile
    places = [
        (f"{split}_{tile}", column, row)
        for split, (tile, column, row) in zip(splits, map(place, s1_names), strict=True)
    ]
    manifest = pd.DataFrame(
        {
            "id": patches,
            "group": neighbours(places),
            "split": splits,
            "label": _labels(patches, list(table["labels"]), params),
        }
    )
    for column, top, names in (("s1", S1, s1_names), ("s2", S2, patches)):
        root = provide(top, names, data, folder, params, keep_archives)
        manifest[column] = [manifest_path(root, patch_raster(top, name), folder) for name in names]
    if params.flagged == "pretrain":
        manifest.loc[table["flagged"], "label"] = ""
    unlabelled = manifest["label"].eq("") & manifest["split"].eq("train")
    # images without a label serve pretraining
    manifest.loc[unlabelled, "split"] = "pretrain"
    if params.classes == "nineteen":
        manifest = _with_masks(manifest, data, folder, params, keep_archives)
    columns = [name for name in (*COLUMNS, CLASSES) if name in manifest]
    return manifest[columns].sort_values("id", ignore_index=True)


def _metadata_folder(folder: Path, params: BigEarthNetParams) -> Path:
    if not isinstance(params.path, Path):
        return fetch_metadata(folder, params)
    data = data_folder(params.path)
    if not (data / METADATA).exists():
        raise UserError(
            f"looked for {METADATA} in {data}, {METADATA} is missing; found {content(data)}; "
            f"{ADVICE}"
        )
    return data


def _labels(
    patches: Sequence[str], labels: Sequence[Sequence[str]], params: BigEarthNetParams
) -> list[str]:
    """Return the classes of each patch, joined; empty if it has none."""
    join = level1_groups if params.classes == "level_1" else nineteen_names
    joined = []
    for patch, names in zip(patches, labels, strict=True):
        try:
            joined.append(join(names))
        except KeyError as error:
            raise UserError(
                f"{patch} has the label {error}, which is not one of BigEarthNet's; use the "
                "metadata of version 2"
            ) from None
    return joined


def _with_masks(
    manifest: pd.DataFrame, data: Path, folder: Path, params: BigEarthNetParams, keep: bool
) -> pd.DataFrame:
    """Return the manifest with masks as labels of the labelled patches, if there are maps."""
    if not has_maps(data, params):
        print(
            f"{data} has no {MAPS}: patches have the 19 classes as multi-labels only. The first "
            "class of a patch is not its largest, so do not train single labels on them",
            file=sys.stderr,
        )
        return manifest
    labelled = manifest["label"] != ""
    names = list(manifest["id"][labelled])
    root = provide(MAPS, names, data, folder, params, keep)
    masks = [f"masks/{patch_folder(name)}.tif" for name in names]
    maps = [root / patch_raster(MAPS, name) for name in names]
    write_masks(maps, [folder / mask for mask in masks])
    manifest = manifest.assign(**{CLASSES: manifest["label"]})
    manifest.loc[labelled, "label"] = masks
    return manifest
