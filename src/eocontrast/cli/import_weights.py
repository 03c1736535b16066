"""Conversion of foreign checkpoints: those of the papers P1 and P2, and of any timm model.

No code in a pickle is executed. Every tensor must have the name and shape of one in timm's model.
Only classifiers and buffers that timm computes are left out.
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
from timm.models.swin_transformer import checkpoint_filter_fn
from torch import Tensor, nn

from eocontrast.modalities import SENSORS, SENTINEL2_L1C, Modality, Scaling, Sensor
from eocontrast.models.backbones import Architecture, create_backbone
from eocontrast.models.weights import Pretrained
from eocontrast.patches.inputs import InputSpec
from eocontrast.runtime.errors import UserError

State = dict[str, Tensor]

_NESTED = ("state_dict", "model", "model_state_dict", "teacher")
"""Keys under which checkpoints keep the weights, beside the optimiser and the like."""

_BRANCHES: dict[Sensor, str] = {"s1": "backbone1.", "s2": "backbone2."}
"""Prefixes of the two backbones in the published checkpoints."""

_PUBLISHED: dict[str, tuple[Architecture, int]] = {
    # a tensor that only this layout has, the architecture, and the side of its training patches
    "patch_embed.proj.weight": (
        # as published: the last stage, one window at 224 px, is not shifted
        Architecture("swin_tiny_patch4_window7_224", {"always_partition": False}),
        224,
    ),
    "layer1.0.conv3.weight": (Architecture("resnet50"), 128),
    "layer1.0.conv1.weight": (Architecture("resnet18"), 128),
}

_EXPECTED: dict[Sensor, Modality] = {
    "s1": Modality(("VV", "VH"), "dB", (-25.0, 0.0)),
    "s2": SENTINEL2_L1C,
}
"""Input of the published backbones; each band of each crop is divided by its maximum."""

_DERIVED = ("relative_position_index", "attn_mask")
"""Buffers that follow from the architecture; timm computes them."""


def read_checkpoint(path: Path) -> State:
    """Read the tensors of a file by torch.save, or of a safetensors file, without running code.

    Raises:
        UserError: the file is missing, damaged, holds code, or is no checkpoint.
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    # safetensors begins with the length of its JSON header, 8 bytes
    saved = _read_safetensors(path) if start[8:] == b"{" else _read_torch(path)
    entries: dict[str, Any] = saved if isinstance(saved, dict) else {}
    for candidate in (*(entries.get(key) for key in _NESTED), entries):
        items = candidate.items() if isinstance(candidate, dict) else ()
        tensors = {str(name): tensor for name, tensor in items if isinstance(tensor, Tensor)}
        if tensors:
            return tensors
    raise UserError(
        f"{path} holds no weights: expected names and tensors, alone or under one of "
        f"{', '.join(_NESTED)}; got {_some(entries) if entries else type(saved).__name__}"
    )


def published_backbones(state: State, sensors: Sequence[Sensor] = SENSORS) -> Pretrained:
    """Convert a checkpoint that the authors of P1 and P2 published.

    Swin-T, ResNet18 and ResNet50 are recognised by their tensors. Projection heads and classifiers
    are left out.

    Args:
        state: Tensors by name; `backbone1.` is Sentinel-1's and `backbone2.` Sentinel-2's.
        sensors: Sensors whose backbones are converted.

    Raises:
        UserError: another layout, or a tensor that is missing, left over or of another shape.
    """
    branches = _branches(state)
    architecture, patch_size = _published_architecture(branches)
    # SEN12MS: pixels of 10 m, and products of 2016 and 2017, before the offset
    specs = {
        s: input_spec(_EXPECTED[s], patch_size, "crop_maximum", pixel=10, with_offset=False)
        for s in sensors
    }
    tensors: State = {}
    for sensor, spec in specs.items():
        tensors |= _fitted(branches[sensor], architecture, sensor, spec, _BRANCHES[sensor])
    return Pretrained("imported", architecture, specs, tensors, "")


def timm_backbone(
    state: State,
    architecture: Architecture,
    sensor: Sensor,
    spec: InputSpec,
    prefix: str | None = None,
) -> Pretrained:
    """Convert the backbone of any checkpoint whose model timm has; other tensors are left out.

    Args:
        state: Tensors by name.
        architecture: timm's name, and the options that the weights were trained with.
        sensor: Sensor that it was trained on.
        spec: Input that it expects.
        prefix: Text before timm's names, such as `module.backbone.`; found by default.

    Raises:
        UserError: a tensor is missing, left over or of another shape, or no tensor has the prefix,
            or there are several prefixes to choose from.
    """
    prefix = _found_prefix(state, architecture) if prefix is None else prefix
    under = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
    if not under:
        raise UserError(f"no tensor's name begins with {prefix!r}; there are {_some(state)}")
    tensors = _fitted(under, architecture, sensor, spec, prefix)
    return Pretrained("imported", architecture, {sensor: spec}, tensors, "")


def input_spec(
    modality: Modality,
    patch_size: int,
    scaling: Scaling,
    mean: Sequence[float] = (),
    sd: Sequence[float] = (),
    pixel: float | None = None,
    with_offset: bool | None = None,
) -> InputSpec:
    """Describe the input of foreign weights; the statistics are those of their training data.

    `pixel` and `with_offset` are as in `InputSpec`; None if nobody knows.

    Raises:
        UserError: the band statistics are missing, or not one per band.
    """
    bands = len(modality.bands)
    if scaling == "crop_maximum":  # counts from the lower end of the range
        mean, sd = [modality.valid_range[0]] * bands, [1.0] * bands
    if not len(mean) == len(sd) == bands or min(sd) <= 0:
        raise UserError(
            f"scaling band_statistics needs {bands} means and positive deviations, one a band, but "
            f"got the means {list(mean)} and the deviations {list(sd)}"
        )
    offset = with_offset if modality.units in ("DN", "reflectance") else None
    return InputSpec(modality, tuple(mean), tuple(sd), patch_size, scaling, pixel, offset)


def _read_safetensors(path: Path) -> State:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is no whole safetensors file: {error}") from error


def _read_torch(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols; what matters is an exception
            return torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # damage ends in any exception, KeyError included
        refused = re.search(r"GLOBAL (\S+)", str(error))
        if refused is None:
            reason = "is no checkpoint of torch.save or not a whole one; it was not executed"
        else:
            reason = (
                f"holds code or objects beside tensors ({refused[1]}); it was not executed. If you "
                "trust its source, save its state_dict alone, elsewhere, and import that"
            )
        raise UserError(f"{path} {reason}") from error


def _branches(state: State) -> dict[Sensor, State]:
    """Split the tensors by backbone, without the `module.` of DataParallel."""
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
    for marker, published in _PUBLISHED.items():
        if all(marker in branch for branch in branches.values()):
            return published
    raise UserError(
        "unknown layout: these backbones are none of Swin-T, ResNet18 and ResNet50, which were "
        f"published; they hold {_some(branches['s2'])}; for other weights name timm's model by "
        "--model"
    )


def _fitted(
    state: State, architecture: Architecture, sensor: Sensor, spec: InputSpec, prefix: str
) -> State:
    """Return exactly the tensors of timm's model, named as `Pretrained` names them."""
    bands = spec.modality.bands
    expected = create_backbone(architecture, len(bands)).state_dict()
    tensors = _without_head(_as_timm(state), architecture, expected)
    missing, unexpected = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    if missing or unexpected:
        differences = (("missing", missing), ("unexpected", unexpected))
        listed = "; ".join(f"{what} {_some(sorted(names))}" for what, names in differences if names)
        raise UserError(f"{prefix or 'the checkpoint'} is no {architecture.name}: {listed}")
    for name, tensor in expected.items():
        _check_shape(name, tuple(tensors[name].shape), tuple(tensor.shape), bands)
        if not tensors[name].isfinite().all():
            raise UserError(f"{prefix}{name} holds values that are no numbers: a run that failed?")
    return {f"{sensor}.{name}": tensors[name].to(t.dtype) for name, t in expected.items()}


def _as_timm(state: State) -> State:
    """Rename the layers of the original Swin, and leave out buffers that timm computes.

    The original merges patches at the end of a stage, timm at the start of the next one.
    """
    kept = {name: tensor for name, tensor in state.items() if not name.endswith(_DERIVED)}
    if "layers.0.downsample.reduction.weight" not in kept:
        return kept
    # timm's function would also resize embeddings and tables of another shape without a word
    merging = {name: kept.pop(name) for name in list(kept) if ".downsample." in name}
    return kept | checkpoint_filter_fn(merging, nn.Module())


def _without_head(state: State, architecture: Architecture, expected: Iterable[str]) -> State:
    """Leave out the classifier, or the projection head in its place."""
    config = timm.get_pretrained_cfg(architecture.name)
    classifier = (config and config.classifier) or ()
    names = (classifier,) if isinstance(classifier, str) else classifier
    heads = {"head", "fc", *(name.partition(".")[0] for name in names)}
    kept = set(expected)
    return {n: t for n, t in state.items() if n in kept or n.partition(".")[0] not in heads}


def _check_shape(
    name: str, shape: tuple[int, ...], expected: tuple[int, ...], bands: Sequence[str]
) -> None:
    if shape == expected:
        return
    first_layer = len(shape) == 4 and expected == (shape[0], len(bands), *shape[2:])
    if first_layer:
        raise UserError(
            f"these weights take {shape[1]} bands ({name}), but {len(bands)} are named: "
            f"{', '.join(bands)}"
        )
    raise UserError(
        f"{name} has the shape {shape}, but {expected} is expected: another architecture, or other "
        "options of it"
    )


def _found_prefix(state: State, architecture: Architecture) -> str:
    """Find the text before the model's names; the user chooses if there are several models."""
    expected = list(create_backbone(architecture, in_chans=1).state_dict())
    names = _as_timm(state).keys()
    ends = [name.removesuffix(expected[0]) for name in names if name.endswith(expected[0])]
    matches = {
        prefix: sum(prefix + name in names for name in expected)
        for prefix in ends
        if not prefix or prefix.endswith(".")
    }
    if not matches:
        raise UserError(
            f"no {architecture.name} was found: no name ends in {expected[0]}; there are "
            f"{_some(state)}"
        )
    best = [prefix for prefix, count in matches.items() if count == max(matches.values())]
    if len(best) > 1:
        raise UserError(
            f"several models lie in the checkpoint, under {', '.join(map(repr, best))}: choose one "
            "by --prefix"
        )
    return best[0]


def _some(names: Iterable[str], limit: int = 6) -> str:
    """List the first few names in one line."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more
