"""Catalogues by name: their addresses, collections and assets, and what they ask for.

Names are those of the catalogues' own definitions and documentation:

- Planetary Computer: https://github.com/microsoft/planetary-computer-tasks, whose templates
  `datasets/{sentinel-2,sentinel-1-rtc,esa-worldcover}/collection/template.json` list assets (B02 to
  B8A, SCL; vv, vh with nodata -32768; map with `classification:classes`) and `sat:orbit_state`.
  `sentinel2.py` beside the first one keeps one resolution of SCL and drops it from the name.
- Earth Search: https://earth-search.aws.element84.com/v1/collections/sentinel-2-c1-l2a and
  /sentinel-2-l2a. Both have these assets, `s2:processing_baseline`, and a `raster:bands` offset of
  -0.1, which the second states even of items with `earthsearch:boa_offset_applied`.
- CDSE: https://documentation.dataspace.copernicus.eu/APIs/STAC.html and its collection
  https://stac.dataspace.copernicus.eu/v1/collections/sentinel-2-l2a. Assets are named by their
  resolution (B02_10m, SCL_20m), and `processing:version` is the baseline.

Only the Planetary Computer has terrain-corrected Sentinel-1 on a map's grid. The other catalogues
have ground-range products, which need SNAP or pyroSAR first, and Earth Search's are requester pays.
Their presets therefore take Sentinel-1 from the Planetary Computer.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from eocontrast.config.catalogues import CollectionParams, OwnCatalogParams, Preset
from eocontrast.modalities import SENTINEL2_L2A
from eocontrast.runtime.errors import UserError

_PLANETARY = "https://planetarycomputer.microsoft.com/api/stac/v1"
_EARTH_SEARCH = "https://earth-search.aws.element84.com/v1"
_COLOURS = ("coastal", "blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir")
_INFRARED = ("nir08", "nir09", "swir16", "swir22")
# use Earth Search's names of assets, after the common names of STAC's `eo` extension
_BY_COLOUR = dict(zip(SENTINEL2_L2A.bands, (*_COLOURS, *_INFRARED), strict=True))
# name the finest resolution of level 2A; bands that are not listed have 20 m
_METRES = {"B01": 60, "B02": 10, "B03": 10, "B04": 10, "B08": 10, "B09": 60}

# Of an account, says `msft:requires_account` in the template, and signing failed without its key
# until 2024 (https://github.com/microsoft/PlanetaryComputer/issues/230). Accounts went with the Hub
# that year, and users sign without a key since.
_RTC = CollectionParams(
    url=_PLANETARY,
    collection="sentinel-1-rtc",
    assets={"VV": "vv", "VH": "vh"},
    units="linear",
    scene_classification=None,
    signing="planetary_computer",
    headers={},
)


_COVER = CollectionParams(
    url=_PLANETARY,
    collection="esa-worldcover",
    assets={},
    units="DN",
    scene_classification=None,
    signing="planetary_computer",
    headers={},
)


def _sentinel2(url: str, collection: str, names: Mapping[str, str], scl: str) -> CollectionParams:
    signing = "planetary_computer" if url == _PLANETARY else "none"
    return CollectionParams(
        url=url,
        collection=collection,
        assets=dict(names),
        units="DN",
        scene_classification=scl,
        signing=signing,
        headers={},
    )


@dataclass(frozen=True)
class Catalog:
    """A collection per sensor.

    Attributes:
        s1: Sentinel-1's collection.
        s2: Sentinel-2's collection.
        variables: Environment variables that its files need.
        options: GDAL's options for its files.
        cover: Where a collection of labels lies.
        licence: Licence for model cards.
    """

    s1: CollectionParams
    s2: CollectionParams
    variables: tuple[str, ...] = ()
    options: dict[str, str] = field(default_factory=dict)
    licence: str = "Copernicus Sentinel data, free and open; Sentinel-1 RTC CC-BY-4.0"
    cover: CollectionParams = _COVER


PRESETS: dict[Preset, Catalog] = {
    "planetary_computer": Catalog(
        _RTC,
        _sentinel2(_PLANETARY, "sentinel-2-l2a", {b: b for b in SENTINEL2_L2A.bands}, "SCL"),
    ),
    "earth_search": Catalog(
        _RTC,
        _sentinel2(_EARTH_SEARCH, "sentinel-2-c1-l2a", _BY_COLOUR, "scl"),
    ),
    "earth_search_l2a": Catalog(
        _RTC,
        _sentinel2(_EARTH_SEARCH, "sentinel-2-l2a", _BY_COLOUR, "scl"),
    ),
    "copernicus": Catalog(
        _RTC,
        _sentinel2(
            "https://stac.dataspace.copernicus.eu/v1",
            "sentinel-2-l2a",
            {band: f"{band}_{_METRES.get(band, 20)}m" for band in SENTINEL2_L2A.bands},
            "SCL_20m",
        ),
        variables=("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        options={
            "AWS_S3_ENDPOINT": "eodata.dataspace.copernicus.eu",
            # address buckets by path: CDSE's S3 does not put them into the host's name
            "AWS_VIRTUAL_HOSTING": "FALSE",
        },
    ),
}


def catalog_of(params: Preset | OwnCatalogParams) -> Catalog:
    """Return a preset or the user's own catalogue.

    Raises:
        UserError: an environment variable that it needs is not set.
    """
    if isinstance(params, OwnCatalogParams):
        catalog = Catalog(params.s1, params.s2, licence="unspecified", cover=params.s2)
    else:
        catalog = PRESETS[params]
    headers = [*catalog.s1.headers.values(), *catalog.s2.headers.values()]
    missing = [name for name in (*catalog.variables, *headers) if not os.environ.get(name)]
    if missing:
        raise UserError(
            f"the environment variable {' and '.join(missing)} is not set, and the catalogue needs "
            "it; export your credentials (docs/place.md names where to get them)"
        )
    return catalog


def headers_of(collection: CollectionParams) -> dict[str, str]:
    """Return the headers of HTTP with the values of their environment variables."""
    return {name: os.environ[variable] for name, variable in collection.headers.items()}
