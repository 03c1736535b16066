"""The command `eocontrast map`: from scenes and labels to a map, with scores on held-out blocks."""

from __future__ import annotations

import argparse
import shutil
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from eocontrast.cli.params import add_params_option, read_params, write_params
from eocontrast.cli.start import add_scene_arguments, cutting_of, scene_images
from eocontrast.modalities import Sensor
from eocontrast.runtime.errors import UserError, named
from eocontrast.runtime.files import refuse_existing

if TYPE_CHECKING:  # torch takes seconds
    from eocontrast.config.arms import Arm
    from eocontrast.config.params import Params
    from eocontrast.evaluation.evaluate import Evaluation
    from eocontrast.models.weights import Pretrained
    from eocontrast.patches.store import PatchStore
    from eocontrast.sources.scenes.inspect import SceneImage

_MAP = """\
Map a scene from labelled polygons, points or a label raster. Run it in a clone of the project.

The scenes are cut into patches in blocks, as by `eocontrast start`. A U-Net is trained on labelled
pixels of the training blocks, and its scores on the held-out blocks are printed before the scene is
mapped. The model is kept beside the map, for `eocontrast predict` on other scenes. To compare
methods and to see how many labels you need, use `eocontrast start` and `dvc repro` instead.

With --init, a segmenter starts from pretrained weights instead: a file, or one or two names of
`eocontrast weights`. A sensor that they were not trained on is left out.

  eocontrast map --s1 S1.tif --s2 S2.tif --labels fields.gpkg --class-column crop -o map.tif
  eocontrast map --s2 S2.tif --labels fields.gpkg --class-column crop -o map.tif
  eocontrast map --s1 S1.tif --s2 S2.tif --labels fields.gpkg --class-column crop -o map.tif \\
    --init models/pretrained/dual_simclr_swin.safetensors
"""


def add_map_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `map` to the subcommands."""
    parser = commands.add_parser(
        "map",
        help="map a scene from labelled polygons",
        description=_MAP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # cut no unlabelled patches: they serve pretraining alone
    parser.set_defaults(run=map_labels, patches=0)
    add_scene_arguments(parser, s2_required=True)
    add = parser.add_argument
    add("-o", "--out", type=Path, required=True, metavar="MAP.tif")
    add("--overwrite", action="store_true", help="replace an existing map")
    add("--init", nargs="+", default=(), metavar="INIT",
        help="pretrained file, or a published name per sensor (default: none)")  # fmt: skip
    add("--steps", type=int, default=600, metavar="N",
        help="steps of training, at least (default: %(default)s)")  # fmt: skip
    add_params_option(parser, "recipe and backbone of the U-Net")


def map_labels(arguments: argparse.Namespace) -> int:
    """Train on labels, print scores on held-out blocks, and write the map and its model.

    Raises:
        UserError: a file cannot be used, files do not overlap, or the map exists.
    """
    from eocontrast.cli.map_start import read_init
    from eocontrast.mapping.geotiff import check_names
    from eocontrast.mapping.layers import layers
    from eocontrast.mapping.predict import map_scene
    from eocontrast.mapping.scenes import Image

    if arguments.steps < 1:
        raise UserError(f"--steps is {arguments.steps}; expected 1 or more")
    out: Path = arguments.out
    model = out.with_suffix(".safetensors")
    check_names(out, layers(("class",), True, False), arguments.overwrite)
    refuse_existing(model, arguments.overwrite)
    images = scene_images(arguments)
    init = read_init(arguments.init) if arguments.init else None
    out.parent.mkdir(parents=True, exist_ok=True)
    # beside the map, where there is room for it
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.stem}.") as folder:
        trained, scores = _train(arguments, images, init, Path(folder))
        print(*_lines(scores), sep="\n", flush=True)
        shutil.copy(trained, model)
        described: dict[Sensor, Image] = {
            sensor: Image(image.path, image.modality.bands, image.modality.units)
            for sensor, image in images.items()
            if sensor in scores.inputs.split("+")
        }
        written = map_scene(
            model,
            described,
            out,
            tile=None,
            overlap=None,
            probabilities=False,
            check_scale=True,
            overwrite=arguments.overwrite,
        )
    print(*written, model, sep="\n")
    return 0


def _train(
    arguments: argparse.Namespace,
    images: dict[Sensor, SceneImage],
    init: Pretrained | None,
    folder: Path,
) -> tuple[Path, Evaluation]:
    """Cut, encode, train and score by the functions of the stages."""
    from eocontrast.config.params import load_params
    from eocontrast.evaluation.evaluate import evaluate
    from eocontrast.finetuning.points import Job
    from eocontrast.finetuning.run import train_points
    from eocontrast.normalisation.build import build_store
    from eocontrast.patches.store import PatchStore
    from eocontrast.sources.catalogue import fetch_source
    from eocontrast.sources.scenes.project import cut_project, fill_params, find_labels
    from eocontrast.training.devices import accelerator

    labels = find_labels(arguments.labels, arguments.class_column)
    # without Sentinel-1 the table names Sentinel-2 twice, and the network sees it once
    both: dict[Sensor, SceneImage] = {"s1": images["s2"], **images}
    project = cut_project(both, labels, cutting_of(arguments), folder / "cut")
    print(*project.lines(), sep="\n", flush=True)
    parsed, text = read_params(arguments.params)
    fill_params(parsed, project)
    write_params(folder / "params.yaml", parsed, text)  # the user's own stays as it is
    params = load_params(folder / "params.yaml")
    fetch_source("manifest", folder / "raw", folder / "manifests", params.sources)
    settings = {**params.normalise.model_dump(), "fill_bands": params.fill_bands}
    # one sensor stands for both, and has no shift against itself
    settings["check_shift"] = settings["check_shift"] and len(images) > 1
    store = folder / "store"
    # beside the map: the lines that it prints name this file
    audit = arguments.out.with_name(f"{arguments.out.stem}_audit.json")
    build_store(folder / "manifests", store, audit, **settings)
    arm, start = _start(params, arguments.init, init, images, PatchStore(store), folder)
    recipes = params.finetune.recipe
    # a scene has few patches: the epochs of the curve would be a handful of steps
    longer = recipes.segmentation.model_copy(update={"min_steps": arguments.steps})
    recipes = recipes.model_copy(update={"segmentation": longer})
    job = Job("map", store, start, arm, recipes, 1.0, arguments.seed, params.precision, folder)
    (point,) = train_points([job])
    files = [[point.file]]
    ((evaluations,),) = evaluate(files, PatchStore(store), accelerator(params.precision))
    return point.file, evaluations[0]


def _start(
    params: Params,
    names: Sequence[str],
    init: Pretrained | None,
    images: Mapping[Sensor, SceneImage],
    store: PatchStore,
    folder: Path,
) -> tuple[Arm, Path]:
    """Return the arm to train and the file of the weights that it starts from."""
    from eocontrast.cli.map_start import pretrained_arm, scratch_arm
    from eocontrast.pretraining.run import pretrain_run

    file, sensors = folder / "init.safetensors", tuple(images)
    if init is None:
        arm = scratch_arm(params, sensors)
        run = named("pretrain.runs", arm.init, params.pretrain.runs)
        backbone = params.backbones[run.backbone]
        deque(pretrain_run(run, backbone, store, file, params.precision), maxlen=0)
        return arm, file
    init.save(file)
    name = " + ".join(Path(each).stem for each in names)
    return pretrained_arm(params, name, init, sensors, store.specs), file


def _lines(evaluation: Evaluation) -> list[str]:
    """Return the scores on held-out blocks, one class per line."""
    groups = evaluation.predictions["group"].nunique()
    overall = ", ".join(f"{name} {value:.3f}" for name, value in evaluation.scores.items())
    by_class = [
        f"  {name}: {', '.join(f'{score} {value:.3f}' for score, value in values.items())}"
        for name, values in evaluation.by_class.items()
    ]
    return [f"on {groups} held-out blocks: {overall}", *by_class]
