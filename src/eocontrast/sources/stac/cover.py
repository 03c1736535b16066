"""Labels from a collection of land cover, with classes and colours from its metadata."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pystac
from odc.geo.geobox import GeoBox
from tqdm import tqdm

from eocontrast.config.catalogues import CollectionParams, StacParams
from eocontrast.rasters.open import open_raster
from eocontrast.rasters.source import Source
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import write_text
from eocontrast.sources.labels.masks import write_mask
from eocontrast.sources.labels.vectors import read_area
from eocontrast.sources.manifest import palette
from eocontrast.sources.stac.api import ask, describe
from eocontrast.sources.stac.catalogs import catalog_of
from eocontrast.sources.stac.load import configure, load, quiet, signing_of
from eocontrast.sources.stac.patches import Patch
from eocontrast.sources.stac.search import Items

THREADS = 8
"""Patches that are read at a time."""


@dataclass(frozen=True)
class Cover:
    """Metadata of a collection of land cover.

    Attributes:
        asset: Asset that holds the classes.
        classes: Value by class name, in the order of the metadata.
        colours: `#rrggbb` by class name.
        licence: Licence of the labels.
    """

    asset: str
    classes: dict[str, int]
    colours: dict[str, str]
    licence: str


def read_cover(name: str, metadata: dict[str, Any]) -> Cover:
    """Return the classes of a collection by the classification extension of STAC.

    https://github.com/stac-extensions/classification: `description` or `name` is the class, and
    `color_hint` (`color-hint` before version 1.1) its colour.

    Raises:
        UserError: no asset states classes.
    """
    assets = metadata.get("item_assets", {})
    stated = {key: asset.get("classification:classes") for key, asset in assets.items()}
    asset = next((key for key, classes in stated.items() if classes), None)
    if asset is None:
        raise UserError(
            f"the collection {name} states no classes for its assets ({', '.join(assets)}); "
            "download a raster of it, and name its classes under sources.stac.classes"
        )
    # https://github.com/stac-extensions/classification#class-object
    classes, colours = {}, {}
    for entry in stated[asset]:
        label = str(entry.get("description") or entry.get("name")).strip()
        classes[label] = int(entry["value"])
        hint = entry.get("color_hint") or entry.get("color-hint")
        if hint:
            colours[label] = f"#{str(hint).lower()}"
    return Cover(asset, classes, colours, str(metadata.get("license", "unspecified")))


def label_patches(
    source: Source, folder: Path, here: Path, params: StacParams, patches: Sequence[Patch]
) -> Source:
    """Return the source with a mask per patch from the collection that the parameters name.

    Args:
        source: Source without labels.
        folder: Folder that paths of the manifest begin at.
        here: Folder for masks, items and metadata, which are asked for once.
        params: Parameters of the source.
        patches: Every patch of the source.

    Raises:
        UserError: the catalogue has no such collection or no items of the area, or the patches hold
            one class alone.
    """
    catalog = catalog_of(params.catalog)
    collection = catalog.cover.model_copy(update={"collection": params.label_collection})
    cover, items = _described(collection, params, here)
    configure(catalog.options)
    held = set(source.manifest.id)
    wanted = [patch for patch in patches if patch.name in held]
    # beside the rasters: a second run draws none again
    masks = here / params.label_collection

    def draw(patch: Patch) -> set[int]:
        path = masks / f"{patch.name}.tif"
        if not path.exists():
            _draw(patch, collection, cover, items, path)
        with open_raster(path) as raster:
            values: list[int] = np.unique(raster.read(1)).tolist()
        return set(values)

    with quiet(), ThreadPoolExecutor(THREADS) as pool:
        drawing = tqdm(pool.map(draw, wanted), "labels", len(wanted), unit="patch", disable=None)
        seen = set[int]().union(*drawing)
    # a class without pixels would be scored as never found
    classes = {name: value for name, value in cover.classes.items() if value in seen}
    if len(classes) < 2:
        raise UserError(
            f"{params.label_collection} labels the patches with {' '.join(classes) or 'no class'} "
            "alone; expected two classes or more: choose a larger area"
        )
    print(f"labels: {params.label_collection} ({cover.licence}), {', '.join(classes)}")
    label = [f"{masks.relative_to(folder).as_posix()}/{name}.tif" for name in source.manifest.id]
    return replace(
        source,
        classes=classes,
        palette={name: cover.colours.get(name, own) for name, own in palette(classes).items()},
        manifest=source.manifest.assign(label=label),
        licence=f"{source.licence}; labels {params.label_collection} {cover.licence}",
    )


def _described(collection: CollectionParams, params: StacParams, here: Path) -> tuple[Cover, Items]:
    """Return classes and the newest items of the area, which are asked for once."""
    file = here / f"{collection.collection}.json"
    if not file.exists():
        metadata = describe(collection)
        found = ask(collection, read_area(params.area), None)
        write_text(file, json.dumps({"collection": metadata, "items": found}))
    kept = json.loads(file.read_text())
    items = [pystac.Item.from_dict(item) for item in kept["items"]]
    if not items:
        raise UserError(
            f"{collection.url} has no items of {collection.collection} for {params.area}; choose "
            "another area, or bring a file of labels"
        )
    # WorldCover has maps of 2020 and 2021 by two algorithms, which must not mix
    newest = max(_year(item) for item in items)
    cover = read_cover(collection.collection, kept["collection"])
    return cover, Items([item for item in items if _year(item) == newest])


def _year(item: pystac.Item) -> int:
    stated = item.datetime or item.common_metadata.start_datetime
    return stated.year if stated else 0


def _draw(
    patch: Patch, collection: CollectionParams, cover: Cover, items: Items, path: Path
) -> None:
    grid = patch.grid
    touching = [item for observation in items.over(patch) for item in observation.items]
    values = np.zeros((grid.height, grid.width), np.uint8)
    if touching:
        loaded = load(
            f"labels of patch {patch.name}",
            touching,
            signing_of(collection),
            bands=[cover.asset],
            geobox=GeoBox((grid.height, grid.width), grid.transform, f"EPSG:{patch.epsg}"),
            # interpolate nothing: a mean of two classes would be a third one
            resampling="nearest",
            # join all items in one layer: odc-stac makes a layer for each time by default
            groupby=lambda *_: 0,
            nodata=0,
            dtype="uint8",
        )
        values = loaded[cover.asset].to_numpy()[0]
    write_mask(path, values, grid, 0)
