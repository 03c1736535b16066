"""Full disks, short memory and too many open files end a stage with one line.

A limit on a file's size fails a write in its middle as a full disk does, without a mount.
"""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.optim import AdamW

from eocontrast.models.weight_files import save_weights
from eocontrast.normalisation.shards import write_array
from eocontrast.runtime.errors import resource_error
from eocontrast.runtime.files import whole
from eocontrast.runtime.stage import stage
from eocontrast.training.checkpoint import TrainingState
from eocontrast.training.schedule import cosine_schedule

LARGE = 200_000
"""Count of numbers; they take more bytes than the limits below."""


def write_weights(path: Path) -> None:
    save_weights(path, {"a": torch.rand(LARGE)}, {})


def write_checkpoint(path: Path) -> None:
    model = nn.Linear(LARGE, 1)
    optimizer = AdamW(model.parameters())
    scheduler = cosine_schedule(optimizer, 2, 1)
    TrainingState(model, optimizer, scheduler, torch.device("cpu"), path).save()


def write_shard(path: Path) -> None:
    write_array(path, [np.arange(LARGE // 10)] * 10)


def write_table(path: Path) -> None:
    with whole(path) as partial:
        pd.DataFrame({"a": np.random.default_rng(0).random(LARGE)}).to_parquet(partial)


WRITERS = {w.__name__: w for w in (write_weights, write_checkpoint, write_shard, write_table)}


def limited(work: Callable[[], object], *limits: tuple[int, int]) -> tuple[int, str]:
    """Run a stage in a process with these limits; return its exit code and stderr."""
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        code = 1
        try:
            os.dup2(writing, 2)
            sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - as long as the process
            for kind, limit in limits:
                resource.setrlimit(kind, (limit, limit))
            with stage("pretrain"):
                work()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        output = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), output


def check_refused(code: int, message: str) -> None:
    assert (code, message.count("\n")) == (2, 1), message
    assert message.startswith("pretrain: ")


@pytest.mark.parametrize("write", WRITERS.values(), ids=list(WRITERS))
def test_failed_write_leaves_the_old(tmp_path: Path, write: Callable[[Path], None]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    check_refused(*limited(lambda: write(path), (resource.RLIMIT_FSIZE, 100_000)))
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"
    assert limited(lambda: write(path)) == (0, "")
    assert path.stat().st_size > 100_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 512 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("write", WRITERS.values(), ids=list(WRITERS))
def test_full_disk_is_one_line(small_disk: Path, write: Callable[[Path], None]) -> None:
    code, message = limited(lambda: write(small_disk / "file"))
    check_refused(code, message)
    assert "space" in message
    assert not list(small_disk.iterdir())


def test_open_files_limit_is_named(tmp_path: Path) -> None:
    opened: list[object] = []

    def open_all() -> None:
        for number in range(100):
            opened.append((tmp_path / f"{number}").open("w"))

    used = len(os.listdir("/proc/self/fd"))
    code, message = limited(open_all, (resource.RLIMIT_NOFILE, used + 20))
    check_refused(code, message)
    assert "Too many open files" in message


def test_short_memory_is_one_line() -> None:
    held = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    for work in (lambda: bytearray(2**34), lambda: torch.empty(2**34), lambda: np.empty(2**34)):
        code, message = limited(work, (resource.RLIMIT_AS, held + 2**28))
        check_refused(code, message)
        assert "memory" in message


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_cause_of_error_counts(number: int) -> None:
    error = RuntimeError("a library's own")
    error.__cause__ = OSError(number, os.strerror(number), "some/file")
    assert "some/file" in str(resource_error(error))


@pytest.mark.parametrize(
    "error", [BrokenExecutor("gone"), type("KilledWorker", (Exception,), {})()]
)
def test_dead_worker_is_one_line(error: Exception) -> None:
    assert str(resource_error(error)).startswith("a worker process was killed")


@pytest.mark.parametrize(
    "error", [ValueError("x"), OSError("x"), FileNotFoundError(errno.ENOENT, "No such file")]
)
def test_defect_is_no_resource_error(error: Exception) -> None:
    assert resource_error(error) is None
