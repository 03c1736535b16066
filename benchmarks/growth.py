"""How the time of the label curve grows with patches, fractions and seeds.

    python benchmarks/growth.py                      # a few minutes on two cores
    python benchmarks/growth.py --steps 1 2 4 8

Everything but the number in question stays as it is: a simulated store is made (simulation,
`normalise`), an arm is trained as params.yaml has it (`train_points`), and scored on the test
scenes (`evaluate`). Where time grows linearly, seconds a unit stay or fall; they fall by what is
done once.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from rounds import machine

from eocontrast.config.params import Params, load_params
from eocontrast.evaluation.evaluate import evaluate
from eocontrast.finetuning.points import Job
from eocontrast.finetuning.run import train_points
from eocontrast.normalisation.build import build_store
from eocontrast.patches.store import PatchStore
from eocontrast.pretraining.run import pretrain_run
from eocontrast.sources.catalogue import fetch_source
from eocontrast.training.devices import accelerator

PARAMS = Path(__file__).parents[1] / "params.yaml"


@dataclass(frozen=True)
class Bench:
    """One arm of params.yaml, in a folder of its own."""

    folder: Path
    params: Params
    arm: str
    scenes: int
    patch_size: int

    def store(self, times: int) -> Path:
        """The store of `times` as many scenes, from nothing."""
        raw, manifests = (self.folder / f"{name}{times}" for name in ("raw", "manifests"))
        scenes = dict.fromkeys(("pretrain_scenes", "train_scenes"), times * self.scenes)
        sizes = {**scenes, "test_scenes": times * self.scenes, "patch_size": self.patch_size}
        simulated = self.params.sources.simulated.model_copy(update=sizes)
        sources = self.params.sources.model_copy(update={"simulated": simulated})
        fetch_source("simulated", raw, manifests, sources)
        store = self.folder / f"store{times}"
        given = {**self.params.normalise.model_dump(), "fill_bands": self.params.fill_bands}
        # in this process: the start of workers is none of what grows
        audit = self.folder / f"audit{times}.json"
        build_store(manifests, store, audit, **given, workers=1)
        return store

    def init(self, store: Path) -> Path:
        """Random weights for the arm's backbones."""
        name = self.params.label_curve.named_arms[self.arm].init
        run, weights = self.params.pretrain.runs[name], self.folder / f"{store.name}.safetensors"
        backbone = self.params.backbones[run.backbone]
        list(pretrain_run(run, backbone, PatchStore(store), weights, self.params.precision))
        return weights

    def points(self, store: Path, fractions: Sequence[float], seeds: int) -> list[Path]:
        """Train every point of the arm."""
        weights, curve = self.init(store), self.params.label_curve
        recipes, precision = self.params.finetune.recipe, self.params.precision
        arm = curve.named_arms[self.arm]
        out = Path(tempfile.mkdtemp(dir=self.folder))  # points that are there are not trained again
        jobs = [
            Job(
                self.arm, store, weights, arm, recipes, fraction, seed, precision, out,
            )
            for fraction in fractions
            for seed in range(seeds)
        ]  # fmt: skip
        return [trained.file for trained in train_points(jobs)]

    def score(self, files: Sequence[Path], store: Path) -> None:
        """Score points on the test scenes."""
        device = accelerator(self.params.precision)
        list(evaluate([[file] for file in files], PatchStore(store), device))


def seconds_of(work: Callable[[int], object], steps: Sequence[int]) -> dict[int, float]:
    """How long work takes by how many times as much there is of it; what it prints is left out."""
    found = {}
    for times in steps:
        start = time.perf_counter()
        with redirect_stdout(StringIO()):
            work(times)
        found[times] = time.perf_counter() - start
    return found


def print_growth(what: str, seconds: dict[int, float]) -> None:
    """Seconds, and seconds a unit over those of the smallest number."""
    first = min(seconds)
    print(f"{what:24}" + "".join(f"{number:>10} x" for number in seconds))
    print(f"{'seconds':24}" + "".join(f"{value:12.2f}" for value in seconds.values()))
    each = {number: value / number / (seconds[first] / first) for number, value in seconds.items()}
    print(f"{'a unit, over the first':24}" + "".join(f"{value:12.2f}" for value in each.values()))


def measure(bench: Bench, steps: Sequence[int]) -> None:
    """Print how each part grows with what it is said to."""
    stores: dict[int, Path] = {}
    files: dict[int, list[Path]] = {}
    fractions = [1 - 0.01 * number for number in range(max(steps))]  # about as many labels each

    def store(times: int) -> None:
        stores[times] = bench.store(times)

    def train(times: int) -> None:
        files[times] = bench.points(stores[times], [1.0], 2)

    def score(times: int) -> None:
        bench.score(files[times], stores[times])

    def train_fractions(times: int) -> None:
        bench.points(stores[steps[0]], fractions[:times], 2)

    def train_seeds(times: int) -> None:
        bench.points(stores[steps[0]], [1.0], 2 * times)

    print_growth("patches: stores", seconds_of(store, steps))
    print_growth("patches: training", seconds_of(train, steps))
    print_growth("patches: scores", seconds_of(score, steps))
    print_growth("fractions: training", seconds_of(train_fractions, steps))
    print_growth("seeds: training", seconds_of(train_seeds, steps))


def main(argv: Sequence[str] | None = None) -> None:
    """Make the stores, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arm", default="s2", help="of params.yaml, from random weights")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4], help="times as much")
    for name, default in (("scenes", 4), ("patch-size", 48)):
        parser.add_argument(f"--{name}", type=int, default=default, help="at 1 x, of every split")
    args = parser.parse_args(argv)
    print(machine())
    with tempfile.TemporaryDirectory() as temporary:
        params = load_params(PARAMS)
        bench = Bench(Path(temporary), params, args.arm, args.scenes, args.patch_size)
        measure(bench, args.steps)


if __name__ == "__main__":
    main()
