"""The commands `eocontrast predict` and `eocontrast embed`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from eocontrast.cli.area import add_area_arguments, area_images
from eocontrast.cli.images import add_image
from eocontrast.cli.params import add_params_option
from eocontrast.modalities import SENSORS, Sensor
from eocontrast.runtime.errors import UserError

if TYPE_CHECKING:
    from eocontrast.mapping.scenes import Image

_PREDICT = """\
Map a scene of any size with a fine-tuned model (models/finetuned/*.safetensors).

A segmenter classifies every pixel on the grid of Sentinel-2's finest band. Sentinel-1 is warped to
that grid, and overlapping tiles are blended. A classifier classifies patches as large as those that
it was trained on, or as --tile, and each becomes one pixel of the map. A patch has no class if less
than half of its pixels hold data.

  map.tif                 class in the model's colours; 0 is no data
  map_confidence.tif      probability of that class, and entropy over all classes (0 to 1)
  map_probabilities.tif   with --probabilities, one band per class

All files are cloud-optimised GeoTIFFs. Two tiles are in work at a time, so memory is twice what the
model needs for 512 x 512 pixels, plus about 1 GiB. It does not grow with the scene.

  eocontrast predict models/finetuned/1.0-0.safetensors --s1 S1.tif --s2 S2.tif -o map.tif
  eocontrast predict MODEL --s2 'S2B_{band}.tif' --s2-units DN -o map.tif
  eocontrast predict MODEL --area area.geojson --dates 2024-05/2024-09 -o map.tif
"""

_EMBED = """\
Write pooled features of the backbones as Parquet, one row per patch.

The patches are those of a scene side by side, with their footprints as GeoParquet, or those of a
patch store. The whole table is held in memory.

  eocontrast embed models/pretrained/dual_simclr_resnet.safetensors --s2 S2.tif -o scene.parquet
  eocontrast embed WEIGHTS --store data/patches/simulated -o store.parquet
"""


def add_scene_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `predict` and `embed` to the subcommands."""
    for name, summary, text, add in (
        ("predict", "map a scene with a fine-tuned model", _PREDICT, _add_predict),
        ("embed", "write features of a scene or a patch store", _EMBED, _add_embed),
    ):
        raw = argparse.RawDescriptionHelpFormatter
        add(commands.add_parser(name, help=summary, description=text, formatter_class=raw))


def predict(arguments: argparse.Namespace) -> int:
    """Write a map and print the names of its files.

    Raises:
        UserError: model and scene do not fit, or the map exists.
    """
    from eocontrast.mapping.predict import map_scene

    polygons: Path | None = arguments.polygons
    if polygons:
        from eocontrast.mapping.polygons import check_polygons

        check_polygons(polygons, arguments.overwrite)
    elif arguments.sieve:
        raise UserError("--sieve removes small polygons: pass --polygons, too")
    written = map_scene(
        arguments.model,
        area_images(arguments) if arguments.area else _images(arguments),
        arguments.out,
        tile=arguments.tile,
        overlap=arguments.overlap,
        probabilities=arguments.probabilities,
        check_scale=not arguments.no_scale_check,
        overwrite=arguments.overwrite,
        resolution=arguments.resolution,
        allow_missing=arguments.allow_missing_sensor,
        known=_known_scores,
    )
    print(*written, sep="\n")
    if polygons:
        from eocontrast.mapping.polygons import write_polygons
        from eocontrast.models.weight_files import load_weights

        classes = tuple(load_weights(arguments.model)[1]["classes"])
        confidence = arguments.out.with_stem(f"{arguments.out.stem}_confidence")
        count = write_polygons(arguments.out, confidence, classes, polygons, arguments.sieve)
        print(f"{polygons}: {count} polygons")
    return 0


def _known_scores(file: Path) -> dict[str, float]:
    from eocontrast.tracking.known import known_scores  # MLflow takes seconds

    return known_scores(file)


def embed(arguments: argparse.Namespace) -> int:
    """Write a table of features and print its number of rows.

    Raises:
        UserError: weights and scene do not fit, or the table exists.
    """
    from eocontrast.mapping.embed import embed_scene, embed_store

    images, out = _images(arguments), arguments.out
    if bool(images) == bool(arguments.store):
        raise UserError("pass a scene by --s1, --s2 or both, or a patch store by --store")
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
            resolution=arguments.resolution,
        )
    print(f"{out}: {rows} patches")
    return 0


def _images(arguments: argparse.Namespace) -> dict[Sensor, Image]:
    from eocontrast.mapping.scenes import Image
    from eocontrast.rasters.values import Declared

    images: dict[Sensor, Image] = {}
    for sensor in SENSORS:
        names = (sensor, *(f"{sensor}_{name}" for name in ("bands", "units", "nodata", "offset")))
        path, bands, units, nodata, offset = (getattr(arguments, name) for name in names)
        if path:
            files = Declared.of(_nodata(nodata), "auto" if offset is None else offset)
            bands = bands and tuple(bands)
            images[sensor] = Image(path, bands, units, tuple(arguments.fill_bands), files)
        elif bands or units or nodata or offset is not None:
            raise UserError(f"--{sensor}-bands, --{sensor}-units, --{sensor}-nodata and "
                            f"--{sensor}-offset describe --{sensor}: pass it")  # fmt: skip
    return images


def _nodata(words: list[str] | None) -> str | list[float]:
    if not words or words in (["auto"], ["none"]):
        return words[0] if words else "auto"
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise UserError(f"no-data values {' '.join(words)}: expected numbers, or none") from error


def _side(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of pixels")
    return int(text)


def _add_scene(parser: argparse.ArgumentParser) -> None:
    scene = parser.add_argument_group(
        "the scene", "{band} in a path stands for one file per band, and the folder of a "
        "Sentinel-2 product (.SAFE) works too. Bands are found by name; others are ignored."
    )  # fmt: skip
    for sensor in SENSORS:
        bands = "its descriptions, or else the bands that the model expects"
        add_image(scene, sensor, bands, "those that the model expects")
        add = scene.add_argument
        add(f"--{sensor}-nodata", nargs="+", metavar="VALUE",
            help="values that mean no data, besides those that the file declares; none if no value "
            "does, not even the declared one")  # fmt: skip
        add(f"--{sensor}-offset", type=float, metavar="NUMBER",
            help="number to add to the values, such as -1000 for Sentinel-2 products since 2022 "
            "(default: that of the header or of the product's name)")  # fmt: skip
    scene.add_argument("--fill-bands", nargs="+", default=(), metavar="NAME",
        help="bands that may be missing, such as B10 in a Level-2A product; the model sees their "
        "mean")  # fmt: skip
    scene.add_argument("--resolution", choices=("model", "scene"),
        help="for pixels of another size than in training: resample the scene to the model's, or "
        "keep those of the scene (default: refuse it)")  # fmt: skip
    scene.add_argument("--no-scale-check", action="store_true",
        help="accept values that are implausible in their units")  # fmt: skip


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=predict)
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL", help="fine-tuned .safetensors file")
    add("-o", "--out", type=Path, required=True, metavar="MAP.tif")
    add("--overwrite", action="store_true", help="replace an existing map")
    add("--allow-missing-sensor", action="store_true",
        help="map without a sensor that the model was never trained without")  # fmt: skip
    add("--probabilities", action="store_true", help="also write one band per class")
    add("--polygons", type=Path, metavar="MAP.gpkg",
        help="also write neighbouring pixels of one class as a polygon with area and mean "
        "confidence; GeoPackage, GeoJSON, Shapefile or GeoParquet")  # fmt: skip
    add("--sieve", type=int, default=0, metavar="PX",
        help="polygons of fewer pixels join their largest neighbour")  # fmt: skip
    add("--tile", type=_side, metavar="PX",
        help="side of a tile (default: 512, or less for whole windows of a Swin), or of a "
        "classifier's patch (default: that of its training patches); models that scale crops by "
        "their maximum use the side of those crops")  # fmt: skip
    add("--overlap", type=int, metavar="PX",
        help="overlap of tiles, at most half of one (default: a sixteenth; half for models that "
        "scale crops by their maximum)")  # fmt: skip
    _add_scene(parser)
    add_area_arguments(parser)
    add_params_option(parser, "parameters of the catalogue, for --area")


def _add_embed(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=embed)
    add = parser.add_argument
    add("weights", type=Path, metavar="WEIGHTS", help="pretrained or fine-tuned .safetensors file")
    add("-o", "--out", type=Path, required=True, metavar="OUT.parquet")
    add("--overwrite", action="store_true", help="replace an existing table")
    add("--store", type=Path, metavar="FOLDER", help="patch store instead of a scene")
    add(
        "--patch",
        type=_side,
        metavar="PX",
        help="side of a scene's patches (default: that of the training patches)",
    )
    _add_scene(parser)
