"""How many times as fast the patch store is as reading the same patches with rasterio.

    python benchmarks/loader.py                 # 256 x 256 pixels, as SEN12MS ships them
    python benchmarks/loader.py --size 64 --patches 1024

Random GeoTIFF pairs in SEN12MS's form (2 bands float32, 13 bands uint16, uncompressed) are read in
the same shuffled batches: by rasterio the way a PyTorch Dataset would (open and read both sensors
of each patch, then stack them), by the store as training does. One process, warm page cache; rounds
alternate, so a busy machine slows down all. No reader passes the memory copy of the store's bytes.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from eocontrast.modalities import SENSORS, SENTINEL1, SENTINEL2_L1C
from eocontrast.normalisation import build_store
from eocontrast.patches import PatchStore
from eocontrast.sources import COLUMNS, Source
from eocontrast.subsets import Rows

Readers = dict[str, Callable[[Rows], object]]


def write_pairs(raw: Path, patches: int, size: int, interleave: str) -> None:
    """Random pairs as GeoTIFFs, with the manifest that `normalise` reads."""
    rng = np.random.default_rng(0)
    for i in range(patches):
        s1 = rng.uniform(-30, 0, (2, size, size)).astype(np.float32)
        s2 = rng.integers(1, 5000, (13, size, size), dtype=np.uint16)
        write_tiff(raw / f"s1_p{i}.tif", s1, interleave=interleave)
        write_tiff(raw / f"s2_p{i}.tif", s2, interleave=interleave)
    names = [f"p{i}" for i in range(patches)]
    cells = [(name, f"s1_{name}.tif", f"s2_{name}.tif", "", "g", "pretrain") for name in names]
    manifest = pd.DataFrame(cells, columns=list(COLUMNS))
    Source(SENTINEL1, SENTINEL2_L1C, {}, {}, manifest).write(raw)


def write_tiff(path: Path, bands: NDArray[np.generic], **options: str) -> None:
    """Bands of shape (bands, H, W), uncompressed."""
    shape = dict(zip(("count", "height", "width"), bands.shape, strict=True))
    with rasterio.open(path, "w", driver="GTiff", dtype=bands.dtype, **shape, **options) as raster:
        raster.write(bands)


def read_tiff(path: Path) -> NDArray[np.generic]:
    """All bands, shape (bands, H, W)."""
    with rasterio.open(path) as raster:
        bands: NDArray[np.generic] = raster.read()
    return bands


def readers(raw: Path, store: PatchStore, batch: int) -> Readers:
    """What reads the rows of a batch, by name."""
    files = [[raw / f"{s}_{patch}.tif" for patch in store.index["id"]] for s in SENSORS]
    size = sum(store.read(s, np.array([0])).nbytes for s in SENSORS)
    kept = {s: store.read(s, np.zeros(batch, np.int64)) for s in SENSORS}
    full, free = np.ones((batch, size), np.uint8), np.zeros((batch, size), np.uint8)
    return {
        "rasterio": lambda rows: [np.stack([read_tiff(f[r]) for r in rows]) for f in files],
        "patch store": lambda rows: [store.read(s, rows, out=kept[s]) for s in SENSORS],
        "memory copy": lambda rows: free.__setitem__(slice(len(rows)), full[: len(rows)]),
    }


def measure(reads: Readers, patches: int, batch: int, rounds: int) -> dict[str, list[float]]:
    """Seconds a patch of each reader in each round, after one round that warms the cache."""
    rng = np.random.default_rng(1)
    seconds: dict[str, list[float]] = {name: [] for name in reads}
    for order in (rng.permutation(patches) for _ in range(rounds + 1)):
        for name, read in reads.items():
            start = time.perf_counter()
            for first in range(0, patches, batch):
                read(order[first : first + batch])
            seconds[name].append((time.perf_counter() - start) / patches)
    return {name: values[1:] for name, values in seconds.items()}


def report(seconds: dict[str, list[float]]) -> None:
    """Print microseconds a patch and the ratios of the medians."""
    print(f"{'us a patch':12}{'min':>9}{'median':>9}{'max':>9}")
    for name, values in seconds.items():
        numbers = (min(values), statistics.median(values), max(values))
        print(f"{name:12}" + "".join(f"{1e6 * value:9.1f}" for value in numbers))
    tiff, store, copy = (statistics.median(values) for values in seconds.values())
    print(f"the store is {tiff / store:.1f} times as fast as rasterio")
    print(f"and takes {store / copy:.1f} times as long as the memory copy")


def main() -> None:
    """Make the data, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, default in (("patches", 256), ("batch", 128), ("size", 256), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    # pixel is what GDAL writes unless told otherwise
    parser.add_argument("--interleave", choices=("pixel", "band"), default="pixel")
    args = parser.parse_args()
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    with tempfile.TemporaryDirectory() as temporary:
        raw, folder = Path(temporary), Path(temporary, "store")
        write_pairs(raw, args.patches, args.size, args.interleave)
        build_store(
            raw,
            folder,
            raw / "audit.json",
            seed=0,
            test_fraction=0,
            shard_mib=64,
            max_bad_fraction=0,
            check_shift=False,
        )
        reads = readers(raw, PatchStore(folder), args.batch)
        print(f"{args.patches} pairs of {args.size} x {args.size} pixels, batches of {args.batch}")
        report(measure(reads, args.patches, args.batch, args.rounds))


if __name__ == "__main__":
    main()
