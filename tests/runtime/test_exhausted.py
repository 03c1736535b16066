"""Out of disk, memory or file handles: one line, nothing half under a final name, then it goes on.

A limit on a file's size fails a write in its middle as a full disk does, and needs no mount; a
full disk itself is tried where this user may mount one.
"""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.optim import AdamW

from eocontrast.runtime.stage import stage
from eocontrast.models.weights import load_weights, save_weights
from eocontrast.normalisation.shards import write_array
from eocontrast.runtime.exhausted import exhausted
from eocontrast.runtime.files import whole
from eocontrast.training.checkpoint import TrainingState
from eocontrast.training.schedule import cosine_schedule

LARGE = 200_000
"""Numbers; more bytes than the limits below."""


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
    """Exit code and words of a stage that does this work, in a process with these limits."""
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
    with os.fdopen(reading) as said:
        words = said.read()
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), words


def check_refused(code: int, said: str) -> None:
    assert (code, said.count("\n")) == (2, 1), said
    assert said.startswith("pretrain: ")
    assert said.endswith("; `dvc repro` goes on from here\n")


@pytest.mark.parametrize("write", WRITERS.values(), ids=list(WRITERS))
def test_a_write_that_fails_midway_leaves_nothing_and_what_was_there(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"of before")
    check_refused(*limited(lambda: write(path), (resource.RLIMIT_FSIZE, 100_000)))
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"of before"
    assert limited(lambda: write(path)) == (0, "")
    assert path.stat().st_size > 100_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 512 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a disk")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("write", WRITERS.values(), ids=list(WRITERS))
def test_a_full_disk_is_told_in_one_line(small_disk: Path, write: Callable[[Path], None]) -> None:
    code, said = limited(lambda: write(small_disk / "file"))
    check_refused(code, said)
    assert "space" in said
    assert not list(small_disk.iterdir())


def test_too_many_open_files_are_told_in_one_line(tmp_path: Path) -> None:
    opened: list[object] = []

    def open_all() -> None:
        for number in range(100):
            opened.append((tmp_path / f"{number}").open("w"))

    used = len(os.listdir("/proc/self/fd"))
    code, said = limited(open_all, (resource.RLIMIT_NOFILE, used + 20))
    check_refused(code, said)
    assert "ulimit -n" in said


def test_out_of_memory_is_told_in_one_line() -> None:
    held = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    for work in (lambda: bytearray(2**34), lambda: torch.empty(2**34), lambda: np.empty(2**34)):
        code, said = limited(work, (resource.RLIMIT_AS, held + 2**28))
        check_refused(code, said)
        assert "close other programs" in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    code, said = limited(lambda: write_weights(tmp_path / "w"))
    tmp_path.chmod(0o700)
    check_refused(code, said)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_what_lies_behind_an_error_counts(number: int) -> None:
    def fail() -> None:
        try:
            raise OSError(number, os.strerror(number), "some/file")
        except OSError as error:
            raise RuntimeError("a library's own") from error

    with pytest.raises(RuntimeError) as caught:
        fail()
    assert "some/file" in str(exhausted(caught.value))


def test_a_defect_is_no_lack_of_anything() -> None:
    assert exhausted(ValueError("No such device")) is None
    assert exhausted(FileNotFoundError(errno.ENOENT, "No such file")) is None


def test_weights_are_read_again_after_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, {"a": torch.zeros(2)}, {"n": 1})
    limited(lambda: write_weights(path), (resource.RLIMIT_FSIZE, 1000))
    assert load_weights(path)[1] == {"n": 1}
