"""Verified transfer of large files, which goes on where it stopped.

Nothing stands under its final name before its hash is right; until then it is `<name>.partial`.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import closing
from pathlib import Path

from tqdm import tqdm

from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import check_free_disk, file_md5
from eocontrast.sources.download.curl import (
    OffsetError,
    Request,
    TemporaryError,
    without_credentials,
)
from eocontrast.sources.download.partial import PartialFile

_LONGEST_PAUSE = 60.0  # seconds


def fetch_file(
    url: str,
    target: Path,
    *,
    md5: str,
    size: int | None = None,
    beside: int | None = 0,
    attempts: int = 8,
    pause: float = 1.0,
    stall: int = 60,
) -> Path:
    """The file of a URL at `target`; one that is there already is kept if its hash is right.

    Args:
        url: ftp, ftps, http or https; may hold a user and a password.
        target: where to keep it.
        md5: of the file, in hex.
        size: of the file in bytes, where known: then its room is checked before the first request.
        beside: bytes that must be free beside it, such as for what it unpacks to; where None they
            are not known, and taken for as many as the file has.
        attempts: connections in a row that may fail without a new byte.
        pause: seconds before the second of them, doubled each time up to a minute.
        stall: seconds after which a connection that brings nothing is given up.

    Raises:
        UserError: no such file or host, no access, no connection in all attempts, another size or
            hash, or a full disk.
    """
    md5 = md5.lower()
    if target.exists() and size in (None, target.stat().st_size) and file_md5(target) == md5:
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with PartialFile(target.with_name(f"{target.name}.partial")) as partial:
            _Transfer(url, partial, md5, size, beside, stall).run(attempts, pause)
        os.replace(partial.path, target)
    except OSError as error:
        raise UserError(
            f"{target} cannot be written ({error}): is there room, and is the folder yours?"
        ) from error
    return target


class _Transfer:
    """A file on its way from `url` into `partial`."""

    def __init__(
        self,
        url: str,
        partial: PartialFile,
        md5: str,
        size: int | None,
        beside: int | None,
        stall: int,
    ) -> None:
        self.url, self.shown = url, without_credentials(url)
        self.partial, self.md5, self.size = partial, md5, size
        self.beside, self.stall = beside, stall
        self.bar = tqdm(
            total=size,
            desc=partial.path.stem,
            initial=partial.size,
            unit="B",
            unit_scale=True,
            disable=None,
        )

    def run(self, attempts: int, pause: float) -> None:
        """Fetch what is missing and check the whole."""
        with self.bar:
            if self.size is not None:
                if self.partial.size > self.size:
                    self._start_over("holds more than the file")
                self._check_room(self.size)
            self._persist(attempts, pause)
        if self.partial.md5 != self.md5:
            self._refuse(f"has md5 {self.partial.md5}, expected {self.md5}")

    def _persist(self, attempts: int, pause: float) -> None:
        """Connect until all is there; only bytes beyond all earlier ones are progress."""
        failures, furthest = 0, self.partial.size
        while self.partial.size != self.size:
            try:
                self._receive()
                break
            except OffsetError as error:
                if self.partial.md5 == self.md5:
                    break
                self._start_over(str(error))
                continue
            except TemporaryError as error:
                said = str(error)
            failures = 1 if self.partial.size > furthest else failures + 1
            furthest = max(furthest, self.partial.size)
            self._wait(said, failures, attempts, pause)

    def _receive(self) -> None:
        request = Request(self.url, self.partial.size, self.stall)
        with closing(request.chunks()) as chunks:
            for chunk in chunks:
                if self.partial.size == request.start:
                    self._check_announced(request.announced)
                self.partial.append(chunk)
                self.bar.update(len(chunk))
                if self.size is not None and self.partial.size > self.size:
                    self._refuse(f"goes on after the expected {self.size} bytes")
        if self.size is not None and self.partial.size < self.size:
            raise TemporaryError(
                f"the connection ended at {self.partial.size} of {self.size} bytes"
            )

    def _wait(self, said: str, failures: int, attempts: int, pause: float) -> None:
        if failures >= attempts:
            raise UserError(
                f"{self.shown} stopped at byte {self.partial.size} ({said}), and {attempts} "
                "attempts brought nothing more: check the network, then run it again to go on"
            )
        seconds = min(pause * 2 ** (failures - 1), _LONGEST_PAUSE)
        self._say(f"{said}; the next attempt is in {seconds:g} s")
        time.sleep(seconds)

    def _check_announced(self, announced: int | None) -> None:
        if announced is None:
            return
        if self.size is None:
            self.bar.total = announced
            self._check_room(announced)
        elif announced != self.size:
            raise UserError(
                f"{self.shown} has {announced} bytes, expected {self.size}: the server holds "
                "another file, check the address"
            )

    def _check_room(self, size: int) -> None:
        beside = size if self.beside is None else self.beside
        missing = size - self.partial.size + beside
        check_free_disk(self.partial.path.parent, missing, self.shown)

    def _start_over(self, reason: str) -> None:
        self.partial.clear()
        self.bar.reset()
        self._say(f"{reason}; starting over")

    def _refuse(self, found: str) -> None:
        self.partial.clear()  # which removes it in the end
        raise UserError(
            f"{self.shown} {found}: what was transferred is removed; check that the address is "
            "right, then run it again"
        )

    def _say(self, what: str) -> None:
        self.bar.write(f"{self.shown}: {what}", file=sys.stderr)
