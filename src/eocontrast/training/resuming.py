"""A folder for unfinished work of a stage, since DVC removes outputs before it runs a stage again.

Names are digests of everything that decides the result. After a change of a parameter, the data or
the code, a run therefore starts anew.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from eocontrast.runtime.files import code_sha256

LIBRARIES = ("accelerate", "numpy", "timm", "torch")
"""Libraries whose version may change a sum."""


def digest(*determined_by: object) -> str:
    """Return a digest of what decides a result, including code, libraries and threads."""
    # both decide the order of a sum
    threads = torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()
    libraries = [version(name) for name in LIBRARIES]
    told = repr((*determined_by, code_sha256(), libraries, threads))
    return hashlib.sha256(told.encode()).hexdigest()


def kept_folder() -> Path:
    """Return the project's folder, which outlasts the temporary one of a queued experiment."""
    return Path(os.environ.get("DVC_ROOT", ".")).absolute() / "checkpoints"


WAIT_SECONDS = 10.0
"""Time for a worker of a killed stage to notice and free the lock; it looks once a second, where it
has a core."""


@contextmanager
def kept(name: str) -> Iterator[Path | None]:
    """Yield a path for unfinished work, and remove it if the block ends without an error.

    It is None if another process does the same work now, such as an experiment of a queue.

    Args:
        name: Name that `digest` gives.
    """
    place = kept_folder() / name
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place.with_suffix(".lock"))
    try:
        lock.acquire(timeout=WAIT_SECONDS)
    except Timeout:
        yield None
        return
    with lock:
        yield place
        for left in place.parent.glob(f"{name}*"):
            with suppress(FileNotFoundError):  # another process may remove what a killed one left
                shutil.rmtree(left) if left.is_dir() else left.unlink()
