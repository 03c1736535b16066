"""Requests of a STAC API, which are repeated if it is busy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import shapely
from pystac_client import Client
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from requests.exceptions import RequestException
from urllib3 import Retry

from eocontrast.config.catalogues import CollectionParams
from eocontrast.runtime.errors import UserError
from eocontrast.sources.stac.catalogs import headers_of

RETRIES = 8
"""Tries of one request; with a factor of 0.5 the waits add up to two minutes."""

SIMPLE_DEGREES = 0.01
"""Tolerance by which an area is simplified: services limit the length of a request."""


def ask(
    collection: CollectionParams, area: shapely.Geometry, days: str | None, most: int | None = None
) -> list[dict[str, Any]]:
    """Return the items of a collection that touch an area.

    Args:
        collection: Collection to search.
        area: Area in longitude and latitude.
        days: Range of dates as STAC has it; any date if None.
        most: Most items to return.

    Raises:
        UserError: the service does not answer.
    """
    # widen by the tolerance, so that the simpler outline still holds the whole area
    simple = area.simplify(SIMPLE_DEGREES).buffer(SIMPLE_DEGREES)
    with _answering(collection) as client:
        found = client.search(
            collections=[collection.collection],
            intersects=shapely.geometry.mapping(simple),
            datetime=days,
            limit=most or 100,
            max_items=most,
        )
        return list(found.items_as_dicts())


def describe(collection: CollectionParams) -> dict[str, Any]:
    """Return the metadata of a collection.

    Raises:
        UserError: the service does not answer, or has no such collection.
    """
    with _answering(collection) as client:
        found = client.get_collection(collection.collection)
        if found is None:
            raise UserError(f"{collection.url} has no collection {collection.collection}")
        return found.to_dict()


@contextmanager
def _answering(collection: CollectionParams) -> Iterator[Client]:
    retry = Retry(
        total=RETRIES,
        backoff_factor=0.5,
        # retry too many requests (429, RFC 6585) and failures of the server
        status_forcelist=(429, 500, 502, 503, 504),
        allowed_methods=None,  # searches are POST, which is not repeated by default
    )
    headers = headers_of(collection)
    try:
        yield Client.open(
            collection.url,
            headers=headers,
            stac_io=StacApiIO(max_retries=retry, timeout=60, headers=headers),
        )
    except (APIError, RequestException, NotImplementedError) as error:
        raise UserError(
            f"{collection.url} does not answer a search of {collection.collection}: "
            f"{' '.join(str(error).split())[:300]}; check the address and your network, then run "
            "the same command again"
        ) from error
