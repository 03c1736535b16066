"""Items of an area and its dates, asked for once and kept, and the observations over a patch."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pystac
import shapely

from eocontrast.config.catalogues import CollectionParams, StacParams
from eocontrast.modalities import SENSORS, Sensor
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import write_text
from eocontrast.sources.stac.api import ask
from eocontrast.sources.stac.catalogs import Catalog
from eocontrast.sources.stac.patches import Patch, around


@dataclass(frozen=True)
class Observation:
    """Items of one sensor that were taken in one pass, which are mosaicked.

    Attributes:
        items: Items of the pass that touch the patch.
        time: Time of the first one.
        cloud: Mean cloud cover of the items in per cent, 0 for Sentinel-1.
    """

    items: tuple[pystac.Item, ...]
    time: datetime
    cloud: float

    @property
    def names(self) -> list[str]:
        """Ids of the items."""
        return [item.id for item in self.items]

    def days_from(self, other: Observation) -> float:
        """Return the days between this observation and another one."""
        return abs((self.time - other.time).total_seconds()) / 86400


class Items:
    """Items of one sensor with a search tree of their outlines."""

    def __init__(self, items: Sequence[pystac.Item]) -> None:
        self.items = list(items)
        outlines = [around(shapely.geometry.shape(item.geometry)) for item in self.items]
        self._tree = shapely.STRtree(outlines)

    def over(self, patch: Patch) -> list[Observation]:
        """Return the observations of a patch, the earliest first."""
        touching = [self.items[n] for n in sorted(self._tree.query(patch.footprint, "intersects"))]
        passes: dict[tuple[str, ...], list[pystac.Item]] = {}
        for item in touching:
            passes.setdefault(_pass_of(item), []).append(item)
        observations = [_observation(items) for items in passes.values()]
        return sorted(observations, key=lambda observation: observation.time)


def _pass_of(item: pystac.Item) -> tuple[str, ...]:
    # a swath crosses a zone within minutes, and one orbit has one direction and number
    day = _time(item).date().isoformat()
    keys = ("platform", "sat:relative_orbit", "sat:orbit_state")
    return (day, *(str(item.properties.get(key, "")) for key in keys))


def _observation(items: Sequence[pystac.Item]) -> Observation:
    newest: dict[tuple[str, ...], pystac.Item] = {}
    # the same tile may be there in several processings: the newest baseline counts
    for item in sorted(items, key=lambda item: (baseline(item), item.id)):
        tile = str(item.properties.get("grid:code") or item.properties.get("s2:mgrs_tile") or "")
        own = (tile, _time(item).isoformat(timespec="minutes")) if tile else (item.id,)
        newest[own] = item
    kept = sorted(newest.values(), key=lambda item: item.id)
    clouds = [float(item.properties.get("eo:cloud_cover") or 0) for item in kept]
    return Observation(tuple(kept), min(map(_time, kept)), sum(clouds) / len(clouds))


def _time(item: pystac.Item) -> datetime:
    # items of Sentinel-1 may state a start and an end instead
    stated = item.datetime or item.common_metadata.start_datetime
    assert stated is not None
    return stated if stated.tzinfo else stated.replace(tzinfo=UTC)


def baseline(item: pystac.Item) -> str:
    """Return the processing baseline of Sentinel-2, such as 05.09; empty if none is stated."""
    properties = item.properties
    found = properties.get("s2:processing_baseline") or properties.get("processing:version")
    return str(found or "")


def with_all(
    sensor: Sensor, every: Sequence[Observation], names: Sequence[str]
) -> tuple[list[Observation], str]:
    """Return the observations whose items have all these assets, or the cause if none has."""
    whole = [o for o in every if all(name in item.assets for item in o.items for name in names)]
    if whole:
        return whole, ""
    return [], f"{sensor} without all bands" if every else f"no {sensor} in the dates"


def find_items(
    catalog: Catalog,
    params: StacParams,
    area: shapely.Geometry,
    folder: Path,
    sensors: Collection[Sensor] = SENSORS,
) -> tuple[Items, Items]:
    """Return the items of Sentinel-1 and of Sentinel-2; each is asked for once and kept.

    Raises:
        UserError: a catalogue does not answer, or has no items; says what each filter removed.
    """
    ranges = [tuple(map(date.fromisoformat, text.split("/"))) for text in params.dates]
    margin = timedelta(days=params.max_days_apart + 1)
    around_them = [(first - margin, last + margin) for first, last in ranges]
    s1 = _kept(folder / "s1_items.json", catalog.s1, area, around_them) if "s1" in sensors else []
    s2 = _kept(folder / "s2_items.json", catalog.s2, area, ranges)
    of_orbit = [i for i in s1 if i.properties.get("sat:orbit_state") == params.orbit]
    if s1 and not of_orbit:
        raise UserError(
            f"{len(s1)} items of {catalog.s1.collection} lie in {params.area} near the dates, none "
            f"of an {params.orbit} orbit; set sources.stac.orbit to the other direction"
        )
    held: dict[Sensor, tuple[list[pystac.Item], CollectionParams]] = {
        "s1": (of_orbit, catalog.s1),
        "s2": (s2, catalog.s2),
    }
    for sensor, (items, collection) in held.items():
        if sensor not in sensors:
            continue
        if not items:
            raise UserError(_without_items(collection, params, area))
        _check_assets(items, collection, params)
    return Items(of_orbit), Items(s2)


def _without_items(collection: CollectionParams, params: StacParams, area: shapely.Geometry) -> str:
    """Return a message that says whether the area or the dates have no items."""
    where = f"{collection.url} has no items of {collection.collection} for {params.area}"
    of_any_date = ask(collection, area, None, most=1)
    if not of_any_date:
        bounds = ", ".join(f"{x:.4g}" for x in area.bounds)
        return (
            f"{where} at any date; it spans {bounds} (west, south, east, north): is it outside the "
            "catalogue, or are longitude and latitude swapped?"
        )
    other = str(of_any_date[0]["properties"].get("datetime"))[:10]
    return f"{where} in {', '.join(params.dates)}, but it has items of {other}; choose other dates"


def _check_assets(
    items: Sequence[pystac.Item], collection: CollectionParams, params: StacParams
) -> None:
    """Refuse names of assets that no item has; single items may lack one."""
    bands = params.bands if collection.units in ("DN", "reflectance") else ("VV", "VH")
    unnamed = [band for band in bands if band not in collection.assets]
    if unnamed:
        raise UserError(
            f"{collection.collection} has no asset for {', '.join(unnamed)}; it has "
            f"{', '.join(collection.assets)}"
        )
    names = [collection.assets[band] for band in bands]
    if collection.scene_classification:
        names.append(collection.scene_classification)
    absent = [name for name in names if not any(name in item.assets for item in items)]
    if absent:
        raise UserError(
            f"no item of {collection.collection} has an asset {', '.join(absent)}; {items[0].id} "
            f"has {', '.join(items[0].assets)}"
        )


def _kept(
    file: Path,
    collection: CollectionParams,
    area: shapely.Geometry,
    ranges: Iterable[tuple[date, ...]],
) -> list[pystac.Item]:
    if not file.exists():
        found: dict[str, dict[str, Any]] = {}
        for first, last in ranges:
            # write times as RFC 3339 has them, which STAC's `datetime` asks for
            days = f"{first.isoformat()}T00:00:00Z/{last.isoformat()}T23:59:59Z"
            found |= {item["id"]: item for item in ask(collection, area, days)}
        # unsigned: a signature is a secret, and expires
        write_text(file, json.dumps([found[name] for name in sorted(found)]))
    return [pystac.Item.from_dict(item) for item in json.loads(file.read_text())]
