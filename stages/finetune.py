"""Fine-tune the single run, or every point of the arms that start from the same weights.

python stages/finetune.py {single | INIT} STORE PRETRAINED OUT
"""

import shutil
from pathlib import Path

from tqdm import tqdm

from eocontrast.config.params import Params, load_params
from eocontrast.finetuning.points import Job, arm_points, points_digest, single_point
from eocontrast.finetuning.run import train_points
from eocontrast.models.point_files import write_index
from eocontrast.patches.store import PatchStore
from eocontrast.runtime.errors import UserError, named
from eocontrast.runtime.stage import run_stage
from eocontrast.tracking.tracker import Tracker
from eocontrast.training.devices import hardware
from eocontrast.training.resuming import kept

Points = dict[Path, tuple[list[Job], dict[str, str]]]
"""Points, and fractions left out with the reason, by folder."""


def main(name: str, store: Path, pretrained: Path, out: Path) -> None:
    params = load_params()
    if name != "single":
        named("label_curve.arms", name, params.label_curve.arms)
    # a store that was built for pretraining may hold no labels to score
    if not len(PatchStore(store).labelled("test")):
        raise UserError(
            f"{store} has no labelled patch in the split test; give groups or splits in the "
            "manifest, and run `dvc repro` again"
        )
    jobs = _all(_points(name, params, store, pretrained, out))
    tracker = Tracker("finetune")
    with kept(points_digest(jobs)) as work:
        # DVC removes outputs before it runs a stage again: finished points of a run that was
        # stopped are in a folder of their own
        points = _points(name, params, store, pretrained, work or out)
        jobs = _all(points)
        for trained in tqdm(train_points(jobs), f"finetune {name}", len(jobs), disable=None):
            tracker.finetuned(trained.arm, trained)
        for folder, (of_arm, left_out) in points.items():
            target = out / folder.relative_to(work or out)
            target.mkdir(parents=True, exist_ok=True)
            for job in of_arm:
                job.file.with_suffix(".json").unlink()
                if job.file.parent != target:
                    shutil.move(job.file, target / job.file.name)
            write_index(target, [job.file.name for job in of_arm], left_out)
            for reason in left_out.values():
                print(f"{target.name}: left out: {reason}")
    tracker.ran("finetune" if name == "single" else f"finetune_grid@{name}", hardware())


def _points(name: str, params: Params, store: Path, pretrained: Path, out: Path) -> Points:
    if name == "single":
        return {out: ([single_point(params, store, pretrained, out)], {})}
    arms = named("label_curve.arms", name, params.label_curve.arms)
    folders = {arm: out / arm for arm in arms}
    return {
        folder: arm_points(arm, params, store, pretrained, folder)
        for arm, folder in folders.items()
    }


def _all(points: Points) -> list[Job]:
    """Return all points, most labels first: at the end no core then waits long for another."""
    return sorted((job for jobs, _ in points.values() for job in jobs), key=lambda j: -j.fraction)


if __name__ == "__main__":
    run_stage("finetune", main)
