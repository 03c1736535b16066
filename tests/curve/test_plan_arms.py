from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from arm_results import GROUPS, SEEDS, arm

from eocontrast.curve.bootstrap import Resampling
from eocontrast.curve.plan_arms import ArmRuns, read_arms
from eocontrast.curve.tables import tidy
from eocontrast.evaluation.results import ArmResult
from eocontrast.evaluation.scores import scores
from eocontrast.runtime.errors import UserError

FRACTIONS = {0.1: 0.4, 0.5: 0.6, 1.0: 0.7}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, ArmResult]:
    """Two arms in the working directory, one of them tested on fewer groups."""
    made = {
        "full": arm("full", FRACTIONS, seed=1),
        "less": arm("less", FRACTIONS, supervised=True, seed=2, groups=GROUPS[:2]),
    }
    monkeypatch.chdir(tmp_path)
    for name in made:
        for file in (f"arms/{name}.json", f"predictions/{name}.parquet"):
            Path(file).parent.mkdir(exist_ok=True)
            Path(file).touch()
    monkeypatch.setattr("eocontrast.curve.plan_arms.read_arm", lambda file, _: made[file.stem])
    return made


def read(results: dict[str, ArmResult], samples: int = 50) -> list[ArmRuns]:
    tidy(results).to_csv("label_curve.csv", index=False)
    return read_arms(Path("label_curve.csv"), samples)["single_label"]


def test_scores_on_resampled_groups(results: dict[str, ArmResult]) -> None:
    (full,) = read({"full": results["full"]})
    assert (full.groups, full.supervised, full.metric) == (30, False, "AA")
    assert full.resampled is not None
    assert full.resampled.shape == (50, len(FRACTIONS) * len(SEEDS))
    for replicate, weights in enumerate(Resampling(30, 1, 50).weights):
        for number, tally in enumerate(results["full"].tallies.values()):
            drawn = sum(w * counts for w, counts in zip(weights, tally, strict=True))
            expected = scores(np.asarray(drawn), exclusive=True)["AA"]
            assert full.resampled[replicate, number] == pytest.approx(float(expected))


def test_arms_share_draws(results: dict[str, ArmResult]) -> None:
    """Draws without any group of one arm are left out for both."""
    full, less = read(results, samples=200)
    assert full.groups == less.groups == 30
    assert full.resampled is not None
    assert less.resampled is not None
    asked = Resampling(30, 1, 200).weights[:, :2].sum(1) > 0
    assert len(full.resampled) == len(less.resampled) == asked.sum() < 200


def test_seeds_alone_without_all_counts(results: dict[str, ArmResult]) -> None:
    Path("predictions/less.parquet").unlink()
    for runs in read(results):
        assert (runs.groups, runs.resampled) == (0, None)


@pytest.mark.parametrize("change", [{"value": 0.123}, {"n_labels": 11.0}])
def test_counts_of_other_models_are_refused(
    results: dict[str, ArmResult], change: dict[str, float]
) -> None:
    table = tidy(results)
    row = table.index[(table["metric"] == "AA") & (table["inputs"] == "s1+s2")][0]
    table.loc[row, [*change]] = [*change.values()]
    table.to_csv("label_curve.csv", index=False)
    with pytest.raises(UserError, match=r"full\.json holds other models .*`dvc repro label_curve`"):
        read_arms(Path("label_curve.csv"), 5)


@pytest.mark.parametrize(
    ("init", "supervised"),
    [("random_resnet", True), ("random", True), ("mma", False), ("", False),
     ("random_resnet + random_swin", True), ("random_resnet + dual_simclr_swin", False)],
)  # fmt: skip
def test_supervised_by_init(tmp_path: Path, init: str, supervised: bool) -> None:
    rows = [("t", "one", init, n, 0, "F1", 0.5) for n in (1, 2, 3)]
    columns = ["task", "arm", "init", "n_labels", "seed", "metric", "value"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "mine.csv", index=False)
    assert read_arms(tmp_path / "mine.csv", 5)["t"][0].supervised == supervised


def test_mean_at_number_of_labels() -> None:
    n_labels, values = np.array([10.0, 20, 40, 40]), np.array([0.2, 0.3, 0.5, 0.7])
    runs = ArmRuns("one", "t", "F1", False, n_labels, values, None, 0)
    assert runs.most == 40
    assert runs.mean_at(40) == pytest.approx(0.6)
    assert runs.mean_at(10) == pytest.approx(0.2)
