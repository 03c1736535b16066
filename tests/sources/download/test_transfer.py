"""Transfers from a real HTTP server that cuts, stalls, refuses or knows no ranges."""

import hashlib
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from servers import HttpServer

from eocontrast.runtime.errors import UserError
from eocontrast.sources.download.transfer import fetch_file

CONTENT = random.Random(0).randbytes(200_001)
PATH = "/pairs.tar.gz"
MD5, SIZE, HALF = hashlib.md5(CONTENT).hexdigest(), len(CONTENT), len(CONTENT) // 2


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = HttpServer({PATH: CONTENT})
    server.url += PATH
    yield server
    server.stop()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "raw" / "pairs.tar.gz"


def partial_of(target: Path, content: bytes) -> Path:
    path = target.with_name("pairs.tar.gz.partial")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def check_whole(target: Path) -> None:
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("size", [SIZE, None])
@pytest.mark.parametrize("sizes", [True, False])
def test_a_file_is_fetched_once_and_quietly(
    server: HttpServer,
    target: Path,
    size: int | None,
    sizes: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.sizes = sizes
    assert fetch_file(server.url, target, md5=MD5.upper(), size=size) == target
    assert fetch_file(server.url, target, md5=MD5, size=size) == target
    check_whole(target)
    assert server.asked == [None]
    assert capsys.readouterr().err == ""


def test_a_damaged_file_is_replaced_by_a_right_one_alone(server: HttpServer, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"x" * SIZE)
    server.refusals = [404]
    with pytest.raises(UserError, match="404"):
        fetch_file(server.url, target, md5=MD5)
    assert target.read_bytes() == b"x" * SIZE
    fetch_file(server.url, target, md5=MD5)
    check_whole(target)


@pytest.mark.parametrize("sizes", [True, False])
@pytest.mark.parametrize("end", [0, 1, HALF, SIZE - 1])
def test_a_cut_transfer_goes_on_at_its_byte(
    server: HttpServer, target: Path, end: int, sizes: bool
) -> None:
    server.ends, server.sizes = [end, end], sizes  # the second brings nothing
    fetch_file(server.url, target, md5=MD5, size=SIZE, attempts=3, pause=0.01)
    check_whole(target)
    assert server.sent == SIZE
    assert server.asked == [None, *[f"bytes={end}-" if end else None] * 2]


def test_attempts_are_counted_anew_when_bytes_arrived(server: HttpServer, target: Path) -> None:
    server.ends = [end for step in range(1, 9) for end in (step * 9000, step * 9000)]
    fetch_file(server.url, target, md5=MD5, attempts=3, pause=0)
    check_whole(target)
    assert server.sent == SIZE


@pytest.mark.parametrize("ranges", ["known", "unknown", "refused"])
def test_no_progress_ends_with_what_is_there_kept(
    server: HttpServer, target: Path, ranges: str
) -> None:
    server.ends, server.ranges = [HALF] * 50, ranges
    start = time.monotonic()
    with pytest.raises(UserError, match=rf"stopped at byte {HALF} .*, and 3 attempts"):
        fetch_file(server.url, target, md5=MD5, attempts=3, pause=0.05)
    assert time.monotonic() - start >= 0.05 + 0.1  # the pause is doubled
    assert [path.stat().st_size for path in target.parent.iterdir()] == [HALF]
    assert len(server.asked) <= 6


@pytest.mark.parametrize("ranges", ["unknown", "refused"])
def test_a_server_without_ranges_starts_over(server: HttpServer, target: Path, ranges: str) -> None:
    server.ranges = ranges
    partial_of(target, CONTENT[:HALF])
    fetch_file(server.url, target, md5=MD5, size=SIZE, attempts=1)
    check_whole(target)
    assert server.asked == [f"bytes={HALF}-", None]


def test_a_partial_file_that_holds_all_needs_no_byte(server: HttpServer, target: Path) -> None:
    partial_of(target, CONTENT)
    fetch_file(server.url, target, md5=MD5)
    check_whole(target)
    assert server.sent == 0
    target.rename(partial_of(target, b""))
    fetch_file("http://nowhere.invalid", target, md5=MD5, size=SIZE)
    check_whole(target)


def test_more_than_the_file_starts_over(server: HttpServer, target: Path) -> None:
    partial_of(target, CONTENT + b"x")
    fetch_file(server.url, target, md5=MD5, size=SIZE)
    check_whole(target)
    partial_of(target, CONTENT + b"x")
    target.unlink()
    fetch_file(server.url, target, md5=MD5)
    check_whole(target)


@pytest.mark.parametrize("start", [0, HALF])
def test_a_wrong_hash_is_named_and_its_bytes_removed(
    server: HttpServer, target: Path, start: int
) -> None:
    partial_of(target, b"x" * start)
    server.files[PATH] = CONTENT[:-1] + b"x"
    found = hashlib.md5(b"x" * start + server.files[PATH][start:]).hexdigest()
    with pytest.raises(UserError, match=f"has md5 {found}, expected {MD5}"):
        fetch_file(server.url, target, md5=MD5, size=SIZE)
    assert not list(target.parent.iterdir())
    assert len(server.asked) == 1


@pytest.mark.parametrize("content", [CONTENT + b"x", CONTENT[:-1]])
def test_another_size_is_seen_before_the_transfer(
    server: HttpServer, target: Path, content: bytes
) -> None:
    server.files[PATH] = content
    with pytest.raises(UserError, match=rf"has {len(content)} bytes, expected {SIZE}"):
        fetch_file(server.url, target, md5=MD5, size=SIZE)
    assert not list(target.parent.iterdir())
    server.sizes = False  # then only when it comes
    with pytest.raises(UserError, match=f"after the expected {SIZE} bytes|stopped at byte"):
        fetch_file(server.url, target, md5=MD5, size=SIZE, attempts=1)
    assert not target.exists()


@pytest.mark.parametrize("answer", [401, 403, 404, 410])
def test_a_refusal_is_said_at_once_without_the_password(
    server: HttpServer, target: Path, answer: int
) -> None:
    server.refusals = [answer] * 3
    url = server.url.replace("//", "//user:secret@") + "?token=secret"
    with pytest.raises(UserError, match=f"{server.url} is not to be had .*{answer}") as caught:
        fetch_file(url, target, md5=MD5, size=SIZE)
    assert "secret" not in str(caught.value)
    assert len(server.asked) == 1
    assert not list(target.parent.iterdir())


def test_a_busy_server_is_asked_again(server: HttpServer, target: Path) -> None:
    server.refusals = [503, 429, 500]
    fetch_file(server.url, target, md5=MD5, size=SIZE, attempts=4, pause=0)
    check_whole(target)


def test_a_redirect_is_followed_over_http_alone(server: HttpServer, target: Path) -> None:
    server.moved = {"/old": server.url, "/file": target.as_uri(), "/ftp": "ftp://127.0.0.1/x"}
    root = server.url.rpartition("/")[0]
    for path in ("file", "ftp"):
        with pytest.raises(UserError, match="is not to be had"):
            fetch_file(f"{root}/{path}", target, md5=MD5)
    fetch_file(f"{root}/old", target, md5=MD5)
    check_whole(target)


@pytest.mark.parametrize("size", [SIZE, None])
def test_a_full_disk_is_seen_beforehand(
    server: HttpServer, target: Path, size: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial_of(target, CONTENT[:HALF])
    coming = SIZE - HALF
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=coming - 1))
    with pytest.raises(UserError, match=r"needs 0.1 MiB, .* has 0.1 MiB free"):
        fetch_file(server.url, target, md5=MD5, size=size)
    assert len(server.asked) == (0 if size else 1)
    assert [path.stat().st_size for path in target.parent.iterdir()] == [HALF]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=coming))
    fetch_file(server.url, target, md5=MD5, size=size)
    check_whole(target)


def test_an_unknown_content_is_taken_for_as_large_as_the_file(
    server: HttpServer, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2 * SIZE - 1))
    with pytest.raises(UserError, match="free some space"):
        fetch_file(server.url, target, md5=MD5, beside=None)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2 * SIZE))
    fetch_file(server.url, target, md5=MD5, beside=None)
    check_whole(target)


def test_a_stalled_transfer_is_connected_anew(server: HttpServer, target: Path) -> None:
    released = threading.Event()
    # few bytes: the speed is an average of the last seconds
    server.ends, server.after = [500], lambda: len(server.asked) > 1 or released.wait(30)
    start = time.monotonic()
    fetch_file(server.url, target, md5=MD5, size=SIZE, pause=0, stall=1)
    released.set()
    check_whole(target)
    assert server.sent == SIZE
    assert time.monotonic() - start < 10


def test_a_server_that_was_restarted_is_found_again(server: HttpServer, target: Path) -> None:
    restarted: list[HttpServer] = []

    def restart() -> None:
        server.stop()
        time.sleep(0.3)
        restarted.append(HttpServer({PATH: CONTENT}, server.server_port))

    server.ends, server.after = [HALF], threading.Thread(target=restart).start
    fetch_file(server.url, target, md5=MD5, size=SIZE, pause=0.1)
    check_whole(target)
    assert server.sent + restarted[0].sent == SIZE
    restarted[0].stop()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_is_gone_on_with(
    server: HttpServer, target: Path, end: signal.Signals
) -> None:
    released = threading.Event()
    server.ends, server.after = [HALF], lambda: len(server.asked) > 1 or released.wait(30)
    code = "import sys; from pathlib import Path; from eocontrast.transfer import fetch_file; "
    code += f"fetch_file(sys.argv[1], Path(sys.argv[2]), md5='{MD5}')"
    command = [sys.executable, "-c", code, server.url, str(target)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        partial = target.with_name("pairs.tar.gz.partial")
        while not (partial.exists() and partial.stat().st_size > HALF - 2**13):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(end)
        assert process.wait(5) != 0
    assert not target.exists()
    kept = partial.stat().st_size
    released.set()
    fetch_file(server.url, target, md5=MD5, size=SIZE)
    check_whole(target)
    assert server.asked == [None, f"bytes={kept}-"]
