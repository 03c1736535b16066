"""What users do today: Dual-SimCLR on GeoTIFF patches with rasterio, timm, lightly and Adam.

    python benchmarks/reference.py            # pairs a second, by workers of the DataLoader

A Dataset opens both rasters of a place, crops, and divides every band of the crop by its maximum,
on the CPU and in float32, as the papers' code does; a DataLoader makes shuffled batches; two timm
models with a projection each are trained by lightly's NTXentLoss and torch's Adam.
`benchmarks/pretrain.py` runs it beside this project's way.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from lightly.loss import NTXentLoss
from loader import read_tiff, write_pairs
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rounds import in_turns, machine, print_rates
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

BANDS = {"s1": 2, "s2": 13}


class GeoTiffPairs(Dataset[dict[str, Tensor]]):
    """Random crops of pairs `s1_p<i>.tif` and `s2_p<i>.tif`, by rasterio."""

    def __init__(self, folder: Path, pairs: int, crop: int) -> None:
        self.folder, self.pairs, self.crop = folder, pairs, crop

    def __len__(self) -> int:
        return self.pairs

    def __getitem__(self, place: int) -> dict[str, Tensor]:
        """Both sensors' crops, float32, every band of the crop over its maximum."""
        s1 = read_tiff(self.folder / f"s1_p{place}.tif").astype(np.float32)
        s2 = read_tiff(self.folder / f"s2_p{place}.tif").astype(np.float32)
        top, left = np.random.randint(0, s1.shape[1] - self.crop + 1, 2)
        window = (slice(None), slice(top, top + self.crop), slice(left, left + self.crop))
        images = {"s1": s1[window].clip(-25, 0) + 25, "s2": s2[window].clip(0, 10_000)}
        return {sensor: torch.from_numpy(_over_maximum(image)) for sensor, image in images.items()}


def _over_maximum(image: NDArray[np.float32]) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = image / (image.max((1, 2), keepdims=True) + np.float32(1e-5))
    return scaled


class Reference:
    """The models, their optimiser and their data."""

    def __init__(
        self, folder: Path, pairs: int, crop: int, batch: int, workers: int,
        name: str, options: dict[str, Any], projection_dim: int = 128,
    ) -> None:  # fmt: skip
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.networks = nn.ModuleDict(
            {s: _network(name, options, bands, projection_dim) for s, bands in BANDS.items()}
        ).to(self.device)
        self.loss = NTXentLoss(temperature=0.1)
        self.optimizer = torch.optim.Adam(self.networks.parameters(), lr=1e-3)
        self.loader = DataLoader(
            GeoTiffPairs(folder, pairs, crop), batch, shuffle=True, num_workers=workers,
            drop_last=True, persistent_workers=workers > 0,
        )  # fmt: skip

    def epoch(self) -> int:
        """Train on every pair once; how many there were."""
        done = 0
        for batch in self.loader:
            z1, z2 = (self.networks[s](batch[s].to(self.device)) for s in BANDS)
            self.optimizer.zero_grad()
            torch.autograd.backward(self.loss(z1, z2))
            self.optimizer.step()
            done += len(z1)
        return done


def _network(name: str, options: dict[str, Any], bands: int, projection_dim: int) -> nn.Module:
    backbone: Any = timm.create_model(name, in_chans=bands, num_classes=0, **options)
    width = backbone.num_features
    head = (nn.Linear(width, width), nn.ReLU(), nn.Linear(width, projection_dim))
    return nn.Sequential(backbone, *head)


def main(argv: Sequence[str] | None = None) -> None:
    """Make the data, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backbone", default="resnet18")
    sizes = (("pairs", 256), ("size", 256), ("crop", 128), ("batch", 64), ("rounds", 3))
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    for name, default in sizes:
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    print(machine())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_pairs(folder, args.pairs, args.size, "pixel")
        ways: dict[str, Callable[[], int]] = {
            f"{workers} workers": Reference(
                folder, args.pairs, args.crop, args.batch, workers, args.backbone, {}
            ).epoch
            for workers in args.workers
        }
        print_rates("pairs/s", in_turns(ways, args.rounds))


if __name__ == "__main__":
    main()
