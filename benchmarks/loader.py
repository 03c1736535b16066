"""How many times as fast the patch store is as reading the same patches with rasterio.

    python benchmarks/loader.py                 # 256 x 256 pixels, as SEN12MS ships them
    python benchmarks/loader.py --size 64 --patches 1024
    python benchmarks/loader.py --cold          # every round begins with nothing in the page cache

Random GeoTIFF pairs in SEN12MS's form (2 bands float32, 13 bands uint16, uncompressed) are read in
the same shuffled batches: by rasterio the way a PyTorch Dataset would (open and read both sensors
of each patch, then stack them), by the store as training does. One process, which keeps the memory
that it frees, like training; rounds alternate. No reader passes the plain copy of the store's bytes
from memory to memory.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rounds import Rates, Ways, in_turns, machine, print_rates, ratio

from eocontrast.modalities import SENSORS, SENTINEL1, SENTINEL2_L1C
from eocontrast.normalisation.build import build_store
from eocontrast.patches.store import PatchStore, Rows
from eocontrast.rasters.source import COLUMNS, Source
from eocontrast.training.devices import keep_freed_memory


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


class Reopened:
    """A patch store that can be opened anew: pages that are mapped stay in the cache."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, PatchStore(folder)

    def reopen(self) -> None:
        """Map nothing any more."""
        self.store = PatchStore(self.folder)


def readers(raw: Path, opened: Reopened, batch: int) -> Ways:
    """What reads all patches in an order that is new every time, by name."""
    patches = len(opened.store.index)
    files = [[raw / f"{s}_{patch}.tif" for patch in opened.store.index["id"]] for s in SENSORS]
    one = [opened.store.read(s, np.zeros(1, np.int64)) for s in SENSORS]
    # as many bytes as the store holds: those of one batch would stay in the processor's cache
    full = np.ones((patches, sum(stored.nbytes for stored in one)), np.uint8)
    free = np.zeros_like(full[:batch])
    draws = np.random.default_rng(1)

    def copy_all() -> int:
        for first in range(0, patches, batch):
            piece = full[first : first + batch]
            free[: len(piece)] = piece
        return patches

    def in_batches(read: Callable[[Rows], object]) -> int:
        order = draws.permutation(patches)
        for first in range(0, patches, batch):
            read(order[first : first + batch])
        return patches

    return {
        "rasterio": lambda: in_batches(
            lambda rows: [np.stack([read_tiff(f[r]) for r in rows]) for f in files]
        ),
        "patch store": lambda: in_batches(
            lambda rows: [opened.store.read(s, rows) for s in SENSORS]
        ),
        "memory copy": copy_all,
    }


def forget(*folders: Path) -> None:
    """Drop all files from the page cache."""
    os.sync()  # what is not written yet stays
    for file in (each for folder in folders for each in folder.rglob("*") if each.is_file()):
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def report(rates: Rates) -> None:
    """Print patches a second and ratios."""
    print_rates("patches/s", rates)
    print(f"the store is {ratio(rates, 'patch store', 'rasterio')} times as fast as rasterio")
    print(f"and reaches {ratio(rates, 'patch store', 'memory copy')} of the memory copy")


def new_store(raw: Path, folder: Path) -> Path:
    """The patch store of pairs that `write_pairs` wrote."""
    build_store(
        raw, folder, raw / "audit.json", seed=0, test_fraction=0, shard_mib=64,
        max_bad_fraction=0, check_shift=False,
    )  # fmt: skip
    return folder


def main(argv: Sequence[str] | None = None) -> None:
    """Make the data, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, default in (("patches", 256), ("batch", 128), ("size", 256), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    # pixel is what GDAL writes unless told otherwise
    parser.add_argument("--interleave", choices=("pixel", "band"), default="pixel")
    parser.add_argument("--cold", action="store_true", help="with an empty page cache")
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as temporary:
        raw, folder = Path(temporary), Path(temporary, "store")
        write_pairs(raw, args.patches, args.size, args.interleave)
        new_store(raw, folder)
        cache = "an empty" if args.cold else "a warm"
        print(machine())
        print(
            f"{args.patches} pairs of {args.size} x {args.size} pixels, batches of {args.batch}, "
            f"{cache} page cache"
        )
        opened = Reopened(folder)

        def empty_cache() -> None:
            opened.reopen()
            forget(raw)

        before = empty_cache if args.cold else lambda: None
        report(in_turns(readers(raw, opened, args.batch), args.rounds, before))


if __name__ == "__main__":
    main()
