"""A file that is not all there yet: its bytes on disk, and the digest of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType
from typing import Self


class PartialFile:
    """Appends to `path`, going on behind what an earlier run left there.

    Args:
        path: made if it is not there; after an error removed if it is empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a+b")
        self._file.seek(0)
        self._digest = hashlib.file_digest(self._file, _new_md5)
        self.size = self._file.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        if error and not self.size:
            self.path.unlink(missing_ok=True)

    @property
    def md5(self) -> str:
        """Of what is there, in hex."""
        return self._digest.hexdigest()

    def append(self, data: bytes) -> None:
        """Write behind what is there."""
        self._file.write(data)
        self._digest.update(data)
        self.size += len(data)

    def clear(self) -> None:
        """Begin anew."""
        self._file.truncate(0)
        self._digest, self.size = _new_md5(), 0


def _new_md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)  # the publisher's choice, against damage alone
