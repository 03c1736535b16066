"""Digests that a server states, where a publisher gives no list of them."""

from __future__ import annotations

import re
import time

import pycurl

from eocontrast.runtime.errors import UserError
from eocontrast.sources.download.transfer import (
    TransferError,
    chunks,
    is_permanent,
    open_url,
    without_credentials,
)

# of large files Hugging Face states the SHA-256, before it redirects to another host
_SHA256 = re.compile(rb'(?:x-linked-)?etag:\s*"?([0-9a-f]{64})"?\s*', re.IGNORECASE)

_ATTEMPTS = 4
_STALL = 60  # seconds without an answer


def stated_sha256(url: str) -> str:
    """Ask a server for the SHA-256 of a file.

    Raises:
        UserError: the server does not answer, or states no SHA-256.
    """
    shown = without_credentials(url)
    for attempt in range(_ATTEMPTS):
        headers: list[bytes] = []
        handle = open_url(url, 0, _STALL)
        handle.setopt(pycurl.NOBODY, 1)
        handle.setopt(pycurl.HEADERFUNCTION, headers.append)
        failure: TransferError | None = None
        try:
            list(chunks(handle))
        except TransferError as error:
            failure = error
        # the other host may refuse to be asked without sending, which does not matter
        stated = [match[1].decode() for line in headers if (match := _SHA256.fullmatch(line))]
        if stated:
            return stated[0]
        if failure is None:
            raise UserError(
                f"the server states no SHA-256 of {shown}; name a file of md5sum's in `md5s`"
            )
        if is_permanent(failure, resumed=False) or attempt == _ATTEMPTS - 1:
            break
        time.sleep(2**attempt)
    raise UserError(f"{shown} cannot be found ({failure}); check the address and the network")
