"""Weights that others trained, as files of this project: the papers' own, or of any timm model.

Nothing of a pickle is executed, and no tensor is left over or made up: every name and shape must be
what timm's model has, but for classifiers and for buffers that follow from the architecture.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from eocontrast.modalities import SENSORS, SENTINEL2_L1C, Modality, Sensor
from eocontrast.models.backbones import Architecture, create_backbone
from eocontrast.models.weights import Pretrained
from eocontrast.patches.inputs import InputSpec, Scaling
from eocontrast.runtime.errors import UserError

State = dict[str, Tensor]

_NESTED = ("state_dict", "model", "model_state_dict", "teacher")
"""Where checkpoints keep the weights, beside the optimiser and the like."""

_BRANCHES: dict[Sensor, str] = {"s1": "backbone1.", "s2": "backbone2."}
"""The authors' names of the two backbones."""

_PUBLISHED: tuple[tuple[str, Architecture, int], ...] = (
    # a tensor that tells the layout, the architecture, and the patch size it was trained on.
    # Without always_partition the last stage, one window at 224 px, does not shift: as published
    (
        "patch_embed.proj.weight",
        Architecture("swin_tiny_patch4_window7_224", {"always_partition": False}),
        224,
    ),
    ("layer1.0.conv3.weight", Architecture("resnet50"), 128),
    ("layer1.0.conv1.weight", Architecture("resnet18"), 128),
)

_EXPECTED: dict[Sensor, Modality] = {
    "s1": Modality(("VV", "VH"), "dB", (-25.0, 0.0)),
    "s2": SENTINEL2_L1C,
}
"""What the published backbones see, each band of each crop over its own maximum."""

_DERIVED = ("relative_position_index", "attn_mask")
"""Buffers that follow from the architecture; timm computes them."""


def read_checkpoint(path: Path) -> State:
    """The tensors of a file by torch.save, or of a safetensors file; no code of it is run.

    Raises:
        UserError: the file is missing, damaged, holds code, or is no checkpoint.
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    # safetensors begins with the length of its JSON header, 8 bytes
    return _weights_in(_read_safetensors(path) if start[8:] == b"{" else _read_torch(path), path)


def published_backbones(state: State, sensors: Sequence[Sensor] = SENSORS) -> Pretrained:
    """The backbones of a checkpoint that the authors of P1 and P2 published.

    Swin-T, ResNet18 and ResNet50 are told by their tensors. Projection heads and classifiers are
    left out.

    Args:
        state: names and tensors, `backbone1.` of Sentinel-1 and `backbone2.` of Sentinel-2.
        sensors: those to take.

    Raises:
        UserError: another layout, or a tensor that lacks, is left over or has another shape.
    """
    branches = _branches(state)
    architecture, patch_size = _published_architecture(branches)
    specs: dict[Sensor, InputSpec] = {}
    tensors: State = {}
    for sensor in sensors:
        specs[sensor] = input_spec(_EXPECTED[sensor], patch_size, "crop_maximum")
        fitted = _fitted(branches[sensor], architecture, specs[sensor], _BRANCHES[sensor])
        tensors |= {f"{sensor}.{name}": tensor for name, tensor in fitted.items()}
    return Pretrained("imported", architecture, specs, tensors, "")


def timm_backbone(
    state: State,
    architecture: Architecture,
    sensor: Sensor,
    spec: InputSpec,
    prefix: str | None = None,
) -> Pretrained:
    """The backbone of any checkpoint whose model timm has; what lies beside it is left out.

    Args:
        state: names and tensors.
        architecture: timm's name, and options that the weights were trained with.
        sensor: what it was trained on.
        spec: what it expects.
        prefix: before timm's names, e.g. `module.backbone.`; found where None.

    Raises:
        UserError: a tensor that lacks, is left over or has another shape; a prefix that is not
            there, or not the only one.
    """
    prefix = _found_prefix(state, architecture) if prefix is None else prefix
    under = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
    if not under:
        raise UserError(f"no tensor's name begins with {prefix!r}; there are {_some(state)}")
    fitted = _fitted(under, architecture, spec, prefix)
    tensors = {f"{sensor}.{name}": tensor for name, tensor in fitted.items()}
    return Pretrained("imported", architecture, {sensor: spec}, tensors, "")


def input_spec(
    modality: Modality,
    patch_size: int,
    scaling: Scaling,
    mean: Sequence[float] = (),
    sd: Sequence[float] = (),
) -> InputSpec:
    """What foreign weights expect; statistics are those of their training data.

    Raises:
        UserError: band statistics that lack, or are not one a band.
    """
    bands = len(modality.bands)
    if scaling == "crop_maximum":  # which counts from the lower end of the range
        mean, sd = [modality.valid_range[0]] * bands, [1.0] * bands
    if not len(mean) == len(sd) == bands or min(sd) <= 0:
        raise UserError(
            f"scaling band_statistics needs {bands} means and positive deviations, one a band, but "
            f"got the means {list(mean)} and the deviations {list(sd)}"
        )
    return InputSpec(modality, tuple(mean), tuple(sd), patch_size, scaling)


def _read_safetensors(path: Path) -> State:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is no whole safetensors file: {error}") from error


def _read_torch(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols; what matters is an exception
            return torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises whatever the damage leads to, KeyError included
        raise UserError(_why_unreadable(path, str(error))) from error


def _why_unreadable(path: Path, error: str) -> str:
    refused = re.search(r"GLOBAL (\S+)", error)
    if refused is None:
        return f"{path} is no checkpoint of torch.save or not a whole one; it was not executed"
    return (
        f"{path} holds code or objects beside tensors ({refused[1]}); it was not executed. If you "
        "trust its source, save its state_dict alone, elsewhere, and import that"
    )


def _weights_in(saved: object, path: Path) -> State:
    """Names and tensors, under one of the usual keys or as they are."""
    places: dict[str, Any] = saved if isinstance(saved, dict) else {}
    for found in (*(places.get(key) for key in _NESTED), places):
        items = found.items() if isinstance(found, dict) else ()
        tensors = {str(name): tensor for name, tensor in items if isinstance(tensor, Tensor)}
        if tensors:
            return tensors
    raise UserError(
        f"{path} holds no weights: expected names and tensors, alone or under one of "
        f"{', '.join(_NESTED)}; got {_some(places) if places else type(saved).__name__}"
    )


def _branches(state: State) -> dict[Sensor, State]:
    """The tensors of each backbone; DataParallel's `module.` is stripped from all or from one."""
    names = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    branches = {
        sensor: {
            name.removeprefix(branch).removeprefix("module."): tensor
            for name, tensor in names.items()
            if name.startswith(branch)
        }
        for sensor, branch in _BRANCHES.items()
    }
    left = [name for name in names if not name.startswith(tuple(_BRANCHES.values()))]
    if left or not all(branches.values()):
        raise UserError(
            "unknown layout: published checkpoints hold backbone1. (Sentinel-1) and backbone2. "
            f"(Sentinel-2) and nothing else, this one {_some(left or names)}; for other weights "
            "name timm's model by --model"
        )
    return branches


def _published_architecture(branches: dict[Sensor, State]) -> tuple[Architecture, int]:
    for marker, architecture, patch_size in _PUBLISHED:
        if all(marker in branch for branch in branches.values()):
            return architecture, patch_size
    raise UserError(
        "unknown layout: these backbones are none of Swin-T, ResNet18 and ResNet50, which were "
        f"published; they hold {_some(branches['s2'])}; for other weights name timm's model by "
        "--model"
    )


def _fitted(state: State, architecture: Architecture, spec: InputSpec, where: str) -> State:
    """Tensors by timm's names, exactly those that the model has."""
    bands = spec.modality.bands
    expected = create_backbone(architecture, len(bands)).state_dict()
    found = _without_head(_as_timm(state), architecture, expected)
    missing, unexpected = expected.keys() - found.keys(), found.keys() - expected.keys()
    if missing or unexpected:
        raise UserError(
            f"{where or 'the checkpoint'} is no {architecture.name}: "
            + "; ".join(
                f"{what} {_some(sorted(names))}"
                for what, names in (("missing", missing), ("unexpected", unexpected))
                if names
            )
        )
    for name, tensor in expected.items():
        _check_shape(name, tuple(found[name].shape), tuple(tensor.shape), bands)
        if not found[name].isfinite().all():
            raise UserError(f"{where}{name} holds values that are no numbers: a run that failed?")
    return {name: found[name].to(tensor.dtype) for name, tensor in expected.items()}


def _as_timm(state: State) -> State:
    """The original Swin keeps patch merging at the end of a stage, timm at the start of the next.

    Masks and position indices are left out, since timm computes them.
    """
    names = {name: name for name in state if not name.endswith(_DERIVED)}
    if any(name.startswith("layers.0.downsample.") for name in state):
        names = {name: re.sub(r"^layers\.(\d+)\.downsample\.", _next_stage, name) for name in names}
    return {new: state[old] for old, new in names.items()}


def _next_stage(match: re.Match[str]) -> str:
    return f"layers.{int(match[1]) + 1}.downsample."


def _without_head(state: State, architecture: Architecture, expected: Iterable[str]) -> State:
    """Without the classifier, or the projection head that took its place."""
    config = timm.get_pretrained_cfg(architecture.name)
    classifier = (config and config.classifier) or "head"
    heads = {name.partition(".")[0] + "." for name in _names(classifier)} | {"head.", "fc."}
    kept = set(expected)
    return {n: t for n, t in state.items() if n in kept or not n.startswith(tuple(heads))}


def _names(classifier: str | Sequence[str]) -> Sequence[str]:
    return (classifier,) if isinstance(classifier, str) else classifier


def _check_shape(
    name: str, found: tuple[int, ...], expected: tuple[int, ...], bands: Sequence[str]
) -> None:
    if found == expected:
        return
    first_layer = len(found) == 4 and expected == (found[0], len(bands), *found[2:])
    if first_layer:
        raise UserError(
            f"these weights take {found[1]} bands ({name}), but {len(bands)} are named: "
            f"{', '.join(bands)}"
        )
    raise UserError(
        f"{name} has the shape {found}, but {expected} is expected: another architecture, or other "
        "options of it"
    )


def _found_prefix(state: State, architecture: Architecture) -> str:
    """What stands before the model's names; several such models are told apart by the user."""
    expected = list(create_backbone(architecture, in_chans=1).state_dict())
    names = _as_timm(state).keys()
    ends = [name.removesuffix(expected[0]) for name in names if name.endswith(expected[0])]
    matches = {
        prefix: sum(prefix + name in names for name in expected)
        for prefix in ends
        if not prefix or prefix.endswith(".")
    }
    best = [prefix for prefix, count in matches.items() if count == max(matches.values())]
    if len(best) > 1:
        raise UserError(
            f"several models lie in the checkpoint, under {', '.join(map(repr, best))}: choose one "
            "by --prefix"
        )
    if not best:
        raise UserError(
            f"no {architecture.name} was found: no name ends in {expected[0]}; there are "
            f"{_some(state)}"
        )
    return best[0]


def _some(names: Iterable[str], limit: int = 6) -> str:
    """Names in one line, the first few of many."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more
