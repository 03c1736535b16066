"""Downloads over FTP and HTTP(S), resumed where they stopped and verified by their digest."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Generator
from contextlib import closing
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

import certifi
import pycurl
from tqdm import tqdm

from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import check_free_disk, file_md5, file_sha256

_LONGEST_PAUSE = 60.0  # seconds
_BUFFER = 2**19  # bytes; curl's default of 16 KiB would wake Python 32 times as often
_LOW_SPEED = 1024  # bytes per second; a slower connection counts as stalled

_HTTP = pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS
_BUSY = {408, 425, 429}  # HTTP statuses that mean "later", from RFC 9110, 8470 and 6585
_UNKNOWN_HOST = {pycurl.E_COULDNT_RESOLVE_HOST, pycurl.E_COULDNT_RESOLVE_PROXY}
_NO_RESUME = {
    pycurl.E_RANGE_ERROR,
    pycurl.E_BAD_DOWNLOAD_RESUME,
    pycurl.E_FTP_COULDNT_USE_REST,
}
_PERMANENT = {
    pycurl.E_UNSUPPORTED_PROTOCOL,
    pycurl.E_URL_MALFORMAT,
    pycurl.E_PEER_FAILED_VERIFICATION,
    pycurl.E_SSL_CACERT_BADFILE,
    pycurl.E_TOO_MANY_REDIRECTS,
}
_FTP_REFUSED = {
    pycurl.E_LOGIN_DENIED,
    pycurl.E_REMOTE_ACCESS_DENIED,
    pycurl.E_REMOTE_FILE_NOT_FOUND,
    pycurl.E_FTP_COULDNT_RETR_FILE,
}


class TransferError(Exception):
    """A connection that ended early, with curl's error code and the server's last status."""

    def __init__(self, code: int, message: str, status: int) -> None:
        super().__init__(message or f"curl error {code}")
        self.code, self.status = code, status


def fetch_file(
    url: str,
    target: Path,
    *,
    md5: str = "",
    sha256: str = "",
    beside: int | None = 0,
    attempts: int = 8,
    pause: float = 1.0,
    stall: int = 60,
) -> Path:
    """Download a file unless `target` already has the right digest.

    The download goes to `<target>.partial`, which a later run resumes, and gets its final name once
    its digest is right. A resumed file with a wrong digest is downloaded once more from the start.

    Args:
        url: ftp, ftps, http or https address; may contain a user and a password.
        target: where to store the file.
        md5: expected digest in lower-case hex.
        sha256: expected digest in place of `md5`, or its first digits. Both are empty if the server
            packs the file anew for every request, and then the caller verifies what it holds.
        beside: bytes that must stay free for the unpacked content; None reserves the file's size.
        attempts: consecutive connections that may fail without receiving a new byte.
        pause: seconds before the second attempt; doubles with each further one, up to a minute.
        stall: seconds after which a connection without data is closed.

    Raises:
        UserError: the server refuses the file, all attempts fail, the digest is wrong, or the disk
            is full.
    """
    kind, expected = ("sha256", sha256) if sha256 else ("md5", md5)
    digest_of = file_sha256 if sha256 else file_md5
    # the catalogue knows only the first digits of some digests
    if target.exists() and (not expected or digest_of(target).startswith(expected)):
        return target
    partial = target.with_name(f"{target.name}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # the server may have changed the file since the part was received
        for _ in range(2 if partial.exists() else 1):
            _download(url, partial, beside, attempts, pause, stall)
            digest = digest_of(partial)
            if digest.startswith(expected):
                os.replace(partial, target)
                return target
            partial.unlink()
    except OSError as error:
        raise UserError(
            f"{target} cannot be written ({error}); check free space and permissions"
        ) from error
    raise UserError(
        f"{without_credentials(url)} has {kind} {digest}, expected {expected}; the download "
        "was removed. Check the address, then run it again"
    )


def without_credentials(url: str) -> str:
    """Return the URL without user, password and query, which may be secret."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl()


def _download(
    url: str, partial: Path, beside: int | None, attempts: int, pause: float, stall: int
) -> None:
    """Append to `partial` until the server has sent everything."""
    failures, furthest, shown = 0, _size(partial), without_credentials(url)
    while True:
        try:
            _receive(url, partial, beside, stall)
            return
        except TransferError as error:
            if is_permanent(error, resumed=_size(partial) > 0):
                raise UserError(
                    f"{shown} cannot be downloaded ({error}); check the address, the login and the "
                    "network"
                ) from None
            # a connection that brought bytes counts as progress, however often it breaks
            failures = 1 if _size(partial) > furthest else failures + 1
            furthest = max(furthest, _size(partial))
            if failures >= attempts:
                raise UserError(
                    f"{shown} stopped at byte {_size(partial)} ({error}); {attempts} attempts "
                    "received nothing more. Check the network, then run it again to resume"
                ) from None
            if error.code in _NO_RESUME:
                partial.unlink()
            seconds = min(pause * 2 ** (failures - 1), _LONGEST_PAUSE)
            tqdm.write(f"{shown}: {error}; next attempt in {seconds:g} s", file=sys.stderr)
        time.sleep(seconds)


def _receive(url: str, partial: Path, beside: int | None, stall: int) -> None:
    """Append what one connection sends, starting at the current size of `partial`."""
    start = _size(partial)
    handle = open_url(url, start, stall)
    bar = tqdm(desc=partial.stem, initial=start, unit="B", unit_scale=True, disable=None)
    with bar, closing(chunks(handle)) as received:
        first = next(received, b"")
        remaining = int(handle.getinfo(pycurl.CONTENT_LENGTH_DOWNLOAD_T)) if first else 0
        if remaining >= 0:  # -1 if the server does not report a size
            bar.total = start + remaining
            needed = remaining + (bar.total if beside is None else beside)
            check_free_disk(partial.parent, needed, without_credentials(url))
        with partial.open("ab") as file:
            for chunk in chain([first], received):
                file.write(chunk)
                bar.update(len(chunk))


def chunks(handle: pycurl.Curl) -> Generator[bytes, None, None]:
    """Yield what a connection sends; raise `TransferError` if it ends early."""
    received: list[bytes] = []
    # a method in C: libcurl would swallow a signal or an error raised within a Python callback
    handle.setopt(pycurl.WRITEFUNCTION, received.append)
    multi = pycurl.CurlMulti()
    multi.add_handle(handle)
    try:
        running = 1
        while running:
            _, running = multi.perform()
            yield from received
            received.clear()
            if running:
                multi.select(1.0)
        failures = multi.info_read()[2]
        if failures:
            _, code, message = failures[0]
            raise TransferError(code, message, int(handle.getinfo(pycurl.RESPONSE_CODE)))
    finally:
        multi.remove_handle(handle)
        handle.close()
        multi.close()


def is_permanent(error: TransferError, resumed: bool) -> bool:
    """Return whether another attempt would fail too."""
    if error.code in _UNKNOWN_HOST:
        return not resumed  # a host that sent bytes before exists: the network is down
    if error.code == pycurl.E_HTTP_RETURNED_ERROR:
        # give up on 4xx, which blame the request; 5xx blame the server (RFC 9110, section 15)
        return error.status < 500 and error.status not in _BUSY
    # retry FTP's 4yz replies, which are transient; 5yz are permanent (RFC 959, section 4.2.1)
    return error.code in _PERMANENT or (error.code in _FTP_REFUSED and error.status >= 500)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def open_url(url: str, start: int, stall: int) -> pycurl.Curl:
    """Return a connection that asks for a file from byte `start` on, and has not begun."""
    handle = pycurl.Curl()
    options = {
        pycurl.URL: url,
        pycurl.PROTOCOLS: _HTTP | pycurl.PROTO_FTP | pycurl.PROTO_FTPS,
        # follow redirects over HTTP alone, never to a local file
        pycurl.REDIR_PROTOCOLS: _HTTP,
        pycurl.FOLLOWLOCATION: 1,
        pycurl.MAXREDIRS: 10,
        pycurl.FAILONERROR: 1,
        pycurl.RESUME_FROM_LARGE: start,
        pycurl.BUFFERSIZE: _BUFFER,
        pycurl.CONNECTTIMEOUT: stall,
        pycurl.FTP_RESPONSE_TIMEOUT: stall,
        pycurl.LOW_SPEED_LIMIT: _LOW_SPEED,
        pycurl.LOW_SPEED_TIME: stall,
        pycurl.NOSIGNAL: 1,  # time-outs by signal do not work in threads
        # the libcurl in pycurl's wheels finds no certificates, neither the system's nor this one
        pycurl.CAINFO: os.environ.get("SSL_CERT_FILE", certifi.where()),
    }
    for option, value in options.items():
        handle.setopt(option, value)
    return handle
