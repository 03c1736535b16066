"""The commands on scenes, `eocontrast predict` and `eocontrast embed`: options in, one call."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from eocontrast.modalities import SENSORS, Sensor, Units
from eocontrast.runtime.errors import UserError

if TYPE_CHECKING:
    from eocontrast.mapping.scenes import Image

_PREDICT = """\
Map a scene of any size with a fine-tuned model (models/finetuned/*.safetensors).

A segmenter says the class of every pixel, on the grid of Sentinel-2's finest band (Sentinel-1 is
warped to it), in tiles that overlap and are blended. A classifier says the class of patches, and a
pixel of its map is one: as large as those that it learnt from, or as --tile says; one with data in
less than half of its pixels has none.

  map.tif                 class in the model's colours; 0 is no data
  map_confidence.tif      its probability, and the entropy over all classes (0 to 1)
  map_probabilities.tif   with --probabilities, a band a class

All are cloud-optimised GeoTIFFs. Memory does not grow with the scene, but for the overlap's rows of
its width: it is twice what the model needs for 512 x 512 pixels, since two tiles are in work at a
time, and about 1 GiB besides.

  eocontrast predict models/finetuned/1.0-0.safetensors --s1 S1.tif --s2 S2.tif -o map.tif
  eocontrast predict MODEL --s2 'S2B_{band}.tif' --s2-units DN -o map.tif
"""

_EMBED = """\
Write pooled features of backbones as Parquet, a row a patch: of a scene's patches side by side as
GeoParquet, with their footprints, or of a patch store.

  eocontrast embed models/pretrained/dual_simclr_resnet.safetensors --s2 S2.tif -o scene.parquet
  eocontrast embed WEIGHTS --store data/patches/simulated -o store.parquet
"""


def add_scene_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`predict` and `embed`."""
    raw = argparse.RawDescriptionHelpFormatter
    told = "map a scene with a fine-tuned model"
    _add_predict(
        commands.add_parser("predict", help=told, description=_PREDICT, formatter_class=raw)
    )
    told = "write features of a scene or a patch store"
    _add_embed(commands.add_parser("embed", help=told, description=_EMBED, formatter_class=raw))


def predict(arguments: argparse.Namespace) -> int:
    """Write a map, and print the names of its files.

    Raises:
        UserError: model and scene do not suit each other, or the map is there already.
    """
    from eocontrast.mapping.predict import map_scene

    written = map_scene(
        arguments.model,
        _images(arguments),
        arguments.out,
        tile=arguments.tile,
        overlap=arguments.overlap,
        probabilities=arguments.probabilities,
        check_scale=not arguments.no_scale_check,
        overwrite=arguments.overwrite,
    )
    print(*written, sep="\n")
    return 0


def embed(arguments: argparse.Namespace) -> int:
    """Write a table of features, and print how many rows it has.

    Raises:
        UserError: weights and scene do not suit each other, or the table is there already.
    """
    from eocontrast.mapping.embed import embed_scene, embed_store

    images, out = _images(arguments), arguments.out
    if bool(images) == bool(arguments.store):
        raise UserError("give a scene, by --s1, --s2 or both, or a patch store by --store")
    if arguments.store:
        rows = embed_store(arguments.weights, arguments.store, out, arguments.overwrite)
    else:
        rows = embed_scene(
            arguments.weights,
            images,
            out,
            patch=arguments.patch,
            check_scale=not arguments.no_scale_check,
            overwrite=arguments.overwrite,
        )
    print(f"{out}: {rows} patches")
    return 0


def _images(arguments: argparse.Namespace) -> dict[Sensor, Image]:
    from eocontrast.mapping.scenes import Image

    given: dict[Sensor, Image] = {}
    for sensor in SENSORS:
        path, bands, units = (
            getattr(arguments, name) for name in (sensor, f"{sensor}_bands", f"{sensor}_units")
        )
        if path:
            given[sensor] = Image(path, bands and tuple(bands), units, tuple(arguments.fill_bands))
        elif bands or units:
            raise UserError(f"--{sensor}-bands and --{sensor}-units describe --{sensor}: name it")
    return given


def _side(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of pixels")
    return int(text)


def _add_scene(parser: argparse.ArgumentParser) -> None:
    scene = parser.add_argument_group(
        "the scene", "{band} in a path stands for one file a band. Bands are found by name; others "
        "are left out."
    )  # fmt: skip
    for sensor, name in zip(SENSORS, ("Sentinel-1", "Sentinel-2"), strict=True):
        add = scene.add_argument
        add(f"--{sensor}", metavar="RASTER", help=f"{name}'s image")
        add(f"--{sensor}-bands", nargs="+", metavar="NAME",
            help="in the order of the file; by default as it describes them, or as the model "
            "expects them if it has as many")  # fmt: skip
        add(f"--{sensor}-units", choices=get_args(Units), help="default: as the model expects")
    scene.add_argument("--fill-bands", nargs="+", default=(), metavar="NAME",
        help="no data where a sensor lacks them, which the model sees as their mean: B10 in a "
        "Level-2A product")  # fmt: skip
    scene.add_argument("--no-scale-check", action="store_true",
        help="take values that hardly look like their units")  # fmt: skip


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=predict)
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help="a fine-tuned .safetensors")
    add("-o", "--out", type=Path, required=True, metavar="MAP.tif")
    add("--overwrite", action="store_true", help="replace a map that is there")
    add("--probabilities", action="store_true", help="write a band a class besides")
    add("--tile", type=_side, metavar="PX",
        help="side of a tile (default: 512, less for whole windows of a Swin; as learnt, where "
        "crops are scaled by their maximum), or of a classifier's patch (as learnt)")  # fmt: skip
    add("--overlap", type=int, metavar="PX",
        help="of tiles, at most half of one (default: a sixteenth; half, where crops are scaled "
        "by their maximum)")  # fmt: skip
    _add_scene(parser)


def _add_embed(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=embed)
    add = parser.add_argument
    add("weights", type=Path, metavar="WEIGHTS", help="pretrained or fine-tuned .safetensors")
    add("-o", "--out", type=Path, required=True, metavar="OUT.parquet")
    add("--overwrite", action="store_true", help="replace OUT where it is there")
    add("--store", type=Path, metavar="FOLDER", help="a patch store instead of a scene")
    add("--patch", type=_side, metavar="PX", help="side of a scene's patches (default: as learnt)")
    _add_scene(parser)
