from pathlib import Path

import pytest

from eocontrast.finetuning.kept_points import keep, take

HISTORY = [{"epoch": 1.0, "loss": 0.5}]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where a point is kept whose weights are these bytes."""
    weights = tmp_path / "first/1.0-0.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"weights")
    keep(tmp_path / "kept", weights, HISTORY)
    return tmp_path / "kept"


def test_what_was_kept_is_put_where_it_belongs(place: Path, tmp_path: Path) -> None:
    (tmp_path / "first/1.0-0.safetensors").unlink()  # as DVC does before a stage
    again = tmp_path / "second/1.0-0.safetensors"
    assert take(place, again) == HISTORY
    assert again.read_bytes() == b"weights"


def test_nothing_is_taken_where_nothing_was_kept(tmp_path: Path) -> None:
    assert take(tmp_path / "kept", tmp_path / "again") is None
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("kept", ["kept.json", "kept.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"[]", b"{", b"\xff"])
def test_what_was_damaged_is_not_taken(place: Path, kept: str, content: bytes | None) -> None:
    if content is None:
        (place.parent / kept).unlink()
    else:
        (place.parent / kept).write_bytes(content)
    assert take(place, place.parent / "again") is None
    assert not (place.parent / "again").exists()
