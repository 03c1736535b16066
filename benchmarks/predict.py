"""Compare the speed of `eocontrast predict` with that of the bare model.

    python benchmarks/predict.py                          # a Swin-UNet of random weights
    python benchmarks/predict.py --backbone papers        # the size of both papers
    python benchmarks/predict.py --model models/finetuned/1.0-0.safetensors --size 4096

The command maps random images (compressed GeoTIFFs): it reads, encodes, tiles, predicts, blends and
writes them. The bare model predicts one resident tile of the same size again and again. A map
cannot reach a ratio of 1 while tiles overlap; `tiles alone` prints the ratio that overlap allows.
Rounds alternate, so a busy machine slows down both.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from affine import Affine
from rounds import in_turns, machine, print_rates, ratio

from eocontrast.mapping.predict import lay_out, map_scene
from eocontrast.mapping.scenes import Image, open_scene
from eocontrast.modalities import SENSORS, SENTINEL1, SENTINEL2_L1C, Sensor
from eocontrast.models.backbones import Architecture
from eocontrast.models.build import load_finetuned, new_model
from eocontrast.models.finetuned import FinetunedSpec
from eocontrast.models.model import Model
from eocontrast.models.weight_files import save_weights
from eocontrast.models.weights import Pretrained
from eocontrast.patches.inputs import Batch, InputSpec
from eocontrast.training.devices import accelerator

BACKBONES: dict[str, dict[str, Any]] = {
    "small": {"img_size": 48, "window_size": 4, "embed_dim": 24, "depths": [2, 2, 2],
              "num_heads": [2, 4, 8]},
    "papers": {},
}  # fmt: skip
"""Options of timm's Swin-T in the default run and in both papers."""


def write_model(file: Path, options: dict[str, Any]) -> Path:
    """Write a Swin-UNet for two sensors and eight classes with random weights."""
    modalities = dict(zip(SENSORS, (SENTINEL1, SENTINEL2_L1C), strict=True))
    specs: dict[Sensor, InputSpec] = {}
    for sensor, modality in modalities.items():
        low, high = modality.valid_range
        each = (1.0,) * len(modality.bands)
        mean, sd = (tuple(n * one for one in each) for n in ((low + high) / 2, (high - low) / 4))
        specs[sensor] = InputSpec(modality, mean, sd, 48)
    architecture = Architecture("swin_tiny_patch4_window7_224", options)
    classes = [f"class {number}" for number in range(8)]
    spec = FinetunedSpec(
        task="segmentation",
        head="swin_unet",
        fusion="late",
        init="random",
        method="random",
        pretrained_digest="",
        frozen=False,
        lr=1e-3,
        backbone_lr_scale=1.0,
        modality_dropout=0.0,
        recipe={},
        fraction=1.0,
        seed=0,
        n_labels=0,
        n_pixels=0,
        n_validation=0,
        architecture=architecture,
        inputs=specs,
        classes=tuple(classes),
        palette=dict.fromkeys(classes, "#808080"),
        data={},
        data_digest="",
    )
    torch.manual_seed(0)
    model = new_model(Pretrained("random", architecture, specs, {}, ""), spec)
    save_weights(file, model.state_dict(), spec.to_dict())
    return file


def write_scene(folder: Path, model: Model, size: int) -> dict[Sensor, Image]:
    """Write random values from the middle of each sensor's range, tiled and deflated."""
    rng, images = np.random.default_rng(0), {}
    for sensor, spec in model.inputs.items():
        low, high = spec.modality.valid_range
        whole = spec.modality.units == "DN"
        images[sensor] = Image(str(folder / f"{sensor}.tif"))
        with rasterio.open(
            images[sensor].path, "w", driver="GTiff", count=len(spec.modality.bands),
            height=size, width=size, dtype="uint16" if whole else "float32", crs="EPSG:32633",
            transform=Affine(10, 0, 600000, 0, -10, 5300000), tiled=True, compress="deflate",
        ) as raster:  # fmt: skip
            for band in raster.indexes:
                values = rng.normal(0.4 * low + 0.6 * high, (high - low) / 20, (size, size))
                raster.write(values.astype(raster.dtypes[0]), band)
    return images


def resident_tile(model: Model, tile: int) -> Batch:
    """Return stored integers (1, bands, tile, tile) by sensor, on the device."""
    device = accelerator("auto").device
    batch: Batch = {}
    for sensor, spec in model.inputs.items():
        low, high = spec.modality.valid_range
        shape = (1, len(spec.modality.bands), tile, tile)
        values = np.random.default_rng(0).uniform(low, high, shape)
        batch[sensor] = torch.from_numpy(spec.modality.encode(values)).to(device)
    return batch


def main(argv: Sequence[str] | None = None) -> None:
    """Write a scene, measure both, and print the rates."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, help="segmenter (default: random weights)")
    parser.add_argument(
        "--backbone", choices=BACKBONES, default="small", help="size of the random model"
    )
    parser.add_argument("--tile", type=int, help="side of a tile (default: chosen by the model)")
    for name, default in (("size", 2048), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args(argv)
    size: int = args.size
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        file = args.model or write_model(folder / "model.safetensors", BACKBONES[args.backbone])
        model, spec = load_finetuned(file)
        images = write_scene(folder, model, size)
        with open_scene(images, model.inputs) as scene:
            tiling = lay_out(model, spec, scene.grid, args.tile, None).tiling
        resident = resident_tile(model, tiling.side)
        device = accelerator("auto")
        model.to(device.device).eval()
        tiles = range(max(1, round((size / tiling.side) ** 2)))

        def bare() -> int:
            with torch.no_grad(), device.autocast():
                for _ in tiles:
                    model(resident)
            return len(tiles) * tiling.side**2

        def whole() -> int:
            map_scene(
                file, images, folder / "map.tif", tile=args.tile, overlap=None, probabilities=False,
                check_scale=True, overwrite=True,
            )  # fmt: skip
            return size**2

        print(machine())
        print(f"{size} x {size} pixels in {len(tiling)} tiles of {tiling.side}")
        rates = in_turns({"bare model": bare, "predict": whole}, args.rounds)
    print_rates("pixels/s", rates)
    print(f"predict keeps {ratio(rates, 'predict', 'bare model')} of the bare model's speed")
    seen = sum(tile.height * tile.width for tile in tiling)
    print(f"tiles alone would leave {size**2 / seen:.2f}")


if __name__ == "__main__":
    main()
