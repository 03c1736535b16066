"""How fast rasters become a patch store, beside rasterio alone reading the same files.

Both on one core, files in the page cache: `python benchmarks/normalise.py`. What a core of the
stage does includes every check, the encoding, the statistics and the writing.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from loader import read_tiff, write_tiff
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from eocontrast.labels import DFC_CLASSES, DFC_PALETTE
from eocontrast.modalities import SENTINEL1, SENTINEL2_L1C
from eocontrast.normalisation import build_store
from eocontrast.sources import COLUMNS, Source

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
    Source(SENTINEL1, SENTINEL2_L1C, DFC_CLASSES, DFC_PALETTE, manifest).write(folder)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def read_all(folder: Path, patches: int) -> None:
    """Every pixel of every raster, with rasterio alone."""
    for number in range(patches):
        for kind in KINDS:
            read_tiff(folder / f"{kind}_{number}.tif")


def build(folder: Path) -> None:
    """The stage on one core, less the search for shifts (`normalise.check_shift`)."""
    store, audit = folder / "store", folder / "audit.json"
    limits = {"seed": 0, "test_fraction": 0.0, "max_bad_fraction": 0.0, "check_shift": False}
    build_store(folder, store, audit, shard_mib=64, workers=1, **limits)  # type: ignore[arg-type]


def rates(patches: int, size: int, rounds: int) -> tuple[float, float]:
    """Patches a second of rasterio alone and of the stage, the best of the rounds."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_source(folder, patches, size)
        alone = min(seconds(lambda: read_all(folder, patches)) for _ in range(rounds))
        stage = min(seconds(lambda: build(folder)) for _ in range(rounds))
    return patches / alone, patches / stage


def main() -> None:
    """Make the data, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, default in (("patches", 256), ("size", 256), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    print(f"{args.size} x {args.size} pixels with masks, rasterio {rasterio.__version__}, one core")
    print(f"{'patches':>8}{'rasterio':>12}{'normalise':>12}   patches/s; ratio")
    for patches in (args.patches // 4, args.patches // 2, args.patches):
        alone, stage = rates(patches, args.size, args.rounds)
        print(f"{patches:8}{alone:12.1f}{stage:12.1f}   {stage / alone:.2f}", flush=True)


if __name__ == "__main__":
    main()
