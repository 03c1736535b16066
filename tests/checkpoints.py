"""Checkpoints of published weights: their names, shapes and wrapper keys, filled by seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from eocontrast.models.reuse import load_backbone
from eocontrast.published.catalogue import Entry
from eocontrast.published.convert import convert
from eocontrast.published.inputs import expected_input

State = dict[str, Tensor]
Wrap = Callable[[State, State], dict[str, Any]]


def shrunken(entry: Entry) -> dict[str, Any]:
    """Options that leave one block of the larger ViTs; every tensor keeps its shape."""
    return {"depth": 1} if any(size in entry.model for size in ("base", "large", "huge")) else {}


def bands(entry: Entry) -> int:
    return len(expected_input(entry.inputs).modality.bands)


def drawn(entry: Entry, options: dict[str, Any], seed: int = 0) -> State:
    """Tensors of timm's model under its own names."""
    with torch.device("meta"):
        model = timm.create_model(
            entry.model, num_classes=0, in_chans=bands(entry), **entry.options, **options
        )
    return filled(model.state_dict(), seed)


def filled(shapes: State, seed: int = 0) -> State:
    """Tensors of these names and shapes; noise keeps activations of order one."""
    draws = torch.Generator().manual_seed(seed)
    state: State = {}
    for name, tensor in shapes.items():
        noise = torch.randn(tensor.shape, generator=draws)
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(100)
        elif name.endswith(("gamma", "gamma_1", "gamma_2")):  # published layer scales are small
            state[name] = 0.2 + 0.05 * noise
        elif tensor.ndim > 1 and "pos" not in name and "token" not in name:
            state[name] = noise * (2 / noise[0].numel()) ** 0.5
        elif name.endswith(("weight", "running_var")):
            state[name] = 1 + 0.1 * noise.abs()
        else:
            state[name] = 0.1 * noise
    return state


def _named(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def _head(width: int = 4) -> State:
    return {
        "fc.0.weight": torch.zeros(width, width),
        "fc.0.bias": torch.zeros(width),
        "fc.2.weight": torch.zeros(width, width),
        "fc.2.bias": torch.zeros(width),
    }


def _moco_v2(state: State, other: State) -> dict[str, Any]:
    query, key = _named("module.encoder_q.", state), _named("module.encoder_k.", other)
    heads = _named("module.encoder_q.", _head()) | _named("module.encoder_k.", _head())
    queue = {"module.queue": torch.zeros(8, 4), "module.queue_ptr": torch.zeros(1)}
    return {"epoch": 100, "arch": "resnet50", "state_dict": query | key | heads | queue}


def _moco_v3(state: State, other: State) -> dict[str, Any]:
    head = {"head.0.weight": torch.zeros(4, 4), "head.1.running_mean": torch.zeros(4)}
    base = _named("module.base_encoder.", state | head)
    slow = _named("module.momentum_encoder.", other | head)
    predictor = {"module.predictor.0.weight": torch.zeros(4, 4)}
    return {"epoch": 100, "state_dict": base | slow | predictor, "scaler": {"scale": 1.0}}


def _dino(state: State, other: State) -> dict[str, Any]:
    head = {"module.head.mlp.0.weight": torch.zeros(4, 4)}
    return {
        "student": _named("module.backbone.", other) | head,
        "teacher": _named("module.backbone.", state) | head,
        "epoch": 100,
    }


def _mae(state: State, other: State) -> dict[str, Any]:
    decoder = {
        "mask_token": torch.zeros(1, 1, 8),
        "decoder_embed.weight": torch.zeros(8, 4),
        "decoder_pos_embed": torch.zeros(1, 5, 8),
        "decoder_blocks.0.norm1.weight": torch.zeros(8),
        "decoder_pred.bias": torch.zeros(8),
    }
    return {"model": state | decoder, "epoch": 99}


def _data2vec(state: State, other: State) -> dict[str, Any]:
    extra = {"mask_token": torch.zeros(1, 1, 384), "lm_head.weight": torch.zeros(4, 384)}
    index = {"blocks.0.attn.relative_position_index": torch.zeros(197, 197, dtype=torch.long)}
    return {"model": state | extra | index}


def _with_mask_token(state: State, other: State) -> dict[str, Any]:
    return state | {"mask_token": torch.zeros(1, state["cls_token"].shape[-1])}


def decur_joint(s1: State, s2: State) -> dict[str, Any]:
    """Both sensors in one file: `backbone_1` is Sentinel-1's."""
    projector = {"module.projector.0.weight": torch.zeros(4, 4)}
    return {
        "state_dict": _named("module.backbone_1.", s1)
        | _named("module.backbone_2.", s2)
        | projector
    }


def _bare(state: State, other: State) -> dict[str, Any]:
    return dict(state)


def _classifier(state: State, other: State) -> dict[str, Any]:
    return state | {"fc.weight": torch.zeros(4, 4), "fc.bias": torch.zeros(4)}


def _uncounted(state: State, other: State) -> dict[str, Any]:
    return {n: t for n, t in state.items() if not n.endswith("num_batches_tracked")}


def _meta_dinov3(state: State, other: State) -> dict[str, Any]:
    renamed: State = {}
    for name, tensor in state.items():
        name = name.replace("reg_token", "storage_tokens")
        name = name.replace("gamma_1", "ls1.gamma").replace("gamma_2", "ls2.gamma")
        renamed[name] = tensor
    zero = torch.zeros(3072)
    buffers = {"blocks.0.attn.qkv.bias": zero, "blocks.0.attn.qkv.bias_mask": zero + 1}
    return renamed | buffers | {"mask_token": zero[:1024], "rope_embed.periods": zero[:16]}


def wraps(entry: Entry) -> tuple[Wrap, ...]:
    """Layouts in which users have this file."""
    vit = "vit" in entry.model
    layouts: dict[str, tuple[Wrap, ...]] = {
        "MoCo v2": (_moco_v2, _uncounted),
        "MoCo v3": (_moco_v3,),
        "DINO": (_dino,),
        "MAE": (_mae,),
        "FG-MAE": (_mae,),
        "data2vec": (_data2vec,),
        "SoftCon": (_with_mask_token if vit else _moco_v2,),
        "DINOv3": (_meta_dinov3,),
        "supervised": () if vit else (_classifier,),
    }
    return (_bare, *layouts.get(entry.method, ()))


PATCH = 64
S1 = np.array([-12.548, -20.192]), np.array([5.257, 5.912])
S2 = (
    np.array([1605.575, 1390.782, 1314.873, 1363.525, 1549.444, 2091.749, 2371.717, 2299.905,
              2560.295, 830.066, 22.104, 2177.072, 1524.065]),
    np.array([786.787, 850.348, 875.065, 1138.850, 1122.178, 1161.592, 1274.392, 1248.429,
              1345.527, 577.316, 51.154, 1336.099, 1136.538]),
)  # fmt: skip
BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")


def images(sensor: str) -> Any:  # noqa: ANN401
    """Values of two smooth patches in dB or DN, as the store keeps them."""
    mean, sd = S1 if sensor == "s1" else S2
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.normal(size=(2, len(mean), 8, 8)))
    smooth = F.interpolate(coarse, (PATCH, PATCH), mode="bicubic").numpy()
    values = mean[:, None, None] + sd[:, None, None] * smooth
    return values.round(2) if sensor == "s1" else values.clip(0, 12000).round()


def imported(each: Entry, saved: object, folder: Path, options: dict[str, Any]) -> Any:  # noqa: ANN401
    """The backbone that a user loads after the import."""
    torch.save(saved, folder / "w.pth")
    convert(folder / "w.pth", each, "0" * 64, options).save(folder / "w.safetensors")
    return load_backbone(folder / "w.safetensors", each.sensor)


def prepared(backbone: Any, sensor: str, values: NDArray[np.float64]) -> Tensor:  # noqa: ANN401
    names, units = (("VV", "VH"), "dB") if sensor == "s1" else (BANDS, "DN")
    made: Tensor = backbone.input_spec.prepare(values, bands=names, units=units, check_scale=False)
    return made
