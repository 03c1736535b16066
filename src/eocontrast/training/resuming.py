"""Where a stage keeps what it must not do twice: DVC removes its outputs before it runs again.

Names are digests of all that determines the result, so that a changed parameter, state of the data
or line of code never goes on from something stale.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from eocontrast.runtime.files import code_sha256

LIBRARIES = ("accelerate", "numpy", "timm", "torch")
"""Whose versions may change a sum."""


def digest(*determined_by: object) -> str:
    """Names a result by what determines it, the code, the libraries and the threads included."""
    threads = torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()
    libraries = [version(name) for name in LIBRARIES]
    told = repr((*determined_by, code_sha256(), libraries, threads))
    return hashlib.sha256(told.encode()).hexdigest()


def kept_folder() -> Path:
    """The project's, which outlasts the temporary folder of a queued experiment."""
    return Path(os.environ.get("DVC_ROOT", ".")).absolute() / "checkpoints"


@contextmanager
def kept(name: str) -> Iterator[Path | None]:
    """A path without suffix to keep things at until the block ends without an error.

    None where another process works on the same at this moment, such as the other experiment of a
    queue: it has the path, and this one keeps nothing.

    Args:
        name: as `digest` gives it.
    """
    place = kept_folder() / name
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place.with_suffix(".lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield None
        return
    with lock:
        yield place
        for left in place.parent.glob(f"{name}*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
