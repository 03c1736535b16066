"""Time how the source `stac` reads pairs, beside odc-stac alone reading the same windows.

    python benchmarks/stac.py                # 500 patches of 128 px

A catalogue and its COGs lie on this machine and are served by another process. odc-stac alone loads
the bands, the scene classification and the radar of every patch, in as many threads as the source.
The source also searches, decides on the offset and writes pairs and records. Each way has one
process. The last table is the memory of a process that reads some patches and then ends.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import geopandas
import odc.stac
import pystac
import shapely
from odc.geo.geobox import GeoBox
from rounds import in_turns, machine, print_rates, ratio

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from stac_server import FileServer, StacServer
from stac_world import BANDS, PLANETARY, World

from eocontrast.config.catalogues import CollectionParams, OwnCatalogParams, StacParams
from eocontrast.config.labels import LabelsParams
from eocontrast.modalities import Units
from eocontrast.sources import stac
from eocontrast.sources.stac.load import configure, quiet
from eocontrast.sources.stac.patches import Patch, patches_of

LON, LAT = 9.3, 48.0
IN_BLOCK = 8
"""Cells along a block; one row and one column of them stay free."""


@dataclass(frozen=True)
class Bench:
    """A served catalogue and the parameters that read it."""

    folder: Path
    params: StacParams
    items: list[dict[str, Any]]

    def source(self) -> int:
        """Fetch all pairs in this process."""
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            return len(stac.fetch(self.folder / "out", self.params, workers=1).manifest)

    def alone(self) -> int:
        """Load the windows of all patches with odc-stac, and drop them."""
        optical, radar = (
            [pystac.Item.from_dict(item) for item in self.items if name in item["collection"]]
            for name in ("sentinel-2", "sentinel-1")
        )

        def read(patch: Patch) -> int:
            box = GeoBox((patch.side, patch.side), patch.grid.transform, f"EPSG:{patch.epsg}")
            for items, bands, resampling in (
                (optical, ["SCL"], "nearest"),
                (optical, list(BANDS), "bilinear"),
                (radar, ["vv", "vh"], "bilinear"),
            ):
                odc.stac.load(
                    items, bands=bands, geobox=box, resampling=resampling, groupby=lambda *_: 0
                )
            return 1

        configure({})
        with quiet(), ThreadPoolExecutor(stac.THREADS) as pool:
            return sum(pool.map(read, patches_of(self.params)))

    def forget(self) -> None:
        """Remove what the source wrote."""
        shutil.rmtree(self.folder / "out", ignore_errors=True)
        (self.folder / "out").mkdir()


def _serve(folder: Path, half: float, pipe: Any) -> None:  # noqa: ANN401 - a connection
    """Write scenes, serve them until the other end closes."""
    (folder / "cogs").mkdir()
    files = FileServer(folder / "cogs")
    world = World(folder / "cogs", LON, LAT, files.url)
    box = (LON - half, LAT - half, LON + half, LAT + half)
    stated = {"s2:processing_baseline": "05.09"}
    world.add_s2("S2", "2023-06-01", stated, epsg=32632, bbox=box, offset=1000)
    world.add_s1("S1", "2023-06-02", epsg=32632, bbox=box)
    pipe.send((StacServer(world.items).url, world.items))
    pipe.recv()


@contextmanager
def serving(patches: int, size: int) -> Iterator[Bench]:
    """Serve scenes that hold so many patches."""
    cells = ceil(sqrt(patches) * IN_BLOCK / (IN_BLOCK - 1)) + 2
    half = cells * size * 10 / 2 / 111_320
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        server = context.Process(target=_serve, args=(folder, 1.6 * half, theirs), daemon=True)
        server.start()
        url, items = mine.recv()
        area = shapely.box(LON - 1.5 * half, LAT - half, LON + 1.5 * half, LAT + half)
        geopandas.GeoDataFrame(geometry=[area], crs=4326).to_file(folder / "area.geojson")
        (folder / "none.geojson").write_text('{"type": "FeatureCollection", "features": []}')
        bench = Bench(folder, _params(folder, url, patches, size), items)
        bench.forget()
        yield bench
        mine.send("end")
        server.join()


def _params(folder: Path, url: str, patches: int, size: int) -> StacParams:
    def collection(
        name: str, assets: dict[str, str], units: Units, scl: str | None
    ) -> CollectionParams:
        return CollectionParams(
            url=url, collection=name, assets=assets, units=units, scene_classification=scl,
            signing="none", headers={},
        )  # fmt: skip

    assets = {band: PLANETARY[band] for band in BANDS}
    return StacParams(
        catalog=OwnCatalogParams(
            s1=collection("sentinel-1-rtc", {"VV": "vv", "VH": "vh"}, "linear", None),
            s2=collection("sentinel-2-l2a", assets, "DN", "SCL"),
        ),
        area=folder / "area.geojson",
        dates=("2023-05-01/2023-09-30",),
        bands=BANDS,
        orbit="descending",
        patch_size=size,
        patches=patches,
        max_cloud=0.1,
        max_days_apart=6,
        block_km=IN_BLOCK * size / 100,
        seed=0,
        classes={},
        labels=LabelsParams(path=folder / "none.geojson", class_column="class"),
        label_collection="none",
    )


def peak_memory(bench: Bench, patches: int) -> float:
    """Return the most MiB that a new process holds while it fetches so many patches."""
    bench.forget()
    child = os.fork()
    if not child:
        few = bench.params.model_copy(update={"patches": patches})
        Bench(bench.folder, few, bench.items).source()
        os._exit(0)
    _, status, usage = os.wait4(child, 0)
    assert status == 0
    return usage.ru_maxrss / 1024


def main(argv: Sequence[str] | None = None) -> None:
    """Serve, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, default in (("patches", 500), ("size", 128), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args(argv)
    print(machine())
    with serving(args.patches, args.size) as bench:
        # before threads and GDAL's cache exist here, which a fork would take along
        held = {number: peak_memory(bench, number) for number in (args.patches // 5, args.patches)}
        ways = {"odc-stac": bench.alone, "stac": bench.source}
        rates = in_turns(ways, args.rounds, bench.forget)
    print_rates(f"{args.patches} patches a second", rates)
    print(f"{'ratio':24}{ratio(rates, 'stac', 'odc-stac')}")
    print(f"{'patches':24}" + "".join(f"{number:12}" for number in held))
    print(f"{'MiB at most':24}" + "".join(f"{mib:12.0f}" for mib in held.values()))


if __name__ == "__main__":
    main()
