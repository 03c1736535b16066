import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eocontrast.curve.bootstrap import Resampling
from eocontrast.curve.plan_arms import arm_runs
from eocontrast.curve.plan_table import Run
from eocontrast.evaluation.scores import scores, tally
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import write_text

CLASSES = ("a", "b")
GROUPS = ("g0", "g1", "g2")


def table(rights: dict[str, int]) -> pd.DataFrame:
    """Ten patches of each class in each group, of which so many are right, by group."""
    rows = [
        ("id", group, true, said, count)
        for group, right in rights.items()
        for true, other in (("a", "b"), ("b", "a"))
        for said, count in ((true, right), (other, 10 - right))
    ]
    return pd.DataFrame(rows, columns=["id", "group", "actual", "predicted", "count"])


def write(folder: Path, name: str, tables: dict[tuple[float, int, int], pd.DataFrame]) -> list[Run]:
    """One arm as `evaluate_grid` leaves it, by (fraction, n_labels, seed), and its runs."""
    points, runs, predictions = [], [], []
    for (fraction, n_labels, seed), said in tables.items():
        groups = np.unique(said["group"].to_numpy(dtype=object))
        score = float(scores(tally(said, CLASSES, groups).sum(0), True)["AA"])
        where = {"fraction": fraction, "seed": seed, "n_labels": n_labels, "inputs": "s2"}
        points.append({**where, "scores": {"AA": score}, "by_class": {}})
        predictions.append(said.assign(fraction=fraction, seed=seed, inputs="s2"))
        runs.append(
            Run("single_label", name, "scratch", "s2", n_labels, str(seed), "AA", round(score, 6))
        )
    arm = {"arm": name, "task": "single_label", "metric": "AA", "exclusive": True, "init": "i",
           "method": "random", "head": "linear", "frozen": False, "inputs": "s2",
           "classes": CLASSES, "left_out": {}, "points": points}  # fmt: skip
    for kind in ("arms", "predictions"):
        (folder / kind).mkdir(exist_ok=True)
    table = folder / f"predictions/{name}.parquet"
    pd.concat(predictions).to_parquet(table)
    write_text(folder / f"arms/{name}.json", json.dumps(arm))
    return runs


def tables(offset: int = 0) -> dict[tuple[float, int, int], pd.DataFrame]:
    rng = np.random.default_rng(offset)
    return {
        (n / 100, n, seed): table({group: int(rng.integers(2, 10)) for group in GROUPS})
        for n in (10, 30, 100)
        for seed in (4, 5)
    }


def test_scores_on_resampled_groups_are_those_of_the_groups_drawn(tmp_path: Path) -> None:
    said = tables()
    runs = write(tmp_path, "one", said)
    (arm,) = arm_runs({"one": runs}, tmp_path, samples=50)
    assert (arm.groups, arm.supervised, arm.metric) == (3, True, "AA")
    assert arm.resampled is not None
    assert arm.resampled.shape == (50, 6)
    weights = Resampling(3, 1, 50).weights
    for number, run in enumerate(runs):
        rights = said[run.n_labels / 100, int(run.n_labels), int(run.seed)]
        hits = rights[rights["actual"] == rights["predicted"]].groupby("group")["count"].sum()
        np.testing.assert_allclose(arm.resampled[:, number], weights @ hits.to_numpy() / 60)


def test_arms_share_draws_also_where_one_lacks_a_group(tmp_path: Path) -> None:
    full, less = tables(), {key: t[t["group"] != "g1"] for key, t in tables().items()}
    runs = {"full": write(tmp_path, "full", full), "less": write(tmp_path, "less", less)}
    first, second = arm_runs(runs, tmp_path, samples=200)
    assert first.groups == second.groups == 3
    assert first.resampled is not None
    assert second.resampled is not None
    weights = Resampling(3, 1, 200).weights
    asked = weights[:, [0, 2]].sum(1) > 0  # where `less` has a patch to be scored by
    assert len(first.resampled) == len(second.resampled) == asked.sum() < 200
    without = weights[asked, 1] == 0
    np.testing.assert_allclose(first.resampled[without], second.resampled[without])
    assert np.abs(first.resampled - second.resampled)[~without].max() > 0.01


def test_without_counts_of_every_arm_seeds_alone_are_left(tmp_path: Path) -> None:
    runs = {"one": write(tmp_path, "one", tables()), "two": write(tmp_path, "two", tables(1))}
    assert all(arm.groups == 3 for arm in arm_runs(runs, tmp_path, samples=5))
    (tmp_path / "predictions/two.parquet").unlink()
    for arm in arm_runs(runs, tmp_path, samples=5):
        assert (arm.groups, arm.resampled) == (0, None)


@pytest.mark.parametrize(
    ("init", "supervised"),
    [("random_resnet", True), ("random", True), ("mma", False), ("", False),
     ("random_resnet + random_swin", True), ("random_resnet + dual_simclr_swin", False)],
)  # fmt: skip
def test_inits_tell_labels_alone_where_nothing_else_does(
    tmp_path: Path, init: str, supervised: bool
) -> None:
    runs = [Run("t", "one", init, "", n, "0", "F1", 0.5) for n in (1, 2, 3)]
    assert arm_runs({"one": runs}, tmp_path, samples=5)[0].supervised == supervised


@pytest.mark.parametrize("change", [{"value": 0.123}, {"seed": "9"}, {"n_labels": 11.0}])
def test_counts_of_other_models_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    first, *rest = write(tmp_path, "one", tables())
    with pytest.raises(UserError, match=r"one\.json holds other models .*`dvc repro label_curve`"):
        arm_runs({"one": [replace(first, **change), *rest]}, tmp_path, samples=5)  # type: ignore[arg-type]


def test_means_are_over_the_seeds_of_one_number_of_labels(tmp_path: Path) -> None:
    runs = [
        Run("t", "one", "", "", n, s, "F1", v)
        for n, s, v in ((10, "0", 0.2), (20, "0", 0.3), (40, "0", 0.5), (40, "1", 0.7))
    ]
    (arm,) = arm_runs({"one": runs}, tmp_path, samples=5)
    assert arm.most == 40
    assert arm.mean_at(40) == pytest.approx(0.6)
    assert arm.mean_at(10) == pytest.approx(0.2)
