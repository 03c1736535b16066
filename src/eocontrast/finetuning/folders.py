"""The points that one call of the stage trains, and the folders that their files end up in."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from eocontrast.config.params import Params
from eocontrast.finetuning.points import Job, arm_points, points_digest, single_point
from eocontrast.finetuning.run import Trained, train_points
from eocontrast.models.decidable import no_interval
from eocontrast.models.point_files import SINGLE, write_index
from eocontrast.patches.store import PatchStore
from eocontrast.runtime.errors import UserError, named
from eocontrast.training.resuming import kept


@dataclass(frozen=True)
class ArmFolder:
    """All points of one arm.

    Attributes:
        path: Folder of their weight files and the index.
        jobs: The points.
        left_out: Fractions without a point, with the reason.
    """

    path: Path
    jobs: list[Job]
    left_out: dict[str, str]


def train_folders(
    name: str, params: Params, store: Path, pretrained: Path, out: Path
) -> Generator[Trained]:
    """Yield the points of the stage as they are trained, and move them to `out` after the last.

    Points that a previous call finished before it was stopped come first. Prints what the scores
    will lack before any training.

    Args:
        name: `single`, or the init of the arms.
        params: All parameters.
        store: Folder of the patch store.
        pretrained: Folder of the weights that arms start from.
        out: Folder of the single run, or of the arms' folders.

    Raises:
        UserError: as in `stage_folders` and `train_points`.
    """
    if name == SINGLE and (note := params.finetune.rates_note(params.label_curve.named_arms)):
        print(note, file=sys.stderr)
    folders = stage_folders(name, params, store, pretrained, out)
    for reason in without_interval(PatchStore(store), folders):
        print(f"no interval can be given: {reason}", file=sys.stderr, flush=True)
    jobs = most_labels_first(folders)
    with kept(points_digest(jobs)) as work:
        # DVC removes the outputs of a stage before it runs it again, but not this folder
        jobs = [job.moved(out, work or out) for job in jobs]
        yield from tqdm(train_points(jobs), f"finetune {name}", len(jobs), disable=None)
        for folder in folders:
            publish(folder, out, work or out)
            for reason in folder.left_out.values():
                print(f"{folder.path.name}: left out: {reason}")


def stage_folders(
    name: str, params: Params, store: Path, pretrained: Path, out: Path
) -> list[ArmFolder]:
    """Return the points of the single run, or of every arm that starts from the same weights.

    Args:
        name: `single`, or the init of the arms.
        params: All parameters.
        store: Folder of the patch store.
        pretrained: Folder of the weights that arms start from.
        out: Folder of the single run, or of the arms' folders.

    Raises:
        UserError: No arm starts from such weights, or the test split has no label to score by.
    """
    arms = {} if name == SINGLE else named("label_curve.arms", name, params.label_curve.arms)
    # a store that was built for pretraining may hold no labels to score
    if not len(PatchStore(store).labelled("test")):
        raise UserError(
            f"{store} has no labelled patch in the split test; give groups or splits in the "
            "manifest, and run `dvc repro` again"
        )
    if name == SINGLE:
        return [ArmFolder(out, [single_point(params, store, pretrained, out)], {})]
    paths = {arm: out / arm for arm in arms}
    return [
        ArmFolder(path, *arm_points(arm, params, store, pretrained, path))
        for arm, path in paths.items()
    ]


def without_interval(store: PatchStore, folders: Sequence[ArmFolder]) -> list[str]:
    """Return the reasons why scores of these arms will have no interval, before any training."""
    tasks = {folder.jobs[0].task.name: folder.jobs[0].task for folder in folders if folder.jobs}
    return [f"{name}: {why}" for name, task in tasks.items() for why in no_interval(store, task)]


def most_labels_first(folders: Sequence[ArmFolder]) -> list[Job]:
    """Return all points in the order of training: at its end no core waits long for another."""
    return sorted((job for folder in folders for job in folder.jobs), key=lambda j: -j.fraction)


def publish(folder: ArmFolder, out: Path, work: Path) -> None:
    """Move the trained points of an arm from the folder of unfinished work, and list them.

    Args:
        folder: The arm.
        out: Folder of the stage's output.
        work: Folder that stood for `out` while points were trained, or `out` itself.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    for job in folder.jobs:
        trained = job.moved(out, work)
        trained.file.with_suffix(".json").unlink()  # its history, which MLflow has by now
        # equal if another process does the same work, and so has the folder of unfinished work
        if trained.file != job.file:
            shutil.move(trained.file, job.file)
    # last: later stages read by this list, so it must name complete files only
    write_index(folder.path, [job.file.name for job in folder.jobs], folder.left_out)
