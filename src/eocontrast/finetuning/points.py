"""The points of the label curve: one arm, one label fraction, one seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from eocontrast.config.arms import Arm
from eocontrast.config.finetuning import ClassificationRecipe, Recipe, Recipes
from eocontrast.config.params import Params
from eocontrast.finetuning.budgets import unusable
from eocontrast.models.point_files import SINGLE, point_file, pretrained_file
from eocontrast.models.tasks import TASKS, Task
from eocontrast.patches.store import PatchStore
from eocontrast.runtime.files import file_sha256
from eocontrast.training.devices import Precision, accelerator
from eocontrast.training.resuming import digest


@dataclass(frozen=True)
class Job:
    """The inputs of one point's training, small enough for another process.

    Attributes:
        name: Name of the arm, or `SINGLE`.
        store: Folder of the patch store.
        init: File of the weights that the arm starts from.
        arm: What is trained.
        recipes: How it is trained, for each task.
        fraction: Share of the training labels.
        seed: Seed of the label subset, of new parameters and of the order of samples.
        precision: Precision of the arithmetic.
        out: Folder of the weight file.
        pretraining_seed: Seed of the pretraining that `init` holds.
    """

    name: str
    store: Path
    init: Path
    arm: Arm
    recipes: Recipes
    fraction: float
    seed: int
    precision: Precision
    out: Path
    pretraining_seed: int = 0

    @property
    def file(self) -> Path:
        """Return the path of the weights, named by fraction and seed."""
        return point_file(self.out, self.fraction, self.seed)

    @property
    def task(self) -> Task:
        """Return the task with its loss and metric."""
        return task_of(self.arm, self.recipes)

    @property
    def recipe(self) -> Recipe | ClassificationRecipe:
        """Return the recipe of the task; heads on features are trained for longer."""
        recipe: Recipe | ClassificationRecipe = getattr(self.recipes, self.arm.task)
        if self.on_features and isinstance(recipe, ClassificationRecipe):
            epochs = max(recipe.epochs, recipe.head_epochs)
            return recipe.model_copy(update={"epochs": epochs})
        return recipe

    @property
    def on_features(self) -> bool:
        """Return whether only a head is trained, on features that are computed once."""
        return self.arm.on_features

    def moved(self, old: Path, new: Path) -> Job:
        """Return the same point with its file below `new` instead of `old`."""
        return replace(self, out=new / self.out.relative_to(old))


def task_of(arm: Arm, recipes: Recipes) -> Task:
    """Return the task of an arm; the recipe says which labels a classifier uses."""
    if arm.task == "segmentation":
        return TASKS["segmentation"]
    return TASKS[recipes.classification.labels]


def single_point(params: Params, store: Path, pretrained: Path, out: Path) -> Job:
    """Return the point that `finetune` in params.yaml describes."""
    run, arm = params.finetune, params.single_arm
    init, origin = start(params, arm, pretrained, run.seed)
    fixed = (SINGLE, store, init, arm, run.recipe)
    return Job(*fixed, run.fraction, run.seed, params.precision, out, origin)


def start(params: Params, arm: Arm, pretrained: Path, seed: int) -> tuple[Path, int]:
    """Return the weights that a seed of fine-tuning starts from, and their pretraining's seed.

    Seeds of fine-tuning take turns: seed k starts from pretraining k modulo their number.
    """
    seeds = params.pretrain.inits[arm.init].seeds
    origin = seeds[seed % len(seeds)]
    return pretrained_file(pretrained, arm.init, seeds, origin), origin


def arm_points(
    name: str, params: Params, store: Path, pretrained: Path, out: Path
) -> tuple[list[Job], dict[str, str]]:
    """Return every point of an arm, and the fractions it cannot be trained on with the reason.

    Args:
        name: Name of the arm.
        params: All parameters.
        store: Folder of the patch store.
        pretrained: Folder of the weights that arms start from.
        out: Folder of the arm's weight files.
    """
    curve, arm = params.label_curve, params.label_curve.named_arms[name]
    left_out = unusable(PatchStore(store), arm, curve.fractions)
    jobs = []
    for fraction in curve.fractions:
        # as text, like the keys of the index, which is JSON
        if str(fraction) in left_out:
            continue
        for seed in curve.seeds_of(arm, fraction):
            init, origin = start(params, arm, pretrained, seed)
            fixed = (name, store, init, arm, params.finetune.recipe)
            jobs.append(Job(*fixed, fraction, seed, params.precision, out, origin))
    return jobs, left_out


def points_digest(jobs: Sequence[Job]) -> str:
    """Return a digest of everything that decides the weights of these points, paths left out."""
    if not jobs:  # every fraction was left out
        return digest()
    device = accelerator(jobs[0].precision)
    store = PatchStore(jobs[0].store).digest
    inits = [file_sha256(file) for file in dict.fromkeys(job.init for job in jobs)]
    # a queued experiment runs in a folder of its own, and may take over the same work
    points = [replace(job, store=Path(), init=Path(), out=Path()) for job in jobs]
    return digest(points, store, inits, device.device, device.mixed_precision)
