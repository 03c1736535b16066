from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from eocontrast.runtime import files as disk
from eocontrast.training import resuming
from eocontrast.training.resuming import digest, kept, kept_folder


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "project"))
    return tmp_path / "project"


def test_what_determines_a_result_names_it() -> None:
    assert digest(1, "a") == digest(1, "a")
    assert len({digest(1, "a"), digest(1, "b"), digest(2, "a"), digest(1, "a", None)}) == 4


@pytest.mark.parametrize(
    "change",
    [
        lambda patch: patch.setattr(resuming, "code_sha256", lambda: "other"),
        lambda patch: patch.setattr(resuming, "version", lambda name: "0.0"),
        lambda patch: patch.setattr(torch, "get_num_threads", lambda: 99),
    ],
    ids=["code", "libraries", "threads"],
)
def test_what_runs_it_names_it_too(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[pytest.MonkeyPatch], None]
) -> None:
    before = digest(1)
    change(monkeypatch)
    assert digest(1) != before


def test_a_changed_line_changes_the_digest_of_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(disk, "__file__", str(tmp_path / "disk.py"))
    found = set()
    for line in ("x = 1\n", "x = 2\n"):
        (tmp_path / "a.py").write_text(line)
        disk.code_sha256.cache_clear()
        found.add(disk.code_sha256())
    disk.code_sha256.cache_clear()
    assert len(found) == 2


def test_what_is_kept_goes_when_the_work_is_done(project: Path) -> None:
    other = kept_folder() / "other"
    with kept("one") as place:
        assert place == project / "checkpoints/one"
        place.write_text("checkpoint")
        place.with_name("one-a.json").write_text("point")
        place.with_name("one.123.partial").write_text("half")
        other.write_text("of another")
    assert list(kept_folder().iterdir()) == [other]


def test_what_is_kept_stays_after_an_error() -> None:
    def fail() -> None:
        with kept("one") as place:
            assert place is not None
            place.write_text("checkpoint")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with kept("one") as again:
        assert again is not None
        assert again.read_text() == "checkpoint"


def test_two_that_do_the_same_at_once_do_not_share_it() -> None:
    with kept("one") as first, kept("one") as second, kept("two") as third:
        assert (first is None, second is None, third is None) == (False, True, False)
