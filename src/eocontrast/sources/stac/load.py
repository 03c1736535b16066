"""Load pixels of catalogue items, again if a server fails."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import odc.stac
import pystac
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from requests.exceptions import RequestException

from eocontrast.config.catalogues import CollectionParams
from eocontrast.runtime.errors import UserError

if TYPE_CHECKING:
    import xarray

ATTEMPTS = 5
"""Attempts at a read before its error is given up on, with pauses of 1, 2, 4 and 8 seconds."""

OPTIONS = {
    "GDAL_HTTP_MAX_RETRY": str(ATTEMPTS),
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_TIMEOUT": "60",
}
"""Options of GDAL for servers that refuse a request for a while."""

_UNREADABLE = (RasterioError, RequestException, OSError, RuntimeError)
"""Errors of libraries for files and addresses that do not answer."""


_REFUSED = re.compile(r"40[13] Client Error|response code: 40[13]|Access ?Denied|InvalidAccessKey")
"""Answers for wrong credentials, by the signing server, GDAL and S3."""


def configure(options: Mapping[str, str]) -> None:
    """Set GDAL's options for this process, those of a catalogue after `OPTIONS`."""
    every: dict[str, Any] = {**OPTIONS, **options}
    # start from odc's cloud defaults: GDAL then lists no folder beside a file on a server
    odc.stac.configure_rio(cloud_defaults=True, **every)


@contextmanager
def quiet() -> Iterator[None]:
    """Ignore a warning of rasterio: odc-loader warps arrays whose transform is the identity."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def signing_of(collection: CollectionParams) -> Callable[[str], str] | None:
    """Return the function that signs the addresses of a collection; None if none does."""
    if collection.signing == "none":
        return None
    import planetary_computer  # half a second, which other catalogues need not wait for

    sign: Callable[[str], str] = planetary_computer.sign_url
    return sign


def load(
    name: str,
    items: Sequence[pystac.Item],
    signing: Callable[[str], str] | None,
    **options: Any,  # noqa: ANN401 - of odc.stac.load
) -> xarray.Dataset:
    """Load items, again after a pause if files cannot be read.

    Args:
        name: Name for messages.
        items: Items to load.
        signing: Function that signs an address.
        options: Arguments of `odc.stac.load`.

    Raises:
        UserError: the files cannot be read after several attempts.
    """
    for attempt in range(ATTEMPTS):
        try:
            return odc.stac.load(items, patch_url=_address(signing, attempt), **options)
        except _UNREADABLE as error:
            why = " ".join(str(error).split())[:300]
            # one more attempt signs anew: a signature may have run out
            if attempt and _REFUSED.search(why):
                raise UserError(f"{name} cannot be read: {why}; {_credentials(signing)}") from error
            if attempt == ATTEMPTS - 1:
                raise UserError(
                    f"{name} cannot be read: {why}; run the same command again, it goes on with "
                    "what is missing"
                ) from error
            time.sleep(2**attempt)
    raise AssertionError


def _credentials(signing: Callable[[str], str] | None) -> str:
    variables = "PC_SDK_SUBSCRIPTION_KEY" if signing else "AWS_ACCESS_KEY_ID"
    return f"the server refuses it to you: check your credentials ({variables}, docs/place.md)"


def _address(signing: Callable[[str], str] | None, attempt: int) -> Callable[[str], str]:
    """Return a function from the address of an asset to the address to read.

    GDAL keeps what came before a connection was cut, and never asks for the rest. So each attempt
    has addresses of its own: a fragment tells them apart, and is not sent to the server.
    """

    def address(href: str) -> str:
        signed = signing(href) if signing else href
        if attempt and signed.startswith(("http://", "https://")):
            return f"/vsicurl/{signed}#{attempt}"
        return signed

    return address
