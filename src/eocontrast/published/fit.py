"""Fitting of a checkpoint's tensors to a timm model: the same names and shapes, nothing else.

Only classifiers, heads of pretraining and buffers that timm computes are left out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import timm
import torch
from timm.models.swin_transformer import checkpoint_filter_fn
from torch import nn

from eocontrast.modalities import SENTINEL2_L1C, SENTINEL2_L2A, Sensor
from eocontrast.models.backbones import Architecture, create_backbone
from eocontrast.patches.inputs import InputSpec
from eocontrast.published.checkpoints import State
from eocontrast.runtime.errors import UserError, some

_DERIVED = ("relative_position_index", "attn_mask", "bias_mask", "rope_embed.periods")
"""Buffers that follow from the architecture; timm computes them."""

_OF_PRETRAINING = ("mask_token", "decoder_", "lm_head.", "predictor.", "projector.")
"""Starts of names that only pretraining uses."""

_NOT_DRIVEN = (
    *("net.norm.", "net.head.", "net.mask_token", "net.projector.", "net.patch_embed_variable."),
    *("net.s1_", "net.s2_", "net.joint_encoder."),
)
"""Starts of names in files of foundation models that pooled features of one sensor do not need."""

_EVALUATED = ("encoder_q.", "base_encoder.")
"""Encoders of MoCo v2 and v3 that their authors evaluate, beside the slow copies of them."""

_META = {"storage_tokens": "reg_token", ".ls1.gamma": ".gamma_1", ".ls2.gamma": ".gamma_2"}
"""Names of DINOv3 as Meta published it, and timm's."""


_NO_NORM = (
    ". Without the last normalisation its features are of another scale: take a file with it, or "
    "declare its absence by --option final_norm=false"
)


def fitted(
    state: State, architecture: Architecture, sensor: Sensor, spec: InputSpec, prefix: str
) -> State:
    """Return exactly the tensors of timm's model, named as `Pretrained` names them."""
    bands = spec.modality.bands
    expected = _expected(architecture, len(bands))
    tensors = _without_head(_as_timm(state, architecture), architecture, expected)
    tensors |= {name: new for name, new in _constant(expected).items() if name not in tensors}
    missing, unexpected = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    if missing or unexpected:
        differences = (("missing", missing), ("unexpected", unexpected))
        listed = "; ".join(f"{what} {some(sorted(names))}" for what, names in differences if names)
        hint = _NO_NORM if {"norm.weight", "norm.bias"} & missing else ""
        raise UserError(f"{prefix or 'the checkpoint'} is no {architecture.name}: {listed}{hint}")
    for name, tensor in expected.items():
        _check_shape(name, tuple(tensors[name].shape), tuple(tensor.shape), bands)
        # one NaN makes every feature NaN
        if not tensors[name].isfinite().all():
            raise UserError(f"{prefix}{name} holds values that are no numbers: a run that failed?")
    return {f"{sensor}.{name}": tensors[name].to(t.dtype) for name, t in expected.items()}


def _expected(architecture: Architecture, in_chans: int) -> State:
    """Return the model's tensors without memory: names and shapes are all that is compared."""
    with torch.device("meta"):
        return create_backbone(architecture, in_chans).state_dict()


def _constant(expected: State) -> State:
    """Return tensors that files may lack, because pretraining did not change them."""
    made = {}
    for name, tensor in expected.items():
        if name.endswith("num_batches_tracked"):  # old versions of torch did not count
            made[name] = torch.zeros((), dtype=torch.long)
        elif name.startswith("net.fc_norm."):  # after the mean of tokens, as the class begins
            made[name] = torch.full(tensor.shape, float(name.endswith("weight")))
    return made


def _as_timm(state: State, architecture: Architecture) -> State:
    """Rename the layers of the original Swin and of DINOv3, and leave out what timm computes.

    The original Swin merges patches at the end of a stage, timm at the start of the next one. A
    model of another package is the part `net` of ours.
    """
    if ":" in architecture.name:
        return {f"net.{name}": tensor for name, tensor in state.items()}
    kept = {name: tensor for name, tensor in state.items() if not name.endswith(_DERIVED)}
    if "storage_tokens" in kept:
        kept = _from_meta(kept)
    if "layers.0.downsample.reduction.weight" not in kept:
        return kept
    # timm's function would also resize embeddings and tables of another shape without a word
    merging = {name: kept.pop(name) for name in list(kept) if ".downsample." in name}
    return kept | checkpoint_filter_fn(merging, nn.Module())


def _from_meta(state: State) -> State:
    """Rename DINOv3's tensors; its biases of queries, keys and values are zero and left out.

    Raises:
        UserError: such a bias is not zero.
    """
    renamed = {}
    for name, tensor in state.items():
        if name.endswith("attn.qkv.bias"):
            if tensor.any():
                raise UserError(f"{name} is not zero: take timm's model vit_*_dinov3_qkvb for it")
            continue
        for meta, own in _META.items():
            name = name.replace(meta, own)
        renamed[name] = tensor
    return renamed


def _without_head(state: State, architecture: Architecture, expected: Collection[str]) -> State:
    """Leave out the classifier, the projection head in its place, and other heads."""
    if ":" in architecture.name:
        return {n: t for n, t in state.items() if n in expected or not n.startswith(_NOT_DRIVEN)}
    config = timm.get_pretrained_cfg(architecture.name)
    classifier = (config and config.classifier) or ()
    names = (classifier,) if isinstance(classifier, str) else classifier
    heads = {"head", "fc", *(name.partition(".")[0] for name in names)}
    kept = set(expected)
    return {
        name: tensor
        for name, tensor in state.items()
        if name in kept or not (name.partition(".")[0] in heads or name.startswith(_OF_PRETRAINING))
    }


def _check_shape(
    name: str, shape: tuple[int, ...], expected: tuple[int, ...], bands: Sequence[str]
) -> None:
    if shape == expected:
        return
    first_layer = len(shape) == 4 and expected == (shape[0], len(bands), *shape[2:])
    if first_layer:
        raise UserError(
            f"these weights take {shape[1]} bands ({name}), but {len(bands)} are named: "
            f"{', '.join(bands)}{_whose(shape[1], bands)}"
        )
    raise UserError(
        f"{name} has the shape {shape}, but {expected} is expected: another architecture, or other "
        "options of it"
    )


def _whose(number: int, bands: Sequence[str]) -> str:
    """Return what weights of so many bands probably are, and the ways out."""
    if number == len(SENTINEL2_L2A.bands) and tuple(bands) == SENTINEL2_L1C.bands:
        return (
            ". Twelve are those of level 2A, without B10: take the publisher's file of 13 bands, "
            "or import this one by --model with --bands of its twelve"
        )
    if number in (12, 13) and len(bands) == 2:
        return ". These look like weights of Sentinel-2"
    if number == 2 and len(bands) > 2:
        return ". These look like weights of Sentinel-1 (VV, VH)"
    return ""


def found_prefix(state: State, architecture: Architecture, sensor: Sensor) -> str:
    """Find the text before the model's names; the user chooses if there are several models."""
    # one channel: names do not depend on the bands, and the first layer's shape is checked later
    expected = list(_expected(architecture, 1))
    names = _as_timm(state, architecture).keys()
    ends = [name.removesuffix(expected[0]) for name in names if name.endswith(expected[0])]
    matches = {
        prefix: sum(prefix + name in names for name in expected)
        for prefix in ends
        if not prefix or prefix.endswith(".")
    }
    if not matches:
        raise UserError(
            f"no {architecture.name} was found: no name ends in {expected[0]}; there are "
            f"{some(state)}"
        )
    best = [prefix for prefix, count in matches.items() if count == max(matches.values())]
    # DeCUR: backbone_1 is Sentinel-1's
    # a publisher's own evaluation decides between copies of one network
    preferred = [p for p in best if p.endswith((*_EVALUATED, f"backbone_{sensor[1]}."))]
    if len(best) > 1 and len(preferred) == 1:
        return preferred[0]
    if len(best) > 1:
        raise UserError(
            f"several models lie in the checkpoint, under {', '.join(map(repr, best))}: choose one "
            "by --prefix"
        )
    return best[0]
