"""What a map and a store take of memory, whatever the size of what they are made of."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio import Affine

from eocontrast.modalities import SENTINEL1
from eocontrast.patches.store import PatchStore

pytestmark = pytest.mark.slow

WriteModel = Callable[..., Path]
MIB = 2**20

MAP = """
import resource, sys
from eocontrast.cli.main import main
code = main(["predict", *sys.argv[1:], "--no-scale-check", "--tile", "256"])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def write_strips(path: Path, bands: int, side: int, dtype: str) -> None:
    """A tiled raster of a few values, written strip by strip."""
    shape = {"count": bands, "height": side, "width": side, "dtype": dtype, "crs": "EPSG:32633"}
    tiled = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
    place = Affine(10, 0, 600000, 0, -10, 5300000)
    strip = np.arange(side) % 7 * 100 + 800 if dtype == "uint16" else np.arange(side) % 7 - 15.0
    values = np.broadcast_to(strip.astype(dtype), (bands, 256, side))
    with rasterio.open(path, "w", driver="GTiff", transform=place, **shape, **tiled) as raster:
        for top in range(0, side, 256):
            window = rasterio.windows.Window(0, top, side, 256)
            raster.write(values, window=window)


def test_the_memory_of_a_map_does_not_grow_with_the_scene(
    mixed_store: PatchStore, write_model: WriteModel, tmp_path: Path
) -> None:
    file = write_model(mixed_store, head="unet", fusion="early", task="segmentation")
    peaks = {}
    for side in (1024, 4096):
        write_strips(tmp_path / "s1.tif", len(SENTINEL1.bands), side, "float32")
        write_strips(tmp_path / "s2.tif", 4, side, "uint16")
        rasters = ["--s1", str(tmp_path / "s1.tif"), "--s2", str(tmp_path / "s2.tif")]
        out = ["-o", str(tmp_path / f"{side}.tif"), "--s2-units", "DN"]
        bands = ["--s2-bands", *mixed_store.specs["s2"].modality.bands]
        command = [sys.executable, "-c", MAP, str(file), *rasters, *out, *bands]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        peaks[side] = int(done.stderr.split()[-1]) / 1024
        with rasterio.open(tmp_path / f"{side}.tif") as drawn:
            assert drawn.shape == (side, side)
    assert peaks[4096] < peaks[1024] + 150  # MiB; one of its bands alone has 64 as floats


NORMALISE = """
import sys
from pathlib import Path
from eocontrast.normalisation.build import build_store
limits = {"seed": 0, "test_fraction": 0.0, "max_bad_fraction": 0.0, "check_shift": True}
folder = Path(sys.argv[1])
if __name__ == "__main__":
    build_store(folder, folder / "store", folder / "audit.json", shard_mib=4, workers=2, **limits)
"""


def own_memory(root: int) -> float:
    """MiB that a process and all it started hold for themselves, shared libraries left out."""
    children: dict[int, list[int]] = {}
    private: dict[int, int] = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, StopIteration):
            status = (process / "status").read_text().splitlines()
            told = dict(line.split(":", 1) for line in status)
            children.setdefault(int(told["PPid"]), []).append(int(process.name))
            private[int(process.name)] = int(told.get("RssAnon", "0").split()[0])
    total, waiting = 0, [root]
    while waiting:
        process_id = waiting.pop()
        total += private.get(process_id, 0)
        waiting += children.get(process_id, [])
    return total / 1024


def test_a_store_is_built_within_half_a_gibibyte(
    write_source: Callable[..., Path], tmp_path: Path
) -> None:
    """Two workers and the process that leads them, less what is read from files, which the system
    may drop at any time. It was 306 MiB of 400 patches, and 321 of 3,000."""
    script = tmp_path / "build.py"
    script.write_text(NORMALISE)
    labels = [number % 3 for number in range(400)]
    raw = write_source("many", labels, splits=["train"] * 400, size=128)
    environment, peak = {**os.environ, "OMP_NUM_THREADS": "1"}, 0.0
    process = subprocess.Popen([sys.executable, str(script), str(raw)], env=environment)
    while process.poll() is None:
        peak = max(peak, own_memory(process.pid))
        time.sleep(0.05)
    assert process.returncode == 0
    assert len(PatchStore(raw / "store").index) == 400
    assert 150 < peak < 512  # one Python with numpy and rasterio has 60
