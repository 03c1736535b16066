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
from torch import nn

from eocontrast.config.pretraining import BackboneParams
from eocontrast.modalities import SENSORS
from eocontrast.models.backbones import Architecture, Backbone
from eocontrast.patches.augment import PairViews
from eocontrast.patches.inputs import Batch
from eocontrast.patches.store import Kind, PatchStore, Rows
from eocontrast.patches.windows import Window
from eocontrast.pretraining import loop as pretraining
from eocontrast.pretraining.batches import held_out
from eocontrast.pretraining.loop import Schedule, Views, pretrain
from eocontrast.pretraining.objectives import MMA, DualSimCLR, SimCLR
from eocontrast.pretraining.views import SimCLRViews
from eocontrast.runtime.errors import UserError
from eocontrast.training.devices import accelerator, deterministic
from eocontrast.training.health import CollapseError
from eocontrast.training.ranks import rank
from eocontrast.training.schedule import warmup_cosine

SCHEDULE = Schedule(
    seed=0,
    epochs=4,
    warmup_epochs=1,
    batch_size=8,
    groups_per_batch=0,
    mask_same_group=False,
    lr=1e-2,
    weight_decay=1e-4,
)


VIEWS = PairViews(crop=12, flips=True, shared_crop=True)


def scheduled(**changes: Any) -> Schedule:  # noqa: ANN401 - any field of Schedule
    return Schedule(**{**vars(SCHEDULE), **changes})


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
    return DualSimCLR({s: Backbone(architecture, {s: specs[s]}) for s in SENSORS}, 16, 0.2)


def test_pairs_find_each_other(tiny_store: PatchStore, objective: DualSimCLR) -> None:
    metrics = list(pretrain(objective, VIEWS, tiny_store, scheduled(epochs=12), accelerator("no")))
    assert [m["epoch"] for m in metrics] == list(range(1, 13))
    # a guess among 2 x 8 - 1 others costs 2.7; three of the classes' and places' traits are shared
    assert metrics[-1]["loss"] < metrics[0]["loss"] - 0.5
    train = tiny_store.rows("pretrain", "train")
    with torch.no_grad():
        z1, z2 = objective.eval().embed(tiny_store.batch(train))
    nearest = torch.nn.functional.cosine_similarity(z1[:, None], z2[None], dim=2).argmax(1)
    assert (nearest == torch.arange(len(train))).double().mean() > 5 / len(train)


def test_the_optimiser_warms_up_and_cools_down(
    tiny_store: PatchStore, objective: DualSimCLR, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[float] = []

    class Recorder(torch.optim.AdamW):
        def step(self, closure: Any = None) -> Any:  # noqa: ANN401 - as torch declares it
            used.extend(group["lr"] for group in self.param_groups)
            return super().step(closure)

    monkeypatch.setattr(pretraining, "AdamW", Recorder)
    metrics = list(pretrain(objective, VIEWS, tiny_store, SCHEDULE, accelerator("no")))
    per_epoch = 49 // 8
    expected = [0.01 * warmup_cosine(step, 4 * per_epoch, per_epoch) for step in range(24)]
    assert used == pytest.approx(expected)
    peak = used.index(max(used))
    assert (peak, max(used)) == (per_epoch, 0.01)
    assert all(a < b for a, b in pairwise(used[: peak + 1]))
    assert all(a > b for a, b in pairwise(used[peak:]))
    assert used[-1] < 0.01 * 0.01
    assert [m["lr"] for m in metrics] == pytest.approx(used[per_epoch - 1 :: per_epoch])


def test_test_patches_and_watched_pairs_are_not_trained_on(
    tiny_store: PatchStore, objective: DualSimCLR
) -> None:
    store = Watched(tiny_store.folder)
    list(pretrain(objective, VIEWS, store, scheduled(epochs=2), accelerator("no")))
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


def test_every_backbone_is_trained(tiny_store: PatchStore, objective: DualSimCLR) -> None:
    before = {name: p.detach().clone() for name, p in objective.named_parameters()}
    list(pretrain(objective, VIEWS, tiny_store, scheduled(epochs=1), accelerator("no")))
    assert [n for n, p in objective.named_parameters() if torch.equal(p, before[n])] == []


def test_two_runs_end_in_the_same_weights(
    tiny_store: PatchStore, tiny_backbones: dict[str, BackboneParams]
) -> None:
    params = tiny_backbones["resnet"]
    architecture, specs = Architecture(params.name, params.options), tiny_store.specs

    def trained(seed: int) -> torch.Tensor:
        deterministic(0)
        backbones = {s: Backbone(architecture, {s: specs[s]}) for s in SENSORS}
        objective = DualSimCLR(backbones, 16, 0.2)
        list(
            pretrain(
                objective, VIEWS, tiny_store, scheduled(epochs=2, seed=seed), accelerator("no")
            )
        )
        return torch.cat([t.double().flatten() for t in objective.state_dict().values()])

    assert torch.equal(trained(0), trained(0))
    assert not torch.equal(trained(0), trained(1))


def new_objective(
    method: str, store: PatchStore, params: BackboneParams
) -> tuple[DualSimCLR | SimCLR | MMA, Views]:
    deterministic(0)
    architecture = Architecture(params.name, params.options)
    backbones = {s: Backbone(architecture, {s: store.specs[s]}) for s in SENSORS}
    if method == "simclr":
        return SimCLR("s2", backbones["s2"], 16, 0.2), SimCLRViews(12, True, 0.5, 0.5)
    if method == "mma":
        return MMA(backbones, 0.2, max_offset=1), PairViews(12, True, shared_crop=False)
    return DualSimCLR(backbones, 16, 0.2), VIEWS


@pytest.mark.parametrize(
    ("method", "name"),
    [("dual_simclr", "resnet"), ("dual_simclr", "swin"), ("simclr", "resnet"), ("mma", "vgg")],
)
@pytest.mark.parametrize("killed_after", [1, 3])
def test_a_killed_run_continues_to_the_same_weights(
    tmp_path: Path,
    tiny_store: PatchStore,
    tiny_backbones: dict[str, BackboneParams],
    method: str,
    name: str,
    killed_after: int,
) -> None:
    checkpoint = tmp_path / "run.pt"

    def run(file: Path | None) -> tuple[nn.Module, Iterator[dict[str, float]]]:
        objective, views = new_objective(method, tiny_store, tiny_backbones[name])
        return objective, pretrain(objective, views, tiny_store, SCHEDULE, accelerator("no"), file)

    whole, metrics = run(None)
    expected = list(metrics)
    list(islice(run(checkpoint)[1], killed_after))
    torch.rand(5)  # another process has drawn other numbers
    continued, metrics = run(checkpoint)
    assert list(metrics) == expected
    for tensor_name, tensor in whole.state_dict().items():
        assert torch.equal(continued.state_dict()[tensor_name], tensor), tensor_name


@pytest.mark.parametrize(("method", "name"), [("simclr", "resnet"), ("mma", "vgg")])
def test_places_are_told_apart_and_the_embeddings_stay_healthy(
    tiny_store: PatchStore, tiny_backbones: dict[str, BackboneParams], method: str, name: str
) -> None:
    """Maps behind a ReLU have no negative cosines, and must still pass for no collapse."""
    objective, views = new_objective(method, tiny_store, tiny_backbones[name])
    run = pretrain(objective, views, tiny_store, scheduled(epochs=24), accelerator("no"))
    metrics = list(run)
    # six batches an epoch: one alone may be .2 above the next
    assert mean(m["loss"] for m in metrics[-8:]) < metrics[0]["loss"] - 0.2
    assert metrics[-1]["spread"] > 0.1
    assert metrics[-1]["mean_cosine"] < 0.99
    assert 0 <= metrics[-1]["retrieval_top1"] <= 1


def test_a_crop_larger_than_the_patches_is_refused(
    tiny_store: PatchStore, objective: DualSimCLR
) -> None:
    large = PairViews(crop=17, flips=True, shared_crop=True)
    with pytest.raises(UserError, match="16 px with crops of 17 px"):
        list(pretrain(objective, large, tiny_store, SCHEDULE, accelerator("no")))


def test_one_patch_has_no_other_to_contrast_with(
    tiny_store: PatchStore, objective: DualSimCLR
) -> None:
    tiny_store.index["split"] = ["train"] + ["test"] * 71
    with pytest.raises(UserError, match="1 patches"):
        list(pretrain(objective, VIEWS, tiny_store, SCHEDULE, accelerator("no")))


def test_few_patches_make_one_batch(tiny_store: PatchStore, objective: DualSimCLR) -> None:
    tiny_store.index["split"] = ["train"] * 5 + ["test"] * 67
    (metrics,) = pretrain(objective, VIEWS, tiny_store, scheduled(epochs=1), accelerator("no"))
    assert set(metrics) == {"epoch", "loss", "lr"}  # none are held out to be watched


def test_a_diverging_run_ends_with_the_reason(
    tiny_store: PatchStore, objective: DualSimCLR
) -> None:
    with pytest.raises(CollapseError):
        list(pretrain(objective, VIEWS, tiny_store, scheduled(lr=1e30), accelerator("no")))


class Broken(DualSimCLR):
    """One whose loss is no number, from the third step on."""

    steps = 0

    def forward(self, batch: Batch, group_B: torch.Tensor | None = None) -> torch.Tensor:
        self.steps += 1
        loss = super().forward(batch, group_B)
        return loss * float("nan") if self.steps > 2 else loss


def test_a_loss_that_is_no_number_ends_the_run(
    tmp_path: Path, tiny_store: PatchStore, objective: DualSimCLR
) -> None:
    objective.__class__ = Broken
    run = pretrain(objective, VIEWS, tiny_store, SCHEDULE, accelerator("no"), tmp_path / "run.pt")
    with pytest.raises(CollapseError, match="loss is nan at step 6"):
        list(run)
    assert list(tmp_path.iterdir()) == []


def test_a_collapse_ends_the_run_once_it_has_learnt_for_a_while(
    tiny_store: PatchStore, objective: DualSimCLR, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        pretraining, "embedding_health", lambda *_: {"spread": 0.0, "mean_cosine": 1.0}
    )
    monkeypatch.setattr(pretraining, "COLLAPSE_STEPS", 10)
    run = pretrain(objective, VIEWS, tiny_store, SCHEDULE, accelerator("no"))
    assert next(run)["epoch"] == 1  # six steps
    with pytest.raises(CollapseError, match="collapsed"):
        next(run)


def test_a_batch_is_of_the_groups_that_were_asked_for(
    tiny_store: PatchStore, objective: DualSimCLR
) -> None:
    store = Watched(tiny_store.folder)
    schedule = scheduled(epochs=1, groups_per_batch=2)
    list(pretrain(objective, VIEWS, store, schedule, accelerator("no")))
    random = Watched(tiny_store.folder)
    list(pretrain(objective, VIEWS, random, scheduled(epochs=1), accelerator("no")))

    def groups(seen: Watched) -> float:
        batches = [rows for rows in seen.asked if len(rows) == 8]
        return float(np.mean([len(set(seen.groups[rows])) for rows in batches]))

    assert groups(store) < groups(random)


def shared_run(
    method: str, store: PatchStore, params: BackboneParams, checkpoint: Path, epochs: int
) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """Metrics and weights after a run that masks groups, as one process or as one of several."""
    objective, views = new_objective(method, store, params)
    schedule = scheduled(groups_per_batch=4, mask_same_group=True, lr=1e-3)
    run = pretrain(objective, views, store, schedule, accelerator("no"), checkpoint)
    return list(islice(run, epochs)), objective.state_dict()


@pytest.mark.parametrize(
    ("method", "name", "tolerance"),
    [
        ("dual_simclr", "resnet", 1e-4),
        pytest.param("simclr", "resnet", 1e-4, marks=pytest.mark.slow),
        pytest.param("mma", "vgg", 1e-2, marks=pytest.mark.slow),
    ],
)
def test_two_processes_learn_what_one_does(
    tmp_path: Path,
    tiny_store: PatchStore,
    tiny_backbones: dict[str, BackboneParams],
    method: str,
    name: str,
    tolerance: float,
) -> None:
    """24 steps apart by rounding, which AdamW blows up where a gradient is nearly nothing.

    Of MMA rounding also decides between offsets that are as good: its weights end up to .006 apart.
    """

    def run(checkpoint: str, epochs: int) -> Any:  # noqa: ANN401 - what `shared_run` returns
        params = tiny_backbones[name]
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


def test_batches_that_cannot_be_shared_evenly_are_refused(
    tmp_path: Path, tiny_store: PatchStore, objective: DualSimCLR
) -> None:
    def refused() -> str:
        with pytest.raises(UserError) as caught:
            list(pretrain(objective, VIEWS, tiny_store, SCHEDULE, accelerator("no")))
        return str(caught.value)

    for message in together(refused, 3, tmp_path / "x"):
        assert message.startswith("3 processes cannot share batches of 8 patches evenly")


def test_processes_that_see_different_checkpoints_are_refused(
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
