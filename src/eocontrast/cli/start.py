"""The command `eocontrast start`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eocontrast.cli.area import add_area_arguments, fill_from_area
from eocontrast.cli.images import add_image
from eocontrast.cli.params import add_params_option, read_params, write_params
from eocontrast.modalities import SENSORS, Sensor
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import refuse_existing, write_text

if TYPE_CHECKING:
    from eocontrast.sources.scenes.cut import Cutting
    from eocontrast.sources.scenes.inspect import SceneImage

_START = """\
Fill in params.yaml from two scenes, which are cut into pairs of patches, or from an area and dates,
whose pairs come from a catalogue. Run it in a clone of the project; the next command is
`dvc repro`.

LABELS are polygons or points with a class column (GeoPackage, GeoJSON, Shapefile, GeoParquet) in
any CRS, or a label raster. Patches lie in blocks. A block is trained on or tested on, and patches
between the two are left out.

  eocontrast start --s1 S1.tif --s2 S2.tif --labels fields.gpkg --class-column crop
  eocontrast start --s1 S1.tif --s2 'S2_{band}.tif' --labels landcover.tif -o data/place
  eocontrast start --area area.geojson --dates 2023-05/2023-09 --labels fields.gpkg \\
    --class-column crop
"""


PATCHES = 2000
"""Most patches of a scene without labels by default."""


def add_start_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `start` to the subcommands."""
    parser = commands.add_parser(
        "start",
        help="fill in params.yaml from scenes or an area, and labels",
        description=_START,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=start)
    add_scene_arguments(parser, s2_required=False)
    add_area_arguments(parser)
    add = parser.add_argument
    add("-o", "--out", type=Path, default=Path("data/place"), metavar="FOLDER",
        help="folder for patches and manifest (default: %(default)s)")  # fmt: skip
    add("--overwrite", action="store_true", help="replace an existing manifest")
    add("--patches", type=int, metavar="N",
        help="most patches without labels of a scene, or patches of an area, of which those with "
        f"labels come first (default: {PATCHES}, or as in params.yaml)")  # fmt: skip
    add_params_option(parser, "parameters to fill in")


def add_scene_arguments(parser: argparse.ArgumentParser, s2_required: bool) -> None:
    """Add scenes, labels, patches and blocks."""
    scene = parser.add_argument_group(
        "the scenes", "{band} in a path stands for one file per band. Sentinel-1 is warped to the "
        "grid of Sentinel-2."
    )  # fmt: skip
    for sensor in SENSORS:
        required = sensor == "s2" and s2_required
        add_image(scene, sensor, "its descriptions", "found from the values", required)
    add = parser.add_argument
    add("--labels", type=Path, required=True, metavar="LABELS",
        help="polygons, points or a label raster")  # fmt: skip
    add("--class-column", metavar="COLUMN", help="of LABELS (default: class)")
    add("--patch-size", type=int, default=48, metavar="PX",
        help="side of a patch, a multiple of 16 (default: %(default)s)")  # fmt: skip
    add("--block", type=int, metavar="PATCHES",
        help="side of a block (default: such that there are about 40)")  # fmt: skip
    add("--test-fraction", type=float, default=0.3, metavar="SHARE",
        help="share of the labels to test on (default: %(default)s)")  # fmt: skip
    add("--seed", type=int, default=0, help="of the division into blocks (default: %(default)s)")


def start(arguments: argparse.Namespace) -> int:
    """Fill in params.yaml from scenes or from an area, and print what was assumed.

    Raises:
        UserError: a file cannot be used, or labels and images do not overlap.
    """
    scenes = [sensor for sensor in SENSORS if getattr(arguments, sensor)]
    if arguments.area and scenes:
        raise UserError(f"pass --{scenes[0]} or --area: images come from one of the two")
    if not arguments.area and len(scenes) < len(SENSORS):
        raise UserError("pass two scenes by --s1 and --s2, or an area by --area and --dates")
    cutting, file = cutting_of(arguments), arguments.params
    parsed, text = read_params(file)
    fill = fill_from_area if arguments.area else _fill_from_scenes
    lines = fill(parsed, arguments, cutting)
    changed = write_params(file, parsed, text)
    print(*lines, sep="\n")
    print(f"wrote {changed} lines of {file}")
    print("single run: the U-Net (finetune.arm), whose model maps every pixel")
    print("next: dvc repro")
    return 0


def _fill_from_scenes(parsed: Any, arguments: argparse.Namespace, cutting: Cutting) -> list[str]:  # noqa: ANN401 - parsed YAML
    """Cut scenes into pairs, fill in their parameters and return what was assumed."""
    from eocontrast.sources.scenes.project import cut_project, fill_params, find_labels

    out = arguments.out
    refuse_existing(out / "manifest.csv", arguments.overwrite)
    labels = find_labels(arguments.labels, arguments.class_column)
    project = cut_project(scene_images(arguments), labels, cutting, out)
    write_text(out / ".gitignore", "*\n")  # rasters do not belong into git
    fill_params(parsed, project)
    return [*project.lines(), f"wrote {project.manifest} ({project.pairs} pairs)"]


def scene_images(arguments: argparse.Namespace) -> dict[Sensor, SceneImage]:
    """Return the images that the arguments name, with bands and units."""
    from eocontrast.sources.scenes.inspect import inspect

    images = {}
    for sensor in SENSORS:
        path, bands, units = (
            getattr(arguments, name) for name in (sensor, f"{sensor}_bands", f"{sensor}_units")
        )
        if path:
            images[sensor] = inspect(sensor, path, bands and tuple(bands), units)
        elif bands or units:
            raise UserError(f"--{sensor}-bands and --{sensor}-units describe --{sensor}: pass it")
    return images


def cutting_of(arguments: argparse.Namespace) -> Cutting:
    """Return the checked size and number of patches.

    Raises:
        UserError: an argument is out of range.
    """
    from eocontrast.sources.scenes.cut import Cutting

    side, share = arguments.patch_size, arguments.test_fraction
    if side < 32 or side % 16:
        raise UserError(f"--patch-size is {side}; expected a multiple of 16, 32 at least")
    if not 0 < share < 1:
        raise UserError(f"--test-fraction is {share}; expected a share between 0 and 1")
    if arguments.block is not None and arguments.block < 1:
        raise UserError(f"--block is {arguments.block}; expected 1 or more patches")
    patches = PATCHES if arguments.patches is None else max(arguments.patches, 0)
    return Cutting(side, arguments.block, patches, share, arguments.seed)
