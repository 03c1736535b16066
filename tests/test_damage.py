"""Truncated, empty, overwritten and missing artifacts are named with the command that mends them.

Checkpoints and kept points have such tests beside the code that writes them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from eocontrast.evaluation.evaluate import evaluate
from eocontrast.evaluation.results import read_arm, write_arm
from eocontrast.modalities import SENSORS
from eocontrast.models.build import load_finetuned
from eocontrast.models.point_files import read_index, write_index
from eocontrast.models.weight_files import load_weights, save_weights
from eocontrast.models.weights import Pretrained
from eocontrast.patches.store import PatchStore
from eocontrast.rasters.source import read_source
from eocontrast.runtime.errors import UserError
from eocontrast.training.devices import accelerator

WriteModel = Callable[..., Path]


@dataclass(frozen=True)
class Artifact:
    """A file, what reads all of it, and what mends it."""

    path: Path
    read: Callable[[], object]
    mend: str


@pytest.fixture
def artifacts(
    mixed_folder: Path, tmp_path: Path, tiny_inits: dict[str, Path], write_model: WriteModel
) -> dict[str, Artifact]:
    """One of every kind, small and whole."""
    store, pretrained = tmp_path / "store", tmp_path / "pretrained.safetensors"
    shutil.copytree(mixed_folder, store)
    shutil.copytree(mixed_folder.parent / "raw", tmp_path / "raw")
    shutil.copy(tiny_inits["dual_simclr"], pretrained)
    model = write_model(PatchStore(store))
    (tmp_path / "arm").mkdir()
    shutil.move(model, tmp_path / "arm/1.0-0.safetensors")
    write_index(tmp_path / "arm", ["1.0-0.safetensors"], {})
    files, _ = read_index(tmp_path / "arm")
    (points,) = evaluate([files], PatchStore(store), accelerator("no"))
    scores, predictions = tmp_path / "arm.json", tmp_path / "arm.parquet"
    write_arm("arm", points, {}, scores, predictions)

    def read_store() -> None:
        opened = PatchStore(store)
        rows = np.arange(len(opened.index))
        opened.batch(rows)
        opened.masks(rows)

    def read_init() -> None:
        init = Pretrained.load(pretrained)
        for sensor in SENSORS:
            init.backbone(sensor)

    normalise, again, source = "dvc repro -f normalise", "dvc repro -f -s", "dvc repro -f download"
    point = files[0]
    return {
        "stats": Artifact(store / "stats.json", read_store, normalise),
        "index": Artifact(store / "index.parquet", read_store, normalise),
        "shard": Artifact(store / "s2/00000.npy", read_store, normalise),
        "masks": Artifact(store / "label/00000.npy", read_store, normalise),
        "source": Artifact(
            tmp_path / "raw/source.json", lambda: read_source(tmp_path / "raw"), source
        ),
        "pretrained": Artifact(pretrained, read_init, again),
        "model": Artifact(point, lambda: load_finetuned(point), again),
        "points": Artifact(
            tmp_path / "arm/points.json", lambda: read_index(tmp_path / "arm"), again
        ),
        "scores": Artifact(
            scores, lambda: read_arm(scores, predictions), "dvc repro evaluate_grid"
        ),
        "predictions": Artifact(
            predictions, lambda: read_arm(scores, predictions), "dvc repro evaluate_grid"
        ),
    }


KINDS = [
    "stats",
    "index",
    "shard",
    "masks",
    "source",
    "pretrained",
    "model",
    "points",
    "scores",
    "predictions",
]


def refusals(artifact: Artifact, contents: Iterator[bytes]) -> list[str | None]:
    """What is said of the artifact with other contents; None where nothing is."""
    said: list[str | None] = []
    for content in contents:
        artifact.path.write_bytes(content)
        try:
            artifact.read()
        except UserError as error:
            said.append(str(error))
        else:
            said.append(None)
    return said


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_artifact_is_named_with_what_mends_it(
    artifacts: dict[str, Artifact], kind: str
) -> None:
    artifact = artifacts[kind]
    whole = artifact.path.read_bytes()
    artifact.read()
    cuts = np.random.default_rng(0).integers(0, len(whole) - 2, 20).tolist()
    shapes = (b"{}", b"[]", b"null", b'"x"', b"1", b"[" * 100_000, b"\x00" * 64, b"\xff\xfe\x00")
    for said in refusals(artifact, iter([*(whole[:cut] for cut in (0, *cuts)), *shapes])):
        assert said is not None
        assert artifact.path.name in said
        assert artifact.mend in said
        assert said.count("\n") <= 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_artifact_is_named_with_what_mends_it(
    artifacts: dict[str, Artifact], kind: str
) -> None:
    artifact = artifacts[kind]
    artifact.path.unlink()
    with pytest.raises(UserError) as caught:
        artifact.read()
    assert artifact.mend in str(caught.value) or artifact.path.name in str(caught.value)


@pytest.mark.parametrize("kind", ["pretrained", "model"])
def test_flipped_bit_in_weights(artifacts: dict[str, Artifact], kind: str) -> None:
    """Weight files travel without DVC, which notices damage in all other files."""
    artifact = artifacts[kind]
    for message in refusals(artifact, flipped(artifact.path.read_bytes(), 24)):
        assert message is not None
        assert artifact.path.name in message


def flipped(content: bytes, flips: int) -> Iterator[bytes]:
    draws = np.random.default_rng(1)
    for _ in range(flips):
        changed = bytearray(content)
        changed[draws.integers(len(content))] ^= 1 << int(draws.integers(8))
        yield bytes(changed)


@pytest.mark.parametrize("content", [b"", b"id,s1", b"\xff\xfe", b"{}", b"a\nb,c\n"])
def test_damaged_manifest(artifacts: dict[str, Artifact], content: bytes) -> None:
    source = artifacts["source"]
    source.path.with_name("manifest.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"manifest\.csv.*dvc repro -f download"):
        source.read()


def test_weights_of_another_shape_than_their_header_are_refused(
    artifacts: dict[str, Artifact],
) -> None:
    path = artifacts["pretrained"].path
    tensors, header = load_weights(path)
    first = next(name for name in tensors if name.endswith("weight"))
    for changed in (
        {**tensors, first: torch.zeros(3)},
        {name: tensor for name, tensor in tensors.items() if name != first},
        {**tensors, first: torch.full_like(tensors[first], torch.nan)},
    ):
        save_weights(path, changed, header)
        with pytest.raises(UserError, match=r"run the stage that writes it again"):
            artifacts["pretrained"].read()
