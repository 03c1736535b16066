"""The command `eocontrast`: commands to run outside the DVC pipeline."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from eocontrast.cli.audit import add_audit_command
from eocontrast.cli.map import add_map_command
from eocontrast.cli.params import add_params_command
from eocontrast.cli.plan import add_plan_command
from eocontrast.cli.scenes import add_scene_commands
from eocontrast.cli.start import add_start_command
from eocontrast.modalities import Modality, Units
from eocontrast.runtime.errors import UserError, resource_error
from eocontrast.runtime.files import file_sha256, refuse_existing

if TYPE_CHECKING:  # `--help` answers at once; torch and timm take seconds
    from eocontrast.cli.import_weights import State
    from eocontrast.models.weights import Pretrained

_IMPORT = """\
Turn weights that others trained into a file that fine-tuning can start from, and print the entries
of params.yaml that name it. Pickled code is refused and never run.

Without --model, FILE is a checkpoint that the authors of Dual-SimCLR (2022) published: Swin-T,
ResNet18 or ResNet50, recognised by its tensors. With --model, it is any checkpoint of a timm model,
and you say what the model expects:

  eocontrast import-weights resnet50.pth -o s2.safetensors --model resnet50 --sensor s2 \\
    --bands B02 B03 B04 --units DN --valid-range 0 10000 --scaling band_statistics \\
    --mean 1100 1000 950 --sd 600 620 700
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    A user's mistake is one message on stderr and exit code 2, Ctrl-C is 130. The command exits
    quietly with 141 if stdout is closed early, for example by `head`.
    """
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()  # here, not at the exit of Python, which would complain
    except BrokenPipeError:
        if not _reader_has_gone():
            raise
        return 141
    except UserError as error:
        print(f"eocontrast {arguments.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"eocontrast {arguments.command}: stopped; nothing is left half", file=sys.stderr)
        return 130
    except Exception as error:
        lacking = resource_error(error)
        if lacking is None:
            raise
        print(f"eocontrast {arguments.command}: {lacking}", file=sys.stderr)
        return 2
    return code


def _reader_has_gone() -> bool:
    """Return whether the reader of stdout has closed it."""
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def import_weights(arguments: argparse.Namespace) -> int:
    """Write the weight file and print what params.yaml needs.

    Raises:
        UserError: the file is no checkpoint that is understood, or the output is there already.
    """
    from dataclasses import replace

    from eocontrast.cli.import_weights import read_checkpoint

    source, out = arguments.file, arguments.out
    if out.resolve() == source.resolve():
        raise UserError(f"{out} would be written over itself: choose another name")
    refuse_existing(out, arguments.overwrite)
    imported = _imported(read_checkpoint(source), arguments)
    # by name and digest, never by path: equal weights give equal files everywhere
    origin = {"file": source.name, "sha256": file_sha256(source)}
    replace(imported, run=origin).save(out)
    print(_entries(imported, out, file_sha256(out)), end="")
    return 0


def _imported(state: State, arguments: argparse.Namespace) -> Pretrained:
    from eocontrast.cli.import_weights import input_spec, published_backbones, timm_backbone
    from eocontrast.modalities import SENSORS
    from eocontrast.models.backbones import Architecture

    if arguments.model is None:
        _refuse_without_model(arguments)
        sensors = SENSORS if arguments.sensor == "both" else (arguments.sensor,)
        return published_backbones(state, sensors)
    modality = _modality(arguments)
    spec = input_spec(
        modality, arguments.patch_size, arguments.scaling, arguments.mean, arguments.sd,
        arguments.pixel, {"with": True, "without": False}.get(arguments.offset),
    )  # fmt: skip
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
    """Return the lines to paste into params.yaml, in the block style of `dvc exp run -S`."""
    from io import StringIO

    from ruamel.yaml import YAML

    name = f"imported_{imported.architecture.name.partition('_')[0]}"
    scaling = next(iter(imported.specs.values())).scaling
    backbone = {**imported.architecture.to_dict(), "scaling": scaling}
    run = {"method": "imported", "backbone": name, "file": str(out), "sha256": sha256}
    text = StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 4096  # a path is not to be broken
    yaml.dump({"backbones": {name: backbone}, "pretrain": {"runs": {name: run}}}, text)
    return text.getvalue()


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "eocontrast", description="Commands to run outside the DVC pipeline."
    )
    parser.add_argument(
        "--version", action="version", version=f"eocontrast {version('eocontrast')}"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _add_import_weights(
        commands.add_parser(
            "import-weights",
            help="make a weight file of a checkpoint that others trained",
            description=_IMPORT,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    add_audit_command(commands)
    add_params_command(commands)
    add_plan_command(commands)
    add_scene_commands(commands)
    add_start_command(commands)
    add_map_command(commands)
    return parser


def _add_import_weights(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=import_weights)
    add = parser.add_argument
    add("file", type=Path, metavar="FILE", help="by torch.save, or safetensors")
    add("-o", "--out", type=Path, required=True, metavar="OUT.safetensors")
    add("--overwrite", action="store_true", help="replace OUT where it is there")
    add("--sensor", choices=("both", "s1", "s2"), default="both", help="default: both")
    model = parser.add_argument_group("any timm model")
    add = model.add_argument
    add("--model", metavar="NAME", help="timm's name")
    add("--option", type=_option, action="append", default=[], metavar="KEY=VALUE",
        help="of timm.create_model, the value as JSON; may be repeated")  # fmt: skip
    add("--prefix", help="before timm's names in FILE; found where not given")
    add("--bands", nargs="+", help="in the order of the model's input")
    add("--units", choices=get_args(Units))
    add("--valid-range", nargs=2, type=float, metavar=("LO", "HI"), help="values are clipped to it")
    add("--scaling", choices=("band_statistics", "crop_maximum"))
    add("--mean", nargs="+", type=float, default=(), help="one a band, in these units")
    add("--sd", nargs="+", type=float, default=(), help="standard deviation, likewise")
    add("--patch-size", type=int, metavar="PX", help="that the model was trained on")
    add("--pixel", type=float, metavar="M", help="size in metres of the pixels in training")
    add("--offset", choices=("with", "without", "unknown"),
        help="whether Sentinel-2's training values held the offset of 1000 that its products have "
        "since 2022")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
