import hashlib
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from eocontrast.disk import check_free_disk, file_md5, file_sha256
from eocontrast.errors import UserError


@pytest.mark.parametrize("free", [0, 2**20 - 1])
def test_too_little_room_is_said_with_both_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(UserError, match=r"the store needs 1\.0 MiB, .* has \d\.\d MiB free"):
        check_free_disk(tmp_path, 2**20, "the store")


def test_enough_room_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
    check_free_disk(tmp_path, 2**20, "the store")


def test_a_file_is_hashed_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"pairs" * 100_000)
    assert file_md5(tmp_path / "a") == hashlib.md5(b"pairs" * 100_000).hexdigest()
    assert file_sha256(tmp_path / "a") == hashlib.sha256(b"pairs" * 100_000).hexdigest()
    with pytest.raises(UserError, match="cannot be read"):
        file_md5(tmp_path)
