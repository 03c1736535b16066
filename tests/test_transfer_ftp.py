"""Transfers from a real FTP server."""

import hashlib
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import DTPHandler, FTPHandler
from pyftpdlib.ioloop import IOLoop
from pyftpdlib.servers import FTPServer

from eocontrast.errors import UserError
from eocontrast.transfer import fetch_file

CONTENT = random.Random(1).randbytes(300_001)
MD5, SIZE, HALF = hashlib.md5(CONTENT).hexdigest(), len(CONTENT), len(CONTENT) // 2


class Server:
    """Serves `pairs.tar.gz`; each of `cuts` is how many bytes one of the next connections sends."""

    def __init__(self, folder: Path) -> None:
        (folder / "pairs.tar.gz").write_bytes(CONTENT)
        self.sent, self.logins = 0, 0
        self.cuts: list[int] = []
        authorizer = DummyAuthorizer()
        authorizer.add_user("m1474000", "secret", str(folder), perm="elr")
        state = self

        class Data(DTPHandler):  # type: ignore[misc]  # it has no types
            def __init__(self, *arguments: object) -> None:
                super().__init__(*arguments)
                self.left = state.cuts.pop(0) if state.cuts else None

            def send(self, data: bytes) -> int:
                if self.left == 0:
                    self.close()
                    return 0
                count = int(super().send(data[: self.left]))
                state.sent += count
                self.left = None if self.left is None else self.left - count
                return count

        class Control(FTPHandler):  # type: ignore[misc]
            dtp_handler, use_sendfile, auth_failed_timeout = Data, False, 0

            def on_connect(self) -> None:
                state.logins += 1

        Control.authorizer = authorizer
        self.loop = IOLoop()
        self.server = FTPServer(("127.0.0.1", 0), Control, ioloop=self.loop)
        self.url = f"ftp://m1474000:secret@127.0.0.1:{self.server.address[1]}/pairs.tar.gz"
        self.running = True
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        while self.running:
            self.loop.loop(timeout=0.02, blocking=False)
        self.server.close_all()

    def stop(self) -> None:
        self.running = False
        self.thread.join()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "served").mkdir()
    server = Server(tmp_path / "served")
    yield server
    server.stop()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "raw" / "pairs.tar.gz"


def check_whole(target: Path) -> None:
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("size", [SIZE, None])
def test_a_file_is_fetched_once(server: Server, target: Path, size: int | None) -> None:
    fetch_file(server.url, target, md5=MD5, size=size)
    fetch_file(server.url, target, md5=MD5, size=size)
    check_whole(target)
    assert (server.sent, server.logins) == (SIZE, 1)


@pytest.mark.parametrize("cut", [1, HALF, SIZE - 1])
def test_a_cut_transfer_goes_on_at_its_byte(server: Server, target: Path, cut: int) -> None:
    server.cuts = [cut]
    fetch_file(server.url, target, md5=MD5, attempts=2, pause=0.01)
    check_whole(target)
    assert server.sent == SIZE


@pytest.mark.parametrize("there", [1, HALF, SIZE])
def test_an_earlier_run_is_gone_on_with(server: Server, target: Path, there: int) -> None:
    target.parent.mkdir()
    target.with_name("pairs.tar.gz.partial").write_bytes(CONTENT[:there])
    fetch_file(server.url, target, md5=MD5)
    check_whole(target)
    assert server.sent == SIZE - there


def test_more_than_the_file_starts_over(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("pairs.tar.gz.partial").write_bytes(CONTENT + b"x")
    fetch_file(server.url, target, md5=MD5)
    check_whole(target)


def test_another_size_or_hash_is_said(server: Server, target: Path) -> None:
    with pytest.raises(UserError, match=f"has {SIZE} bytes, expected 7"):
        fetch_file(server.url, target, md5=MD5, size=7)
    with pytest.raises(UserError, match=f"has md5 {MD5}, expected {'0' * 32}"):
        fetch_file(server.url, target, md5="0" * 32)
    assert not list(target.parent.iterdir())


@pytest.mark.parametrize(("old", "new"), [("pairs", "pears"), ("/pairs", "/no/pairs")])
def test_no_such_file_is_said_at_once(server: Server, target: Path, old: str, new: str) -> None:
    with pytest.raises(UserError, match=r"ftp://127.*is not to be had") as caught:
        fetch_file(server.url.replace(old, new), target, md5=MD5)
    assert "secret" not in str(caught.value)
    assert server.logins == 1
    assert not list(target.parent.iterdir())


def test_a_refused_login_is_said_at_once(server: Server, target: Path) -> None:
    with pytest.raises(UserError, match=r"Access denied: 530.*check the address, the login") as why:
        fetch_file(server.url.replace("secret", "guess"), target, md5=MD5)
    assert "guess" not in str(why.value)
    assert server.logins == 1


def test_a_server_that_is_away_is_tried_again(server: Server, target: Path) -> None:
    server.stop()
    start = time.monotonic()
    with pytest.raises(UserError, match=r"stopped at byte 0 .*3 attempts"):
        fetch_file(server.url, target, md5=MD5, attempts=3, pause=0.05)
    assert time.monotonic() - start >= 0.15
