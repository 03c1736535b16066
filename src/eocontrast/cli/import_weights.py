"""The command `eocontrast import-weights`: options in, one conversion."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from eocontrast.cli.params import entries_text
from eocontrast.modalities import Modality, Scaling, Units
from eocontrast.runtime.errors import UserError
from eocontrast.runtime.files import file_sha256, refuse_existing

if TYPE_CHECKING:  # `--help` answers at once; torch and timm take seconds
    from eocontrast.models.weights import Pretrained
    from eocontrast.published.checkpoints import State

_IMPORT = """\
Turn weights that others trained into a file that fine-tuning can start from, and print the entries
of params.yaml that name it. Pickled code is refused and never run.

Without --model, FILE is a checkpoint that the authors of Dual-SimCLR (2022) published: Swin-T,
ResNet18 or ResNet50, recognised by its tensors. With --model, it is any checkpoint of a timm model,
and you say what the model expects:

  eocontrast import-weights resnet50.pth -o s2.safetensors --model resnet50 --sensor s2 \\
    --bands B02 B03 B04 --units DN --valid-range 0 10000 --scaling band_statistics \\
    --mean 1100 1000 950 --sd 600 620 700 --patch-size 264 --pixel 10 --offset without

With --as, FILE is that of an entry of `eocontrast weights`, which says all this, in any layout that
its authors published. A file of both sensors takes two names:

  eocontrast import-weights rn50_joint_decur.pth --as rn50_s1_decur rn50_s2_decur
"""


def add_import_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `import-weights`."""
    parser = commands.add_parser(
        "import-weights",
        help="make a weight file of a checkpoint that others trained",
        description=_IMPORT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=import_weights)
    add = parser.add_argument
    add("file", type=Path, metavar="FILE", help="by torch.save, or safetensors")
    add("-o", "--out", type=Path, metavar="OUT.safetensors",
        help="required without --as; with it models/published/NAME.safetensors")  # fmt: skip
    add("--as", dest="names", nargs="+", default=(), metavar="NAME",
        help="names in the catalogue (`eocontrast weights`)")  # fmt: skip
    add("--overwrite", action="store_true", help="replace an existing OUT")
    add("--sensor", choices=("both", "s1", "s2"), default="both", help="default: both")
    model = parser.add_argument_group("any timm model")
    add = model.add_argument
    add("--model", metavar="NAME", help="timm's name")
    add("--option", type=_option, action="append", default=[], metavar="KEY=VALUE",
        help="of timm.create_model, the value as JSON; may be repeated")  # fmt: skip
    add("--prefix", help="text before timm's names in FILE; found by default")
    add("--bands", nargs="+", help="in the order of the model's input")
    add("--units", choices=get_args(Units))
    add("--valid-range", nargs=2, type=float, metavar=("LO", "HI"), help="values are clipped to it")
    add("--scaling", choices=get_args(Scaling))
    add("--mean", nargs="+", type=float, default=(), help="one per band, in these units")
    add("--sd", nargs="+", type=float, default=(), help="standard deviation, likewise")
    add("--patch-size", type=int, metavar="PX", help="that the model was trained on")
    add("--resize", type=int, default=0, metavar="PX", help="side to which images are resized")
    add("--pixel", type=float, metavar="M", help="size in metres of the pixels in training")
    add("--offset", choices=("with", "without", "unknown"),
        help="whether Sentinel-2's training values held the offset of 1000 that its products have "
        "since 2022")  # fmt: skip


def import_weights(arguments: argparse.Namespace) -> int:
    """Write the weight file and print what params.yaml needs.

    Raises:
        UserError: the file is no checkpoint that is understood, or the output exists.
    """
    from dataclasses import replace

    from eocontrast.published.checkpoints import read_checkpoint

    if arguments.names:
        return _import_named(arguments)
    source, out = arguments.file, arguments.out
    if out is None:
        raise UserError("name the file to write by --out")
    if out.resolve() == source.resolve():
        raise UserError(f"{out} would be written over itself: choose another name")
    refuse_existing(out, arguments.overwrite)
    imported = _imported(read_checkpoint(source), arguments)
    # by name and digest, never by path: equal weights give equal files everywhere
    origin = {"file": source.name, "sha256": file_sha256(source)}
    replace(imported, run=origin).save(out)
    print(_entries(imported, out, file_sha256(out)), end="")
    return 0


def _import_named(arguments: argparse.Namespace) -> int:
    """Convert a file as entries of the catalogue, and print what params.yaml needs."""
    from eocontrast.cli.weights import published_entries
    from eocontrast.published.catalogue import UNKNOWN, entry
    from eocontrast.published.convert import convert
    from eocontrast.sources.download.weights import published_file

    source, entries = arguments.file, [entry(name) for name in arguments.names]
    if arguments.out and len(entries) > 1:
        raise UserError("--out names one file, but --as several weights: leave --out out")
    outs = [arguments.out or published_file(each) for each in entries]
    for out in outs:
        refuse_existing(out, arguments.overwrite)
    sha256 = file_sha256(source)
    made = [convert(source, each, sha256, dict(arguments.option)) for each in entries]
    for each, out, pretrained in zip(entries, outs, made, strict=True):
        pretrained.save(out)
        if each.sha256 != UNKNOWN and not sha256.startswith(each.sha256):
            print(
                f"note: {source} has sha256 {sha256}, the catalogue's file {each.file} begins with "
                f"{each.sha256}: names and shapes fit {each.name}, whose weights they are is yours "
                "to know",
                file=sys.stderr,
            )
    if arguments.out is None:
        print(published_entries([(each, sha256) for each in entries]), end="")
    return 0


def _imported(state: State, arguments: argparse.Namespace) -> Pretrained:
    from dataclasses import replace

    from eocontrast.modalities import SENSORS
    from eocontrast.models.backbones import Architecture
    from eocontrast.published.convert import input_spec, timm_backbone
    from eocontrast.published.papers import published_backbones

    if arguments.model is None:
        _refuse_without_model(arguments)
        sensors = SENSORS if arguments.sensor == "both" else (arguments.sensor,)
        return published_backbones(state, sensors)
    modality = _modality(arguments)
    spec = input_spec(
        modality, arguments.patch_size, arguments.scaling, arguments.mean, arguments.sd,
        arguments.pixel, {"with": True, "without": False}.get(arguments.offset),
    )  # fmt: skip
    spec = replace(spec, resize=arguments.resize)
    architecture = Architecture(arguments.model, dict(arguments.option))
    return timm_backbone(state, architecture, arguments.sensor, spec, arguments.prefix)


def _refuse_without_model(arguments: argparse.Namespace) -> None:
    given = [f"--{name}" for name in ("bands", "mean", "sd", "option") if getattr(arguments, name)]
    if given:
        raise UserError(
            f"{', '.join(given)} describe a timm model: name it by --model (what published "
            "checkpoints expect is known)"
        )


def _modality(arguments: argparse.Namespace) -> Modality:
    needed = ["bands", "units", "valid_range", "scaling", "patch_size", "pixel"]
    if arguments.units in ("DN", "reflectance"):
        needed.append("offset")
    lacking = [name for name in needed if not getattr(arguments, name)]
    if lacking or arguments.sensor == "both":
        options = [f"--{name.replace('_', '-')}" for name in lacking]
        raise UserError(
            f"--model needs one sensor (--sensor s1 or s2) and what the model expects; missing: "
            f"{', '.join(options) or '--sensor'}"
        )
    low, high = arguments.valid_range
    return Modality(tuple(arguments.bands), arguments.units, (low, high))


def _entries(imported: Pretrained, out: Path, sha256: str) -> str:
    """Return the lines to paste into params.yaml."""
    # up to the first `_`: timm's names go on with sizes, such as swin_tiny_patch4_window7_224
    name = f"imported_{imported.architecture.name.partition('_')[0]}"
    scaling = next(iter(imported.specs.values())).scaling
    backbone = {**imported.architecture.to_dict(), "scaling": scaling}
    run = {"method": "imported", "backbone": name, "file": str(out), "sha256": sha256}
    return entries_text({"backbones": {name: backbone}, "pretrain": {"runs": {name: run}}})


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
