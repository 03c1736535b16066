"""The scores of an arm's trained models, once and on resampled test groups."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from eocontrast.curve.bootstrap import Resampling
from eocontrast.curve.plan_table import Run
from eocontrast.curve.power_law import Array
from eocontrast.evaluation.results import ArmResult, read_arm
from eocontrast.runtime.errors import UserError


@dataclass(frozen=True)
class ArmRuns:
    """One arm's models.

    Attributes:
        name: of the arm.
        task: what was learnt.
        metric: of the scores.
        supervised: whether labels alone were used.
        n_labels: of each model, (m,).
        scores: of each, (m,).
        resampled: of each on draws of the test groups, (B, m), the same draws for every arm of a
            task; none where the groups' counts are not at hand.
        groups: test groups drawn from; 0 likewise.
    """

    name: str
    task: str
    metric: str
    supervised: bool
    n_labels: Array
    scores: Array
    resampled: Array | None
    groups: int

    @property
    def most(self) -> float:
        """The largest number of labels."""
        return float(self.n_labels.max())

    def mean_at(self, n_labels: float) -> float:
        """Mean score of the models with so many labels."""
        return float(self.scores[self.n_labels == n_labels].mean())


def arm_runs(runs: dict[str, list[Run]], folder: Path, samples: int) -> list[ArmRuns]:
    """The arms of one task, on resampled test groups where `folder` holds the counts of all.

    Args:
        runs: by arm, of one task.
        folder: with `arms/` and `predictions/`, as `evaluate_grid` leaves them.
        samples: draws of the test groups.

    Raises:
        UserError: those files are damaged, or of other models than `runs`.
    """
    files = {n: (folder / f"arms/{n}.json", folder / f"predictions/{n}.parquet") for n in runs}
    if not all(path.exists() for pair in files.values() for path in pair):
        return [_seeds_alone(name, own) for name, own in runs.items()]
    read = {name: read_arm(*pair) for name, pair in files.items()}
    groups = sorted({group for arm in read.values() if arm is not None for group in arm.groups})
    draws = Resampling(len(groups), seeds=1, samples=samples)
    arms = [_by_group(own, read[name], groups, draws, folder) for name, own in runs.items()]
    return _where_all_have_scores(arms)


def _where_all_have_scores(arms: list[ArmRuns]) -> list[ArmRuns]:
    """Without the draws of groups in which an arm was not asked at all: they have no score."""
    drawn = [arm.resampled for arm in arms if arm.resampled is not None]
    known = np.isfinite(np.concatenate(drawn, axis=1)).all(axis=1)
    return [replace(arm, resampled=own[known]) for arm, own in zip(arms, drawn, strict=True)]


def _seeds_alone(name: str, runs: list[Run]) -> ArmRuns:
    some = runs[0]
    return ArmRuns(
        name=name,
        task=some.task,
        metric=some.metric,
        # an ensemble starts from several, joined by a plus
        supervised=all(init.startswith("random") for init in some.init.split(" + ")),
        n_labels=np.array([run.n_labels for run in runs]),
        scores=np.array([run.value for run in runs]),
        resampled=None,
        groups=0,
    )


def _by_group(
    runs: list[Run], arm: ArmResult | None, groups: list[str], draws: Resampling, folder: Path
) -> ArmRuns:
    alone = _seeds_alone(runs[0].arm, runs)
    places = {} if arm is None else _places(arm)
    other = UserError(
        f"{folder / 'arms'}/{alone.name}.json holds other models than the curve beside it: run "
        "`dvc repro label_curve`, or move the curve elsewhere to plan by seeds alone"
    )
    if arm is None or any((run.n_labels, run.seed) not in places for run in runs):
        raise other
    at = np.searchsorted(groups, arm.groups)  # a group without a scored pixel is in no table
    tallies = np.zeros((len(runs), len(groups), len(arm.classes), 4))
    tallies[:, at] = np.stack([arm.tallies[places[run.n_labels, run.seed]] for run in runs])
    scored = [draws.score(counts[None], alone.metric, arm.exclusive) for counts in tallies]
    if not np.allclose([value for value, _ in scored], alone.scores, atol=1e-5):
        raise other
    resampled = np.stack([replicates for _, replicates in scored], axis=1)
    return replace(alone, supervised=arm.supervised, resampled=resampled, groups=len(groups))


def _places(arm: ArmResult) -> dict[tuple[float, str], tuple[float, int]]:
    """Fraction and seed, by number of labels and seed."""
    whole = arm.points[arm.points["inputs"] == arm.inputs]
    rows = whole[["fraction", "seed", "n_labels"]].itertuples(index=False)
    return {(float(n), str(seed)): (float(fraction), int(seed)) for fraction, seed, n in rows}
