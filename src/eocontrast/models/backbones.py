"""Backbones by timm's names, and one of our own, fed with stored integers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from functools import partial
from typing import Any

import timm
import torch
from torch import Tensor, nn

from eocontrast.modalities import Sensor
from eocontrast.models.foundation import create_foundation
from eocontrast.patches.inputs import Batch, InputSpec
from eocontrast.patches.scaling import Scale, channels_last, resized
from eocontrast.runtime.errors import UserError

_ANY_SIZE: dict[str, dict[str, Any]] = {
    # Window tables keep their shape and inputs are padded, so one set of weights serves every size.
    "swin_": {"strict_img_size": False, "always_partition": True},
    "swinv2_": {"strict_img_size": False, "always_partition": True},
    "vit_": {"dynamic_img_size": True},
}


@dataclass(frozen=True)
class Architecture:
    """A timm model by name, and keyword arguments of `timm.create_model`.

    A name that begins with `torchgeo:` is that of a function of torchgeo, and the options are those
    of its class in `models.foundation`.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    def any_size(self) -> dict[str, Any]:
        """Return the options, with those that let one set of weights serve inputs of every size."""
        defaults = (own for prefix, own in _ANY_SIZE.items() if self.name.startswith(prefix))
        return {**next(defaults, {}), **self.options}

    @property
    def title(self) -> str:
        """Return the package and the name in it, as cards show them."""
        package, _, name = self.name.rpartition(":")
        return f"{package or 'timm'} `{name}`"

    def to_dict(self) -> dict[str, Any]:
        """Return a form that JSON can hold."""
        return asdict(self)


class MMAVGG(nn.Module):
    """The VGG-style encoder of MMA (Windsor et al. 2021), with the face of a timm model.

    Blocks of two convolutions of 3 x 3, each with BatchNorm and ReLU, and a maximum over 2 x 2
    pixels between them: four blocks have a stride of 8.

    Args:
        in_chans: Channels of the image.
        channels: Channels of the blocks; the last are the features.
    """

    def __init__(self, in_chans: int, channels: Sequence[int] = (64, 128, 256, 128)) -> None:
        super().__init__()
        if not channels or not all(isinstance(c, int) and c > 0 for c in channels):
            raise ValueError(f"channels must be a list of positive numbers, got {channels!r}")
        widths = zip((in_chans, *channels), channels, strict=False)
        self.blocks = nn.ModuleList(_vgg_block(seen, width) for seen, width in widths)
        self.pool = nn.MaxPool2d(2)
        self.num_features = channels[-1]
        self.feature_info = [
            {"num_chs": width, "reduction": 2**level} for level, width in enumerate(channels)
        ]

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return features (B, num_features), the mean of the last map."""
        return self._maps(images_BCHW)[-1].mean((2, 3))

    def forward_intermediates(
        self, images_BCHW: Tensor, norm: bool = False, intermediates_only: bool = False
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Return the map of every block, fine to coarse, and the last one before them.

        `norm` changes nothing: a block ends normalised.
        """
        maps = self._maps(images_BCHW)
        return maps if intermediates_only else (maps[-1], maps)

    def _maps(self, images_BCHW: Tensor) -> list[Tensor]:
        maps = [self.blocks[0](images_BCHW)]
        for block in self.blocks[1:]:
            maps.append(block(self.pool(maps[-1])))
        return maps


def _vgg_block(in_chans: int, width: int) -> nn.Module:
    layers: list[nn.Module] = []
    for seen in (in_chans, width):
        convolution = nn.Conv2d(seen, width, 3, padding=1, bias=False)  # BatchNorm has the bias
        layers += [convolution, nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers)


_OWN: dict[str, Callable[..., nn.Module]] = {"mma_vgg": MMAVGG}

_TORCHGEO = "torchgeo:"

REFUSALS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""Errors of timm and torch for options that make no model."""


def create_backbone(architecture: Architecture, in_chans: int) -> nn.Module:
    """Create a timm model that maps (B, in_chans, H, W) to pooled features (B, num_features).

    Raises:
        UserError: there is no such model, it does not take these options, or its package is not
            installed.
    """
    name, options = architecture.name, architecture.options
    create = _creator(name)
    try:
        return create(in_chans=in_chans, **architecture.any_size())
    except REFUSALS as error:
        why = " ".join(str(error).split())[:300]
        raise UserError(f"{name} cannot be built with options {options}: {why}") from error


def _creator(name: str) -> Callable[..., nn.Module]:
    """Return the function that creates models of that name."""
    if name in _OWN:
        return _OWN[name]
    if name.startswith(_TORCHGEO):
        return partial(create_foundation, name.removeprefix(_TORCHGEO))
    if timm.is_model(name):
        # timm without classes returns pooled features
        return partial(timm.create_model, name, num_classes=0)
    close = get_close_matches(name, [*timm.list_models(), *_OWN], n=3) or ["resnet18"]
    raise UserError(f"timm has no model {name!r}; did you mean {', '.join(close)}?")


def create_fitted(architecture: Architecture, in_chans: int, side: int) -> tuple[nn.Module, int]:
    """Create a model that takes images of a size, and return it with its number of features.

    Models of a fixed size get timm's options for other sizes, if they have them.

    Raises:
        UserError: timm has no such model, or it takes images of another size only.
    """
    model = create_backbone(architecture, in_chans)
    try:
        return model, _width(model, in_chans, side)
    except REFUSALS as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
    # the first interpolates position embeddings, so that one set of weights serves every size
    for option, value in (("dynamic_img_size", True), ("img_size", side)):
        other = Architecture(architecture.name, {option: value, **architecture.options})
        with suppress(UserError, *REFUSALS):
            model = create_backbone(other, in_chans)
            return model, _width(model, in_chans, side)
    raise UserError(
        f"{architecture.name} does not take images of {side} x {side} pixels: {why}. Choose "
        "another crop or patch size, or another model (docs/methods.md)"
    )


@torch.no_grad()
def _width(model: nn.Module, in_chans: int, side: int) -> int:
    """Return the number of pooled features of an image: timm's `num_features` may be another."""
    model.eval()
    # in eval mode: BatchNorm would count these zeros among its statistics
    features: Tensor = model(torch.zeros(1, in_chans, side, side))
    model.train()
    if features.ndim != 2:
        raise ValueError(f"its features have the shape {tuple(features.shape)}, not one per image")
    return features.shape[1]


class Images(nn.Module):
    """A layer from stored integers (B, bands, H, W) per sensor to one image (B, in_chans, H, W)."""

    def __init__(self, inputs: dict[Sensor, InputSpec]) -> None:
        super().__init__()
        self.scales = nn.ModuleDict({sensor: Scale(spec) for sensor, spec in inputs.items()})
        self.in_chans = sum(len(spec.modality.bands) for spec in inputs.values())

    def forward(self, batch: Batch) -> Tensor:
        """Return all bands in the order of the sensors, stacked as channels."""
        bands = [scale(batch[sensor]) for sensor, scale in self.scales.items()]
        return bands[0] if len(bands) == 1 else torch.cat(bands, dim=1)


class Backbone(nn.Module):
    """One timm backbone over the bands of one or several sensors, stacked as channels."""

    def __init__(self, architecture: Architecture, inputs: dict[Sensor, InputSpec]) -> None:
        super().__init__()
        self.inputs = inputs
        self.images = Images(inputs)
        self.resize = max(spec.resize for spec in inputs.values())
        side = max(spec.side for spec in inputs.values())
        self.timm, self.num_features = create_fitted(architecture, self.images.in_chans, side)
        self.channels_last = not _strides_over_pixels(self.timm, self.images.in_chans)

    def forward(self, batch: Batch) -> Tensor:
        """Return pooled features (B, num_features) of integers (B, bands, H, W) per sensor."""
        images = resized(self.images(batch), self.resize)
        features: Tensor = self.timm(self._laid_out(images))
        return features

    def pyramid(self, images_BCHW: Tensor) -> list[Tensor]:
        """Return feature maps of scaled images, fine to coarse, (B, C_k, H / r_k, W / r_k) each.

        The last one is normalised where the backbone normalises before it pools.
        """
        maps: list[Tensor] = self.timm.forward_intermediates(  # type: ignore[operator]
            self._laid_out(images_BCHW), norm=True, intermediates_only=True
        )
        return maps

    def _laid_out(self, images_BCHW: Tensor) -> Tensor:
        return channels_last(images_BCHW) if self.channels_last else images_BCHW.contiguous()


def _strides_over_pixels(model: nn.Module, in_chans: int) -> bool:
    """Return whether a convolution of single pixels with a stride sees the image.

    For 2 or 3 channels that come last, its gradient corrupts memory on a CPU (torch 2.15, oneDNN).
    RepVGG, MobileOne and FastViT begin so.
    """
    return any(
        isinstance(layer, nn.Conv2d)
        and layer.in_channels == in_chans
        and layer.kernel_size == (1, 1)
        and layer.stride != (1, 1)
        for layer in model.modules()
    )
