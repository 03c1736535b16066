"""Transfers from a real FTP server."""

import hashlib
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import FtpServer

from eocontrast.runtime.errors import UserError
from eocontrast.sources.download.transfer import fetch_file

CONTENT = random.Random(1).randbytes(300_001)
MD5, SIZE, HALF = hashlib.md5(CONTENT).hexdigest(), len(CONTENT), len(CONTENT) // 2


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FtpServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "served").mkdir()
    (tmp_path / "served/pairs.tar.gz").write_bytes(CONTENT)
    server = FtpServer(tmp_path / "served")
    server.url += "/pairs.tar.gz"
    yield server
    server.stop()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "raw" / "pairs.tar.gz"


def check_whole(target: Path) -> None:
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("size", [SIZE, None])
def test_a_file_is_fetched_once(server: FtpServer, target: Path, size: int | None) -> None:
    fetch_file(server.url, target, md5=MD5, size=size)
    fetch_file(server.url, target, md5=MD5, size=size)
    check_whole(target)
    assert (server.sent, server.logins) == (SIZE, 1)


@pytest.mark.parametrize("cut", [1, HALF, SIZE - 1])
def test_a_cut_transfer_goes_on_at_its_byte(server: FtpServer, target: Path, cut: int) -> None:
    server.cuts = [cut]
    fetch_file(server.url, target, md5=MD5, attempts=2, pause=0.01)
    check_whole(target)
    assert server.sent == SIZE


@pytest.mark.parametrize("there", [1, HALF, SIZE])
def test_an_earlier_run_is_gone_on_with(server: FtpServer, target: Path, there: int) -> None:
    target.parent.mkdir()
    target.with_name("pairs.tar.gz.partial").write_bytes(CONTENT[:there])
    fetch_file(server.url, target, md5=MD5)
    check_whole(target)
    assert server.sent == SIZE - there


def test_more_than_the_file_starts_over(server: FtpServer, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("pairs.tar.gz.partial").write_bytes(CONTENT + b"x")
    fetch_file(server.url, target, md5=MD5)
    check_whole(target)


def test_another_size_or_hash_is_said(server: FtpServer, target: Path) -> None:
    with pytest.raises(UserError, match=f"has {SIZE} bytes, expected 7"):
        fetch_file(server.url, target, md5=MD5, size=7)
    with pytest.raises(UserError, match=f"has md5 {MD5}, expected {'0' * 32}"):
        fetch_file(server.url, target, md5="0" * 32)
    assert not list(target.parent.iterdir())


@pytest.mark.parametrize(("old", "new"), [("pairs", "pears"), ("/pairs", "/no/pairs")])
def test_no_such_file_is_said_at_once(server: FtpServer, target: Path, old: str, new: str) -> None:
    with pytest.raises(UserError, match=r"ftp://127.*is not to be had") as caught:
        fetch_file(server.url.replace(old, new), target, md5=MD5)
    assert "secret" not in str(caught.value)
    assert server.logins == 1
    assert not list(target.parent.iterdir())


def test_a_refused_login_is_said_at_once(server: FtpServer, target: Path) -> None:
    with pytest.raises(UserError, match=r"Access denied: 530.*check the address, the login") as why:
        fetch_file(server.url.replace("secret", "guess"), target, md5=MD5)
    assert "guess" not in str(why.value)
    assert server.logins == 1


def test_a_server_that_is_away_is_tried_again(server: FtpServer, target: Path) -> None:
    server.stop()
    start = time.monotonic()
    with pytest.raises(UserError, match=r"stopped at byte 0 .*3 attempts"):
        fetch_file(server.url, target, md5=MD5, attempts=3, pause=0.05)
    assert time.monotonic() - start >= 0.15
