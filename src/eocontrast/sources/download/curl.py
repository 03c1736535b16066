"""One request through libcurl: the bytes of a file on an FTP or HTTP server, from an offset on."""

from __future__ import annotations

import os
from collections.abc import Generator
from urllib.parse import urlsplit

import certifi
import pycurl

from eocontrast.runtime.errors import UserError

_BUFFER = 2**19  # bytes; curl's own 16 KiB would wake Python 32 times as often
_LOW_SPEED = 1024  # bytes a second; less for the whole of `stall` is no transfer any more

_OVER_HTTP = pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS
_PROTOCOLS = _OVER_HTTP | pycurl.PROTO_FTP | pycurl.PROTO_FTPS

_FINAL = {
    pycurl.E_UNSUPPORTED_PROTOCOL,
    pycurl.E_URL_MALFORMAT,
    pycurl.E_PEER_FAILED_VERIFICATION,
    pycurl.E_SSL_CACERT_BADFILE,
    pycurl.E_TOO_MANY_REDIRECTS,
}
_UNKNOWN_HOST = {pycurl.E_COULDNT_RESOLVE_HOST, pycurl.E_COULDNT_RESOLVE_PROXY}
_REFUSED = {
    pycurl.E_HTTP_RETURNED_ERROR,
    pycurl.E_LOGIN_DENIED,
    pycurl.E_REMOTE_ACCESS_DENIED,
    pycurl.E_REMOTE_FILE_NOT_FOUND,
    pycurl.E_FTP_COULDNT_RETR_FILE,
}
_NO_OFFSET = {
    pycurl.E_RANGE_ERROR,
    pycurl.E_BAD_DOWNLOAD_RESUME,
    pycurl.E_FTP_COULDNT_USE_REST,
}
_BUSY = {408, 425, 429}  # the answers of RFC 9110, 8470 and 6585 that say "later", not "no"


class TemporaryError(Exception):
    """The connection was lost, or the server is busy: the same may work later."""


class OffsetError(Exception):
    """The server does not send the file from this offset on."""


class Request:
    """What a server sends of a file.

    Args:
        url: ftp, ftps, http or https; may hold a user and a password.
        start: offset in bytes of the first one that is wanted.
        stall: seconds after which a connection that brings nothing is given up.
    """

    def __init__(self, url: str, start: int, stall: int) -> None:
        self.shown, self.start = without_credentials(url), start
        self._handle = _open(url, start, stall)

    @property
    def announced(self) -> int | None:
        """Bytes of the whole file as the server says, known from the first chunk on."""
        coming = self._handle.getinfo(pycurl.CONTENT_LENGTH_DOWNLOAD_T)
        return self.start + int(coming) if coming >= 0 else None

    def chunks(self) -> Generator[bytes, None, None]:
        """The bytes as they come, once.

        Raises:
            TemporaryError: what may pass.
            OffsetError: there is nothing to be had from `start` on.
            UserError: what will not pass: no such file or host, no access.
        """
        received: list[bytes] = []
        # a method in C: a signal or an error within a callback would be lost in libcurl
        self._handle.setopt(pycurl.WRITEFUNCTION, received.append)
        multi = pycurl.CurlMulti()
        multi.add_handle(self._handle)
        try:
            running = 1
            while running:
                _, running = multi.perform()
                yield from received
                received.clear()
                if running:
                    multi.select(1.0)
            self._check_end(multi.info_read()[2])
        finally:
            multi.remove_handle(self._handle)
            self._handle.close()
            multi.close()

    def _check_end(self, failed: list[tuple[object, int, str]]) -> None:
        answer = int(self._handle.getinfo(pycurl.RESPONSE_CODE))
        code, said = failed[0][1:] if failed else (pycurl.E_OK, "")
        # libcurl takes 416 for the end of the file, which it is if the offset is its size
        if self.start and (code in _NO_OFFSET or answer == 416):
            raise OffsetError(f"the server does not send it from byte {self.start} on")
        if code == pycurl.E_OK:
            return
        if self._is_final(code, answer):
            raise UserError(
                f"{self.shown} is not to be had ({said}), expected a file there: check the "
                "address, the login and the network"
            )
        raise TemporaryError(said or f"curl error {code}")

    def _is_final(self, code: int, answer: int) -> bool:
        if code in _UNKNOWN_HOST:
            return not self.start  # one that has sent a part is known: the network is away
        if code == pycurl.E_HTTP_RETURNED_ERROR:
            return answer < 500 and answer not in _BUSY
        return code in _FINAL or (code in _REFUSED and answer >= 500)  # FTP: 4xx may pass


def without_credentials(url: str) -> str:
    """The URL without user, password and query, which may be secret."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl()


def _open(url: str, start: int, stall: int) -> pycurl.Curl:
    handle = pycurl.Curl()
    options = {
        pycurl.URL: url,
        pycurl.PROTOCOLS: _PROTOCOLS,
        pycurl.REDIR_PROTOCOLS: _OVER_HTTP,
        pycurl.FOLLOWLOCATION: 1,
        pycurl.MAXREDIRS: 10,
        pycurl.FAILONERROR: 1,
        pycurl.RESUME_FROM_LARGE: start,
        pycurl.BUFFERSIZE: _BUFFER,
        pycurl.CONNECTTIMEOUT: stall,
        pycurl.FTP_RESPONSE_TIMEOUT: stall,
        pycurl.LOW_SPEED_LIMIT: _LOW_SPEED,
        pycurl.LOW_SPEED_TIME: stall,
        pycurl.NOSIGNAL: 1,  # else time-outs are signals, which threads cannot have
        # pycurl's wheels know no certificates; a site's own authority goes before the public ones
        pycurl.CAINFO: os.environ.get("SSL_CERT_FILE", certifi.where()),
    }
    for option, value in options.items():
        handle.setopt(option, value)
    return handle
