import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from runs import DUAL_SIMCLR

from eocontrast.config.pretraining import BackboneParams
from eocontrast.models.weights import Pretrained
from eocontrast.patches.store import PatchStore
from eocontrast.pretraining.run import pretrain_run
from eocontrast.pretraining.seeds import Log, Training, pretrain_seeds
from eocontrast.runtime.errors import UserError

TWO = DUAL_SIMCLR.model_copy(update={"seeds": (3, 7)})


@pytest.fixture(autouse=True)
def _in_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))


def test_seeds_are_trained_and_recorded(
    tmp_path: Path,
    tiny_store: PatchStore,
    tiny_backbones: dict[str, BackboneParams],
    capsys: pytest.CaptureFixture[str],
) -> None:
    logged: dict[str, list[float]] = {}

    @contextmanager
    def record(training: Training, digest: str, checkpoint: Path | None) -> Iterator[Log]:
        assert digest == tiny_store.digest
        assert checkpoint is not None
        epochs = logged.setdefault(training.title, [])
        yield lambda metrics: epochs.append(metrics["epoch"])

    folder, backbone = tmp_path / "pretrained", tiny_backbones["resnet"]
    file = folder / "two.safetensors"
    pretrain_seeds("two", TWO, backbone, tiny_store.folder, file, "no", record)
    assert logged == {"two": [1, 2], "two/7": [1, 2]}
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        *("two", "two"),
        *("two/7", "two/7"),
    ]
    assert json.loads((folder / "two/seeds.json").read_text()) == [3, 7]
    for seed, path in ((3, file), (7, folder / "two/7.safetensors")):
        assert Pretrained.load(path).run["seeds"] == [seed]
        alone = tmp_path / f"{seed}.safetensors"
        list(pretrain_run(TWO.alone(seed), backbone, tiny_store, alone, "no"))
        assert alone.read_bytes() == path.read_bytes()
    assert not list((tmp_path / "checkpoints").iterdir())


def test_weights_have_the_name_of_the_run(
    tmp_path: Path, tiny_store: PatchStore, tiny_backbones: dict[str, BackboneParams]
) -> None:
    backbone, file = tiny_backbones["resnet"], tmp_path / "other.safetensors"
    with pytest.raises(UserError, match=r"weights of run two go to two\.safetensors, not to other"):
        pretrain_seeds("two", TWO, backbone, tiny_store.folder, file, "no", unused)


@contextmanager
def unused(training: Training, digest: str, checkpoint: Path | None) -> Iterator[Log]:
    raise AssertionError
    yield
