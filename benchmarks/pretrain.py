"""Pairs a second through pretraining, beside the limit and beside what users do today.

    python benchmarks/pretrain.py                                        # the default run's model
    python benchmarks/pretrain.py --backbone resnet18 --size 256 --crop 128 --batch 64 --pairs 192

*The limit* is the same objective on one batch of views that is already on the device: forward,
backward and optimiser step in a loop. *eocontrast* is `pretrain` itself over a patch store: order,
reading, views, losses, learning rate. *Reference* is `benchmarks/reference.py` on GeoTIFFs of the
same pixels, with `--workers` of its DataLoader (none by default). Rounds alternate.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from loader import new_store, write_pairs
from rasterio.errors import NotGeoreferencedWarning
from reference import Reference
from rounds import Rates, in_turns, machine, print_rates, ratio
from torch import Tensor

from eocontrast.config.pretraining import DualSimCLRRun
from eocontrast.modalities import SENSORS, Sensor
from eocontrast.models.backbones import Architecture, Backbone
from eocontrast.patches.augment import Draws, View
from eocontrast.patches.inputs import Batch, InputSpec
from eocontrast.patches.store import PatchStore
from eocontrast.pretraining.batches import split_rows
from eocontrast.pretraining.loop import ViewSource, pretrain
from eocontrast.pretraining.objectives import DualSimCLR
from eocontrast.pretraining.views import PairViews
from eocontrast.training.devices import accelerator

DEFAULT = ("resnet10t", {"channels": [24, 48, 96, 192]})
"""That of the default run."""


@dataclass
class Waited:
    """Seconds that steps waited for their views, and when the last part of them began."""

    seconds: float = 0.0
    since: float = 0.0

    def stop(self) -> None:
        """Add the time since then."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds, self.since = self.seconds + now - self.since, now


@dataclass(frozen=True)
class TimedView(View):
    """A view that stops the clock when its pixels are there."""

    waited: Waited

    def __call__(self, stored: Tensor) -> Tensor:
        """Make the view."""
        shown = super().__call__(stored)
        self.waited.stop()
        return shown


@dataclass(frozen=True)
class TimedViews:
    """Views by the clock, from drawing a window to the pixels that it shows."""

    views: PairViews
    waited: Waited = field(default_factory=Waited)

    def windows(
        self, inputs: Mapping[Sensor, InputSpec], size: int, side: int, draws: Draws
    ) -> dict[Sensor, View]:
        """Start the clock and draw."""
        self.waited.since = time.perf_counter()
        drawn = self.views.windows(inputs, size, side, draws)
        return {s: TimedView(v.window, v.ys, v.xs, self.waited) for s, v in drawn.items()}


def new_run(crop: int, batch: int) -> DualSimCLRRun:
    """An epoch of Dual-SimCLR."""
    return DualSimCLRRun(
        method="dual_simclr", backbone="any", seeds=(0,), epochs=1, warmup_epochs=0,
        batch_size=batch, groups_per_batch=0, mask_same_group=False, crop=crop, flips=True,
        shared_crop=True, lr=1e-3, weight_decay=1e-4, temperature=0.1, projection_dim=128,
    )  # fmt: skip


def new_objective(
    store: PatchStore, name: str, options: dict[str, Any], run: DualSimCLRRun
) -> DualSimCLR:
    """Dual-SimCLR with a projection to 128 dimensions."""
    torch.manual_seed(0)
    architecture = Architecture(name, options)
    return DualSimCLR({s: Backbone(architecture, {s: store.specs[s]}) for s in SENSORS}, run)


def limit(objective: DualSimCLR, views: Batch, steps: int) -> Callable[[], int]:
    """Forward, backward and step on one resident batch; how many pairs went through."""
    optimizer = torch.optim.AdamW(objective.parameters(), lr=1e-3, fused=True)
    autocast = accelerator("auto").autocast

    def work() -> int:
        objective.train()
        for _ in range(steps):
            with autocast():
                loss = objective(views)
            torch.autograd.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
        return steps * len(views["s1"])

    return work


def ours(
    objective: DualSimCLR, views: TimedViews, store: PatchStore, run: DualSimCLRRun
) -> Callable[[], int]:
    """An epoch of `pretrain`; how many pairs went through."""
    device = accelerator("auto")

    def work() -> int:
        list(pretrain(objective, views, store, run, device))
        return len(split_rows(store, run.seed)[0]) // run.batch_size * run.batch_size

    return work


def report(rates: Rates, waits: list[float]) -> None:
    """Print rates, shares and ratios."""
    print_rates("pairs/s", rates)
    print(f"eocontrast reaches {ratio(rates, 'eocontrast', 'limit')} of the limit")
    print(f"and is {ratio(rates, 'eocontrast', 'reference')} times as fast as the reference")
    ordered = sorted(100 * wait for wait in waits)
    middle = ordered[len(ordered) // 2]
    print(f"{middle:.1f} % ({ordered[0]:.1f} to {ordered[-1]:.1f}) of the time waits for data")
    if torch.cuda.is_available():
        print(f"GPU memory: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB at most")


def compare(folder: Path, args: argparse.Namespace) -> None:
    """Measure all three ways on pairs in `folder`."""
    name, options = (args.backbone, {}) if args.backbone else DEFAULT
    waited, waits = Waited(), []
    store = PatchStore(new_store(folder, folder / "store"))
    run = new_run(args.crop, args.batch)
    views = TimedViews(PairViews(run), waited)
    device = accelerator("auto").device
    source = ViewSource(views, store.specs, store, run.seed, device)
    resident = source(store.rows("pretrain")[: args.batch], 0)
    objective = new_objective(store, name, options, run).to(device)
    whole = ours(objective, views, store, run)

    def timed() -> int:
        waited.seconds, start = 0.0, time.perf_counter()
        done = whole()
        waits.append(waited.seconds / (time.perf_counter() - start))
        return done

    other = Reference(
        folder, args.pairs, args.crop, args.batch, args.workers, name, options
    )  # fmt: skip
    ways = {
        "limit": limit(objective, resident, args.pairs // args.batch),
        "eocontrast": timed,
        "reference": other.epoch,
    }
    rates = in_turns(ways, args.rounds)
    report(rates, waits[1:])


def main(argv: Sequence[str] | None = None) -> None:
    """Make the data, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", help="a timm model (default: that of the default run)")
    sizes = (("pairs", 1024), ("size", 48), ("crop", 32), ("batch", 128), ("rounds", 5))
    for name, default in (*sizes, ("workers", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    print(machine())
    print(f"{args.pairs} pairs of {args.size} px, crops of {args.crop}, batches of {args.batch}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_pairs(folder, args.pairs, args.size, "pixel")
        compare(folder, args)


if __name__ == "__main__":
    main()
