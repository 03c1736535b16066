"""How fast rasters become a patch store, beside rasterio alone reading the same files.

Both on one core, files in the page cache: `python benchmarks/normalise.py`. What a core of the
stage does includes every check, the encoding, the statistics and the writing of a new store. What a
store costs once weighs on few patches: the last line is of the patches between the two largest
sources alone.
"""

from __future__ import annotations

import argparse
import math
import shutil
import tempfile
import warnings
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import rasterio
from loader import read_tiff, write_tiff
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rounds import Rates, in_turns, print_rates, ratio

from eocontrast.labels import DFC_CLASSES, DFC_PALETTE
from eocontrast.modalities import SENTINEL1, SENTINEL2_L1C
from eocontrast.normalisation.build import build_store
from eocontrast.rasters.source import COLUMNS, Source

KINDS = ("s1", "s2", "label")


def write_source(folder: Path, patches: int, size: int) -> None:
    """Pairs with masks, and the manifest of them, as `download` leaves it."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(patches):
        place = rng.normal(0, 1, (1, size, size))
        kinds: dict[str, NDArray[np.generic]] = {
            "s1": (-12 + 3 * place + rng.normal(0, 2, (2, size, size))).astype(np.float32),
            "s2": (1500 + 300 * place + rng.normal(0, 50, (13, size, size))).astype(np.uint16),
            "label": rng.integers(1, 11, (1, size, size), dtype=np.uint8),
        }
        for kind, values in kinds.items():
            write_tiff(folder / f"{kind}_{number}.tif", values, interleave="pixel")
        paths = [f"{kind}_{number}.tif" for kind in KINDS]
        rows.append((f"p{number}", *paths, f"g{number // 16}", "train"))
    manifest = pd.DataFrame(rows, columns=list(COLUMNS))
    # a folder of its own, as `download` makes it: the stage takes the digest of all that lies in it
    (folder / "manifests").mkdir()
    source = Source(SENTINEL1, SENTINEL2_L1C, DFC_CLASSES, DFC_PALETTE, manifest, folder)
    source.write(folder / "manifests")


def read_all(folder: Path, patches: int) -> int:
    """Every pixel of every raster, with rasterio alone."""
    for number in range(patches):
        for kind in KINDS:
            read_tiff(folder / f"{kind}_{number}.tif")
    return patches


def build(folder: Path) -> int:
    """The stage on one core, less the search for shifts (`normalise.check_shift`)."""
    manifests, store, audit = (folder / name for name in ("manifests", "store", "audit.json"))
    limits = {"seed": 0, "test_fraction": 0.0, "max_bad_fraction": 0.0, "check_shift": False}
    counts = build_store(manifests, store, audit, shard_mib=64, workers=1, **limits)  # type: ignore[arg-type]
    return sum(counts.values())


def rates(patches: int, size: int, rounds: int) -> Rates:
    """Patches a second of rasterio alone and of the stage, round by round."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_source(folder, patches, size)
        ways = {"rasterio": lambda: read_all(folder, patches), "normalise": lambda: build(folder)}
        # DVC removes the store of an earlier run before the stage starts
        return in_turns(ways, rounds, lambda: shutil.rmtree(folder / "store", ignore_errors=True))


def between(few: Rates, many: Rates) -> Rates:
    """Patches a second of those that a source of twice the size has more, by the medians.

    Infinite where these took no longer: of a few patches the spread of the rounds is all there is.
    """
    seconds = {way: 2 / median(many[way]) - 1 / median(few[way]) for way in few}
    return {way: [1 / each if each > 0 else math.inf] for way, each in seconds.items()}


def show(title: str, measured: Rates) -> None:
    """Rates, and their ratio."""
    print_rates(title, measured)
    print(f"{'ratio':24}{ratio(measured, 'normalise', 'rasterio')}", flush=True)


def main() -> None:
    """Make the data, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, default in (("patches", 256), ("size", 256), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    print(f"{args.size} x {args.size} pixels with masks, rasterio {rasterio.__version__}, one core")
    found = {}
    for patches in (args.patches // 4, args.patches // 2, args.patches):
        found[patches] = rates(patches, args.size, args.rounds)
        show(f"{patches} patches a second", found[patches])
    show("between these two", between(found[args.patches // 2], found[args.patches]))


if __name__ == "__main__":
    main()
