"""The evaluation stages: the single run, and every arm and ensemble of the curve."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from accelerate import Accelerator
from tqdm import tqdm

from eocontrast.config.curve import LabelCurveParams
from eocontrast.config.params import Params
from eocontrast.evaluation.evaluate import Evaluation, evaluate
from eocontrast.evaluation.qualitative import write_maps
from eocontrast.evaluation.results import write_arm, write_point, write_predictions
from eocontrast.models.decidable import no_interval
from eocontrast.models.point_files import SINGLE, point_file, read_index
from eocontrast.patches.store import PatchStore

Scored = tuple[str, Path, Sequence[Evaluation]]
"""Name of an arm, weights of one of its points, and their evaluations."""


@dataclass(frozen=True)
class ScoredArms:
    """Arms that one pass scored, and the ensemble of two of them.

    Attributes:
        names: Names of the arms, then that of the ensemble.
        files: Weights of every point, one file per arm, or a single one: an arm may have seeds that
            the other has not.
        points: Evaluations of every point, by arm and ensemble, then by set of sensors.
        left_out: Fractions without a point, with the reason.
        no_interval: Reasons why the scores have no interval.
    """

    names: tuple[str, ...]
    files: list[tuple[Path, ...]]
    points: list[list[list[Evaluation]]]
    left_out: dict[str, str]
    no_interval: list[str]

    def models(self) -> Iterator[Scored]:
        """Yield every model with weights of its own, which an ensemble has not."""
        for members, point in zip(self.files, self.points, strict=True):
            # not strict: the last entry may be an ensemble, which has no file
            for file, evaluations in zip(members, point, strict=False):
                yield file.parent.name, file, evaluations

    def of(self, name: str) -> list[list[Evaluation]]:
        """Return the evaluations of every point of an arm or of the ensemble."""
        found = []
        for members, point in zip(self.files, self.points, strict=True):
            arms = [file.parent.name for file in members]
            scored = [*arms, self.names[-1]] if len(arms) > 1 else arms
            found += [point[at] for at, other in enumerate(scored) if other == name]
        return found


def evaluate_single(models: Path, store: PatchStore, device: Accelerator, metrics: Path) -> Scored:
    """Score the single run, and write `test.json`, its tables and the predictions.

    Args:
        models: Folder of the run's weights.
        store: Patches with a labelled test split.
        device: Where the model runs.
        metrics: Folder to write to.
    """
    # by the index, never by glob: an older run may have left a file there
    (file,) = read_index(models)[0]
    ((point,),) = evaluate([[file]], store, device)
    write_point(point, metrics / "test.json")
    write_predictions([point], metrics / "test_predictions.parquet")
    return SINGLE, file, point


def evaluate_arms(
    curve: LabelCurveParams, models: Path, store: PatchStore, device: Accelerator
) -> Iterator[ScoredArms]:
    """Score every point of every arm, and every ensemble together with its members.

    Args:
        curve: Arms and ensembles.
        models: Folder of the weights by init and arm.
        store: Patches with a labelled test split.
        device: Where the models run.
    """
    folders = arm_folders(curve, models)
    arms = []
    for names in curve.scored_together:
        found = [read_index(folders[name]) for name in names if name in folders]
        arms.append((names, _together([files for files, _ in found]), found[0][1]))
    # all in one go: no core waits while the scores of an arm are written
    every = [members for _, files, _ in arms for members in files]
    points = iter(tqdm(evaluate(every, store, device), "evaluate", len(every), disable=None))
    for names, files, left_out in arms:
        scored = list(islice(points, len(files)))
        # they depend on labels alone, so any point of the arm tells them
        reasons = no_interval(store, scored[0][0][0].task) if scored else []
        yield ScoredArms(names, files, scored, left_out, reasons)


def _together(found: Sequence[Sequence[Path]]) -> list[tuple[Path, ...]]:
    """Return the files of each point that all arms have, then those that one arm has alone."""
    by_name = [{file.name: file for file in files} for files in found]
    shared = [name for name in by_name[0] if all(name in files for files in by_name)]
    alone = [(file,) for files in by_name for name, file in files.items() if name not in shared]
    return [tuple(files[name] for files in by_name) for name in shared] + alone


def arm_folders(curve: LabelCurveParams, models: Path) -> dict[str, Path]:
    """Return the folder of every arm's weights."""
    return {name: models / arm.init / name for name, arm in curve.named_arms.items()}


def write_arms(scored: ScoredArms, metrics: Path) -> None:
    """Write scores to `arms/` and predictions to `predictions/`, one file per arm or ensemble."""
    for name in scored.names:
        written = metrics / f"arms/{name}.json", metrics / f"predictions/{name}.parquet"
        write_arm(name, scored.of(name), scored.left_out, *written, scored.no_interval)


def write_examples(
    params: Params, models: Path, store: PatchStore, device: Accelerator, metrics: Path
) -> None:
    """Segment the test patches of the figure of maps, and write `qualitative.npz`."""
    shown, curve = params.qualitative, params.label_curve
    folders = arm_folders(curve, models)
    files = {
        name: [point_file(folders[m], shown.fraction, shown.seed) for m in curve.members[name]]
        for name in shown.arms
    }
    write_maps(files, store, shown.patches, device, metrics / "qualitative.npz")
