"""Downloads from servers on this machine that cut, stall, refuse or cannot resume."""

import hashlib
import ipaddress
import random
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509  # comes with MLflow
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from servers import FtpServer, HttpServer

from eocontrast.runtime.errors import UserError
from eocontrast.sources.download.transfer import fetch_file, without_credentials

CONTENT = random.Random(0).randbytes(200_001)
PATH = "/pairs.tar.gz"
MD5, SIZE, HALF = hashlib.md5(CONTENT).hexdigest(), len(CONTENT), len(CONTENT) // 2
PAUSE = 120
"""Seconds that a server is silent: nobody may wait for its end."""


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1,nowhere.invalid")


@pytest.fixture
def http() -> Iterator[HttpServer]:
    server = HttpServer({PATH: CONTENT})
    server.url += PATH
    yield server
    server.stop()


@pytest.fixture
def ftp(tmp_path: Path) -> Iterator[FtpServer]:
    (tmp_path / "served").mkdir()
    (tmp_path / f"served{PATH}").write_bytes(CONTENT)
    server = FtpServer(tmp_path / "served")
    server.url += PATH
    yield server
    server.stop()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "raw" / "pairs.tar.gz"


def write_partial(target: Path, content: bytes) -> None:
    target.parent.mkdir(exist_ok=True)
    target.with_name("pairs.tar.gz.partial").write_bytes(content)


def check_complete(target: Path) -> None:
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("sizes", [True, False])
def test_file_is_downloaded_once(
    http: HttpServer, target: Path, sizes: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    http.sizes = sizes
    for _ in range(2):
        assert fetch_file(http.url, target, md5=MD5) == target
    check_complete(target)
    assert http.asked == [None]
    assert capsys.readouterr().err == ""


def test_ftp_file_is_downloaded_once(ftp: FtpServer, target: Path) -> None:
    for _ in range(2):
        fetch_file(ftp.url, target, md5=MD5)
    check_complete(target)
    assert (ftp.sent, ftp.logins) == (SIZE, 1)


def test_damaged_target_is_replaced(http: HttpServer, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"x" * SIZE)
    http.refusals = [404]
    with pytest.raises(UserError, match="404"):
        fetch_file(http.url, target, md5=MD5)
    assert target.read_bytes() == b"x" * SIZE
    fetch_file(http.url, target, md5=MD5)
    check_complete(target)


@pytest.mark.parametrize("end", [0, 1, HALF, SIZE - 1])
def test_cut_download_resumes(http: HttpServer, target: Path, end: int) -> None:
    http.ends = [end, end]  # the second connection brings nothing
    fetch_file(http.url, target, md5=MD5, attempts=3, pause=0.01)
    check_complete(target)
    assert http.sent == SIZE
    assert http.asked == [None, *[f"bytes={end}-" if end else None] * 2]


@pytest.mark.parametrize("cut", [1, HALF, SIZE - 1])
def test_cut_ftp_download_resumes(ftp: FtpServer, target: Path, cut: int) -> None:
    ftp.cuts = [cut]
    fetch_file(ftp.url, target, md5=MD5, attempts=2, pause=0.01)
    check_complete(target)
    assert ftp.sent == SIZE


@pytest.mark.parametrize("present", [1, HALF, SIZE])
def test_partial_file_is_completed(
    http: HttpServer, ftp: FtpServer, target: Path, present: int
) -> None:
    for server in (http, ftp):
        write_partial(target, CONTENT[:present])
        fetch_file(server.url, target, md5=MD5)
        check_complete(target)
        assert server.sent == SIZE - present
        target.unlink()


@pytest.mark.parametrize("content", [CONTENT + b"x", b"x" * HALF])
def test_partial_of_another_file(
    http: HttpServer, ftp: FtpServer, target: Path, content: bytes
) -> None:
    for server in (http, ftp):
        write_partial(target, content)
        fetch_file(server.url, target, md5=MD5, pause=0)
        check_complete(target)
        target.unlink()


@pytest.mark.parametrize("ranges", ["unknown", "refused"])
def test_server_without_ranges(http: HttpServer, target: Path, ranges: str) -> None:
    http.ranges = ranges
    write_partial(target, CONTENT[:HALF])
    fetch_file(http.url, target, md5=MD5, pause=0)
    check_complete(target)
    assert http.asked == [f"bytes={HALF}-", None]


def test_attempts_restart_with_progress(http: HttpServer, target: Path) -> None:
    http.ends = [end for step in range(1, 9) for end in (step * 9000, step * 9000)]
    fetch_file(http.url, target, md5=MD5, attempts=3, pause=0)
    check_complete(target)
    assert http.sent == SIZE


@pytest.mark.parametrize("ranges", ["known", "unknown"])
def test_no_progress_keeps_the_partial(http: HttpServer, target: Path, ranges: str) -> None:
    http.ends, http.ranges = [HALF] * 50, ranges
    start = time.monotonic()
    with pytest.raises(UserError, match=r"stopped at byte \d+ .*; 3 attempts received nothing"):
        fetch_file(http.url, target, md5=MD5, attempts=3, pause=0.05)
    assert time.monotonic() - start >= 0.05 + 0.1  # the pause doubles
    assert [path.stat().st_size for path in target.parent.iterdir()] == [HALF]


@pytest.mark.parametrize("start", [0, HALF])
def test_wrong_digest_removes_the_download(http: HttpServer, target: Path, start: int) -> None:
    if start:
        write_partial(target, CONTENT[:start])
    http.files[PATH] = CONTENT[:-1] + b"x"
    digest = hashlib.md5(http.files[PATH]).hexdigest()
    with pytest.raises(UserError, match=f"has md5 {digest}, expected {MD5}"):
        fetch_file(http.url, target, md5=MD5)
    assert not list(target.parent.iterdir())
    assert len(http.asked) == (2 if start else 1)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_refusal_is_final(http: HttpServer, target: Path, status: int) -> None:
    http.refusals = [status] * 3
    url = http.url.replace("//", "//user:secret@") + "?token=secret"
    with pytest.raises(UserError, match=f"{http.url} cannot be downloaded .*{status}") as caught:
        fetch_file(url, target, md5=MD5)
    assert "secret" not in str(caught.value)
    assert len(http.asked) == 1
    assert not list(target.parent.iterdir())


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("pairs", "pears", ""),
        ("/pairs", "/no/pairs", ""),
        ("secret", "guess", "Access denied: 530"),
    ],
)
def test_ftp_refusal_is_final(
    ftp: FtpServer, target: Path, old: str, new: str, reason: str
) -> None:
    with pytest.raises(UserError, match=rf"ftp://127.* cannot be downloaded .*{reason}") as caught:
        fetch_file(ftp.url.replace(old, new), target, md5=MD5)
    assert "secret" not in str(caught.value)
    assert "guess" not in str(caught.value)
    assert ftp.logins == 1
    assert not list(target.parent.iterdir())


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///etc/hostname", "rotocol"),
        ("scp://user:secret@127.0.0.1/a", "rotocol"),
        ("http://user:secret@127.0.0.1:x/a", "ort"),
        ("http://user:secret@nowhere.invalid/a", "resolve"),
    ],
)
def test_unusable_address_is_final(target: Path, url: str, reason: str) -> None:
    with pytest.raises(UserError, match=f"cannot be downloaded .*{reason}") as caught:
        fetch_file(url, target, md5=MD5)
    assert "secret" not in str(caught.value)


def test_busy_server_is_retried(http: HttpServer, target: Path) -> None:
    http.refusals = [503, 429, 500]
    fetch_file(http.url, target, md5=MD5, attempts=4, pause=0)
    check_complete(target)


def test_unreachable_server_is_retried(ftp: FtpServer, target: Path) -> None:
    ftp.stop()
    start = time.monotonic()
    with pytest.raises(UserError, match=r"stopped at byte 0 .*3 attempts"):
        fetch_file(ftp.url, target, md5=MD5, attempts=3, pause=0.05)
    assert time.monotonic() - start >= 0.15


def test_redirects_stay_on_http(http: HttpServer, target: Path) -> None:
    http.moved = {"/old": http.url, "/file": target.as_uri(), "/ftp": "ftp://127.0.0.1/x"}
    root = http.url.rpartition("/")[0]
    for path in ("file", "ftp"):
        with pytest.raises(UserError, match="cannot be downloaded"):
            fetch_file(f"{root}/{path}", target, md5=MD5)
    fetch_file(f"{root}/old", target, md5=MD5)
    check_complete(target)


@pytest.mark.parametrize(("beside", "needed"), [(0, SIZE - HALF), (None, 2 * SIZE - HALF)])
def test_full_disk_stops_the_download(
    http: HttpServer,
    target: Path,
    beside: int | None,
    needed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_partial(target, CONTENT[:HALF])
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=needed - 1))
    with pytest.raises(UserError, match=r"needs 0\.\d MiB, .* has 0\.\d MiB free"):
        fetch_file(http.url, target, md5=MD5, beside=beside)
    assert [path.stat().st_size for path in target.parent.iterdir()] == [HALF]
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=needed))
    fetch_file(http.url, target, md5=MD5, beside=beside)
    check_complete(target)


def test_stalled_download_reconnects(http: HttpServer, target: Path) -> None:
    released = threading.Event()
    # few bytes: the speed is an average over the last seconds
    http.ends, http.after = [500], lambda: len(http.asked) > 1 or released.wait(PAUSE)
    start = time.monotonic()
    # a busy machine may be silent for a second as well
    fetch_file(http.url, target, md5=MD5, pause=0, stall=3)
    released.set()
    check_complete(target)
    assert http.sent == SIZE
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_killed_download_resumes(http: HttpServer, target: Path, end: signal.Signals) -> None:
    released = threading.Event()
    http.ends, http.after = [HALF], lambda: len(http.asked) > 1 or released.wait(PAUSE)
    code = (
        "import sys; from pathlib import Path\n"
        "from eocontrast.sources.download.transfer import fetch_file\n"
        f"fetch_file(sys.argv[1], Path(sys.argv[2]), md5='{MD5}')"
    )
    command = [sys.executable, "-c", code, http.url, str(target)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        partial = target.with_name("pairs.tar.gz.partial")
        while not (partial.exists() and partial.stat().st_size > HALF - 2**13):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(end)
        assert process.wait(5) != 0
    assert not target.exists()
    present = partial.stat().st_size
    released.set()
    fetch_file(http.url, target, md5=MD5)
    check_complete(target)
    assert http.asked == [None, f"bytes={present}-"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1 and its key, in one file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    signed = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(1))
        .not_valid_after(now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    path = tmp_path_factory.mktemp("certificate") / "server.pem"
    path.write_bytes(signed.public_bytes(pem) + private)
    return path


def test_https_needs_a_trusted_certificate(
    certificate: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = HttpServer({PATH: CONTENT}, context=context)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(UserError, match=r"pairs\.tar\.gz cannot be downloaded .*certificate"):
        fetch_file(server.url + PATH, target, md5=MD5)
    assert not server.asked
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server.ends = [1, HALF, SIZE - 1]
    fetch_file(server.url + PATH, target, md5=MD5, pause=0.01)
    server.stop()
    check_complete(target)
    assert server.asked == [None, *(f"bytes={end}-" for end in (1, HALF, SIZE - 1))]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("ftp://user:pw@host/a.tar.gz", "ftp://host/a.tar.gz"),
        ("ftp://user:p%40w@host:21/a", "ftp://host:21/a"),
        ("ftp://user:p@w@host/a@b", "ftp://host/a@b"),
        ("https://host/a?signature=pw#b", "https://host/a"),
        ("https://[::1]:80/a", "https://[::1]:80/a"),
    ],
)
def test_credentials_are_removed(url: str, shown: str) -> None:
    assert without_credentials(url) == shown
