import hashlib
from pathlib import Path

import pytest

from eocontrast.sources.download.partial import PartialFile


def test_what_is_there_is_part_of_the_digest(tmp_path: Path) -> None:
    path = tmp_path / "a.partial"
    for part in (b"", b"ab", b"c" * 100_000, b"d"):
        with PartialFile(path) as partial:
            partial.append(part)
        assert partial.size == path.stat().st_size
        assert partial.md5 == hashlib.md5(path.read_bytes()).hexdigest()
    assert path.read_bytes() == b"ab" + b"c" * 100_000 + b"d"


def test_cleared_it_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.partial"
    path.write_bytes(b"old")
    with PartialFile(path) as partial:
        partial.append(b"er")
        partial.clear()
        partial.append(b"new")
    assert path.read_bytes() == b"new"
    assert (partial.size, partial.md5) == (3, hashlib.md5(b"new").hexdigest())


@pytest.mark.parametrize("content", [b"", b"some"])
def test_an_error_keeps_bytes_and_no_empty_file(tmp_path: Path, content: bytes) -> None:
    partial = PartialFile(tmp_path / "a.partial")
    partial.append(content)
    with pytest.raises(RuntimeError), partial:
        raise RuntimeError
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([content] if content else [])
