from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from processes import together
from runs import DUAL_SIMCLR, MMA, SIMCLR
from torch import nn

from eocontrast.config.pretraining import BackboneParams, ContrastiveRun, DualSimCLRRun
from eocontrast.modalities import SENSORS
from eocontrast.models.backbones import Architecture, Backbone
from eocontrast.patches.inputs import Batch
from eocontrast.patches.store import Kind, PatchStore, Rows
from eocontrast.patches.windows import Window
from eocontrast.pretraining import loop as pretraining
from eocontrast.pretraining import objectives
from eocontrast.pretraining.batches import held_out
from eocontrast.pretraining.loop import Views, pretrain
from eocontrast.pretraining.objectives import DualSimCLR
from eocontrast.pretraining.views import PairViews, SimCLRViews
from eocontrast.runtime.errors import UserError
from eocontrast.training.devices import accelerator, deterministic
from eocontrast.training.health import CollapseError
from eocontrast.training.ranks import rank
from eocontrast.training.schedule import warmup_cosine

RUN = DUAL_SIMCLR.model_copy(update={"epochs": 4})
VIEWS = PairViews(RUN)


def changed(**changes: Any) -> DualSimCLRRun:  # noqa: ANN401 - any field of the run
    return RUN.model_copy(update=changes)


class Watched(PatchStore):
    """A store that remembers which rows were read, batch by batch."""

    asked: list[Rows]

    def read(self, kind: Kind, rows: Rows, window: Window | None = None) -> NDArray[np.integer]:
        if kind == "s1":
            self.asked = [*getattr(self, "asked", []), rows]
        return super().read(kind, rows, window)


@pytest.fixture
def objective(tiny_store: PatchStore, tiny_backbones: dict[str, BackboneParams]) -> DualSimCLR:
    deterministic(0)
    architecture = Architecture(tiny_backbones["swin"].name, tiny_backbones["swin"].options)
    specs = tiny_store.specs
    return DualSimCLR({s: Backbone(architecture, {s: specs[s]}) for s in SENSORS}, RUN)


def test_loop_finds_pairs(tiny_store: PatchStore, objective: DualSimCLR) -> None:
    metrics = list(pretrain(objective, VIEWS, tiny_store, changed(epochs=12), accelerator("no")))
    assert [m["epoch"] for m in metrics] == list(range(1, 13))
    # a guess among 2 x 8 - 1 others costs 2.7; three of the classes' and places' traits are shared
    assert metrics[-1]["loss"] < metrics[0]["loss"] - 0.5
    train = tiny_store.rows("pretrain", "train")
    with torch.no_grad():
        z1, z2 = objective.eval().embed(tiny_store.batch(train))
    nearest = torch.nn.functional.cosine_similarity(z1[:, None], z2[None], dim=2).argmax(1)
    assert (nearest == torch.arange(len(train))).double().mean() > 5 / len(train)


def test_learning_rate_of_each_step(
    tiny_store: PatchStore, objective: DualSimCLR, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[float] = []

    class Recorder(torch.optim.AdamW):
        def step(self, closure: Any = None) -> Any:  # noqa: ANN401 - as torch declares it
            used.extend(group["lr"] for group in self.param_groups)
            return super().step(closure)

    monkeypatch.setattr(pretraining, "AdamW", Recorder)
    metrics = list(pretrain(objective, VIEWS, tiny_store, RUN, accelerator("no")))
    per_epoch = 49 // 8
    expected = [0.01 * warmup_cosine(step, 4 * per_epoch, per_epoch) for step in range(24)]
    assert used == pytest.approx(expected)
    peak = used.index(max(used))
    assert (peak, max(used)) == (per_epoch, 0.01)
    assert all(a < b for a, b in pairwise(used[: peak + 1]))
    assert all(a > b for a, b in pairwise(used[peak:]))
    assert used[-1] < 0.01 * 0.01
    assert [m["lr"] for m in metrics] == pytest.approx(used[per_epoch - 1 :: per_epoch])


def test_patches_of_each_epoch(tiny_store: PatchStore, objective: DualSimCLR) -> None:
    store = Watched(tiny_store.folder)
    list(pretrain(objective, VIEWS, store, changed(epochs=2), accelerator("no")))
    train, watched = held_out(store.rows("pretrain", "train"), 0)
    epochs = [store.asked[:6], store.asked[7:13]]
    for asked in epochs:
        seen = np.concatenate(asked)
        assert len(set(seen.tolist())) == len(seen) == 48
        assert set(seen) <= set(train)
    assert np.concatenate(epochs[0]).tolist() != np.concatenate(epochs[1]).tolist()
    for rows in (store.asked[6], store.asked[13]):
        assert rows.tolist() == watched.tolist()
    assert not set(np.concatenate(store.asked)) & set(store.rows("test"))


def test_every_parameter_changes(tiny_store: PatchStore, objective: DualSimCLR) -> None:
    before = {name: p.detach().clone() for name, p in objective.named_parameters()}
    list(pretrain(objective, VIEWS, tiny_store, changed(epochs=1), accelerator("no")))
    assert [n for n, p in objective.named_parameters() if torch.equal(p, before[n])] == []


def test_weights_of_equal_seeds(
    tiny_store: PatchStore, tiny_backbones: dict[str, BackboneParams]
) -> None:
    params = tiny_backbones["resnet"]
    architecture, specs = Architecture(params.name, params.options), tiny_store.specs

    def trained(seed: int) -> torch.Tensor:
        deterministic(0)
        backbones = {s: Backbone(architecture, {s: specs[s]}) for s in SENSORS}
        objective = DualSimCLR(backbones, RUN)
        run = changed(epochs=2, seeds=(seed,))
        list(pretrain(objective, VIEWS, tiny_store, run, accelerator("no")))
        return torch.cat([t.double().flatten() for t in objective.state_dict().values()])

    assert torch.equal(trained(0), trained(0))
    assert not torch.equal(trained(0), trained(1))


def new_objective(
    method: str,
    store: PatchStore,
    params: BackboneParams,
    **changes: Any,  # noqa: ANN401 - any field of the run
) -> tuple[nn.Module, Views, ContrastiveRun]:
    deterministic(0)
    architecture = Architecture(params.name, params.options)
    backbones = {s: Backbone(architecture, {s: store.specs[s]}) for s in SENSORS}
    changes = {"epochs": 4, **changes}
    if method == "simclr":
        simclr = SIMCLR.model_copy(update=changes)
        return objectives.SimCLR(backbones, simclr), SimCLRViews(simclr), simclr
    if method == "mma":
        mma = MMA.model_copy(update={"shared_crop": False, **changes})
        return objectives.MMA(backbones, mma), PairViews(mma), mma
    run = RUN.model_copy(update=changes)
    return DualSimCLR(backbones, run), PairViews(run), run


@pytest.mark.parametrize(
    ("method", "name"),
    [("dual_simclr", "resnet"), ("dual_simclr", "swin"), ("simclr", "resnet"), ("mma", "vgg")],
)
@pytest.mark.parametrize("killed_after", [1, 3])
def test_resumed_run_after_a_kill(
    tmp_path: Path,
    tiny_store: PatchStore,
    tiny_backbones: dict[str, BackboneParams],
    method: str,
    name: str,
    killed_after: int,
) -> None:
    checkpoint = tmp_path / "run.pt"

    def run(file: Path | None) -> tuple[nn.Module, Iterator[dict[str, float]]]:
        objective, views, run = new_objective(method, tiny_store, tiny_backbones[name])
        return objective, pretrain(objective, views, tiny_store, run, accelerator("no"), file)

    whole, metrics = run(None)
    expected = list(metrics)
    list(islice(run(checkpoint)[1], killed_after))
    torch.rand(5)  # another process has drawn other numbers
    continued, metrics = run(checkpoint)
    assert list(metrics) == expected
    for tensor_name, tensor in whole.state_dict().items():
        assert torch.equal(continued.state_dict()[tensor_name], tensor), tensor_name


@pytest.mark.parametrize(("method", "name"), [("simclr", "resnet"), ("mma", "vgg")])
def test_health_of_embeddings(
    tiny_store: PatchStore, tiny_backbones: dict[str, BackboneParams], method: str, name: str
) -> None:
    """Maps behind a ReLU have no negative cosines, and must still pass for no collapse."""
    objective, views, run = new_objective(method, tiny_store, tiny_backbones[name], epochs=24)
    metrics = list(pretrain(objective, views, tiny_store, run, accelerator("no")))
    # six batches an epoch: one alone may be .2 above the next
    assert mean(m["loss"] for m in metrics[-8:]) < metrics[0]["loss"] - 0.2
    assert metrics[-1]["spread"] > 0.1
    assert metrics[-1]["mean_cosine"] < 0.99
    assert 0 <= metrics[-1]["retrieval_top1"] <= 1


def test_crop_larger_than_patches(tiny_store: PatchStore, objective: DualSimCLR) -> None:
    with pytest.raises(UserError, match="16 px with crops of 17 px"):
        list(pretrain(objective, VIEWS, tiny_store, changed(crop=17), accelerator("no")))


def test_store_of_one_patch(tiny_store: PatchStore, objective: DualSimCLR) -> None:
    tiny_store.index["split"] = ["train"] + ["test"] * 71
    with pytest.raises(UserError, match="1 patches"):
        list(pretrain(objective, VIEWS, tiny_store, RUN, accelerator("no")))


def test_store_of_few_patches(tiny_store: PatchStore, objective: DualSimCLR) -> None:
    tiny_store.index["split"] = ["train"] * 5 + ["test"] * 67
    (metrics,) = pretrain(objective, VIEWS, tiny_store, changed(epochs=1), accelerator("no"))
    assert set(metrics) == {"epoch", "loss", "lr"}  # none are held out to be watched


def test_run_that_diverges(tiny_store: PatchStore, objective: DualSimCLR) -> None:
    with pytest.raises(CollapseError):
        list(pretrain(objective, VIEWS, tiny_store, changed(lr=1e30), accelerator("no")))


class Broken(DualSimCLR):
    """One whose loss is no number, from the third step on."""

    steps = 0

    def forward(self, batch: Batch, group_B: torch.Tensor | None = None) -> torch.Tensor:
        self.steps += 1
        loss = super().forward(batch, group_B)
        return loss * float("nan") if self.steps > 2 else loss


def test_run_with_nan_loss(tmp_path: Path, tiny_store: PatchStore, objective: DualSimCLR) -> None:
    objective.__class__ = Broken
    run = pretrain(objective, VIEWS, tiny_store, RUN, accelerator("no"), tmp_path / "run.pt")
    with pytest.raises(CollapseError, match="loss is nan at step 6"):
        list(run)
    assert list(tmp_path.iterdir()) == []


def test_run_that_collapses(
    tiny_store: PatchStore, objective: DualSimCLR, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        pretraining, "embedding_health", lambda *_: {"spread": 0.0, "mean_cosine": 1.0}
    )
    monkeypatch.setattr(pretraining, "COLLAPSE_STEPS", 10)
    run = pretrain(objective, VIEWS, tiny_store, RUN, accelerator("no"))
    assert next(run)["epoch"] == 1  # six steps
    with pytest.raises(CollapseError, match="collapsed"):
        next(run)


def test_groups_of_a_batch(tiny_store: PatchStore, objective: DualSimCLR) -> None:
    store = Watched(tiny_store.folder)
    grouped = changed(epochs=1, groups_per_batch=2)
    list(pretrain(objective, VIEWS, store, grouped, accelerator("no")))
    random = Watched(tiny_store.folder)
    list(pretrain(objective, VIEWS, random, changed(epochs=1), accelerator("no")))

    def groups(seen: Watched) -> float:
        batches = [rows for rows in seen.asked if len(rows) == 8]
        return float(np.mean([len(set(seen.groups[rows])) for rows in batches]))

    assert groups(store) < groups(random)


def shared_run(
    method: str, store: PatchStore, params: BackboneParams, checkpoint: Path, epochs: int
) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """Metrics and weights after a run that masks groups, as one process or as one of several."""
    changes = {"groups_per_batch": 4, "mask_same_group": True, "lr": 1e-3}
    objective, views, run = new_objective(method, store, params, **changes)
    metrics = pretrain(objective, views, store, run, accelerator("no"), checkpoint)
    return list(islice(metrics, epochs)), objective.state_dict()


@pytest.mark.parametrize(
    ("method", "tolerance"),
    [
        ("dual_simclr", 1e-4),
        pytest.param("simclr", 1e-4, marks=pytest.mark.slow),
        pytest.param("mma", 1e-2, marks=pytest.mark.slow),
    ],
)
def test_weights_of_two_processes(
    tmp_path: Path,
    tiny_store: PatchStore,
    tiny_backbones: dict[str, BackboneParams],
    method: str,
    tolerance: float,
) -> None:
    """24 steps apart by rounding, which AdamW blows up where a gradient is nearly nothing.

    Of MMA rounding also decides between offsets that are as good: its weights end up to .006 apart.
    A Swin has no BatchNorm, and stochastic depth would drop other branches on two processes.
    """
    swin = tiny_backbones["swin"]
    params = swin.model_copy(update={"options": {**swin.options, "drop_path_rate": 0.0}})

    def run(checkpoint: str, epochs: int) -> Any:  # noqa: ANN401 - what `shared_run` returns
        return shared_run(method, tiny_store, params, tmp_path / checkpoint, epochs)

    both = together(lambda: run("two.pt", 4), 2, tmp_path / "two")
    metrics, weights = run("one.pt", 4)
    # begun by two processes, ended by one
    together(lambda: run("handed.pt", 2), 2, tmp_path / "begun")
    continued = run("handed.pt", 4)
    assert all(torch.equal(both[0][1][key], both[1][1][key]) for key in weights)
    for found_metrics, found in (both[0], both[1], continued):
        assert [m["lr"] for m in found_metrics] == [m["lr"] for m in metrics]
        losses = [[m["loss"] for m in each] for each in (found_metrics, metrics)]
        assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-4)
        assert losses[0] == pytest.approx(losses[1], rel=tolerance)
        assert found.keys() == weights.keys()
        for key, expected in weights.items():
            torch.testing.assert_close(found[key], expected, rtol=1e-3, atol=tolerance)


def test_batches_of_three_processes(
    tmp_path: Path, tiny_store: PatchStore, objective: DualSimCLR
) -> None:
    def refused() -> str:
        with pytest.raises(UserError) as caught:
            list(pretrain(objective, VIEWS, tiny_store, RUN, accelerator("no")))
        return str(caught.value)

    for message in together(refused, 3, tmp_path / "x"):
        assert message.startswith("3 processes cannot share batches of 8 patches evenly")


def test_checkpoints_of_other_steps(
    tmp_path: Path, tiny_store: PatchStore, tiny_backbones: dict[str, BackboneParams]
) -> None:
    def run(checkpoint: str, epochs: int) -> Any:  # noqa: ANN401 - what `shared_run` returns
        params = tiny_backbones["resnet"]
        return shared_run("dual_simclr", tiny_store, params, tmp_path / checkpoint, epochs)

    run("0.pt", 1)

    def refused() -> str:
        with pytest.raises(UserError) as caught:
            run(f"{rank()}.pt", 4)
        return str(caught.value)

    for steps, message in zip((6, 0), together(refused, 2, tmp_path / "x"), strict=True):
        assert f"found a checkpoint of {steps} steps" in message
