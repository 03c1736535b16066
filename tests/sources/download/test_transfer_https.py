"""Transfers over HTTPS, from a server whose certificate this machine made for itself."""

import hashlib
import ipaddress
import random
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509  # comes with MLflow
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from servers import HttpServer

from eocontrast.runtime.errors import UserError
from eocontrast.sources.download.transfer import fetch_file

CONTENT = random.Random(1).randbytes(100_001)
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 and its key, in one file."""
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


@pytest.fixture
def server(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = HttpServer({"/a.zip": CONTENT}, context=context)
    yield server
    server.stop()


def test_a_cut_transfer_goes_on_at_its_byte(
    server: HttpServer, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server.ends = [1, 50_000, len(CONTENT) - 1]
    target = fetch_file(f"{server.url}/a.zip", tmp_path / "a.zip", md5=MD5, pause=0.01)
    assert target.read_bytes() == CONTENT
    assert server.sent == len(CONTENT)
    asked = [None, *(f"bytes={end}-" for end in (1, 50_000, len(CONTENT) - 1))]
    assert server.asked == asked


def test_a_server_that_nobody_vouches_for_is_refused_at_once(
    server: HttpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with pytest.raises(UserError, match=r"a\.zip is not to be had .*certificate"):
        fetch_file(f"{server.url}/a.zip", tmp_path / "a.zip", md5=MD5)
    assert not server.asked
    assert not list(tmp_path.iterdir())
