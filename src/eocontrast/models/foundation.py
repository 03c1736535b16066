"""Foundation models by torchgeo's classes, with the interface of a timm model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from eocontrast.runtime.errors import UserError, missing_package

Make = Callable[..., Any]
"""A function of torchgeo that makes a model with random weights."""


class Foundation(nn.Module, ABC):
    """A model of torchgeo that maps images alone to pooled features.

    Attributes:
        net: torchgeo's model.
        num_features: Number of features.
        side: Pixels along a side of the images.
        feature_info: Channels and stride of each map, as timm lists them.
    """

    def __init__(self, net: nn.Module, num_features: int, side: int, stride: int) -> None:
        super().__init__()
        self.net: Any = net
        self.num_features, self.side = num_features, side
        self.feature_info = [{"num_chs": num_features, "reduction": stride}] * len(self.blocks())

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return pooled features (B, num_features).

        Raises:
            UserError: the images are of another size, for which there are no positions.
        """
        height, width = images_BCHW.shape[-2:]
        if {height, width} != {self.side}:
            raise UserError(
                f"a {type(self.net).__name__} takes images of {self.side} x {self.side} pixels, "
                f"but these have {height} x {width}: make them square"
            )
        return self.pooled(images_BCHW)

    def forward_intermediates(
        self, images_BCHW: Tensor, norm: bool = False, intermediates_only: bool = False
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Return the map of every block (B, num_features, h, w), and the last one before them.

        `norm` changes nothing: what follows the last block depends on the model.
        """
        found: list[Tensor] = []
        # torchgeo's models return no maps, but their blocks are modules
        hooks = [
            block.register_forward_hook(lambda _, __, tokens: found.append(tokens))
            for block in self.blocks()
        ]
        try:
            self(images_BCHW)
        finally:
            for hook in hooks:
                hook.remove()
        maps = [self._map(tokens) for tokens in found]
        return maps if intermediates_only else (maps[-1], maps)

    def _map(self, tokens_BND: Tensor) -> Tensor:
        """Return patch tokens as a map; a class token comes first and is left out."""
        cells = self.side // self.feature_info[0]["reduction"]
        patches = tokens_BND[:, -(cells**2) :]
        return patches.transpose(1, 2).reshape(len(patches), -1, cells, cells)

    @abstractmethod
    def blocks(self) -> Sequence[nn.Module]:
        """Return the modules whose outputs are the maps, in the order of the network."""

    @abstractmethod
    def pooled(self, images_BCHW: Tensor) -> Tensor:
        """Return the features that the publisher evaluates."""


class DOFA(Foundation):
    """DOFA (Xiong et al. 2024): its first layer is made from the wavelengths of the bands.

    Features are the mean of all patch tokens, with a normalisation that pretraining did not have.

    Args:
        make: torchgeo's function.
        wavelengths: Micrometres, one a band.
    """

    def __init__(self, make: Make, wavelengths: Sequence[float]) -> None:
        net = make(num_classes=0)
        self.wavelengths = [float(each) for each in wavelengths]
        super().__init__(net, net.cls_token.shape[-1], net.img_size, net.patch_size)

    def blocks(self) -> Sequence[nn.Module]:
        """Return the Transformer's blocks."""
        return tuple(self.net.blocks)

    def pooled(self, images_BCHW: Tensor) -> Tensor:
        """Return the normalised mean of the patch tokens."""
        features: Tensor = self.net(images_BCHW, wavelengths=self.wavelengths)
        return features


class CopernicusFM(Foundation):
    """Copernicus-FM (Wang et al. 2025): as DOFA, with bandwidths. Place and time are unknown to it.

    Args:
        make: torchgeo's function.
        wavelengths: Nanometres, one a band.
        bandwidths: Nanometres, likewise.
    """

    def __init__(
        self, make: Make, wavelengths: Sequence[float], bandwidths: Sequence[float]
    ) -> None:
        net = make(num_classes=0)
        del net.patch_embed_variable  # for variables without wavelengths: 26 million parameters
        self.bands = {
            "wavelengths": [float(each) for each in wavelengths],
            "bandwidths": [float(each) for each in bandwidths],
        }
        side = round(net.num_patches**0.5) * net.patch_embed_spectral.kernel_size
        width = net.cls_token.shape[-1]
        super().__init__(net, width, side, net.patch_embed_spectral.kernel_size)

    def blocks(self) -> Sequence[nn.Module]:
        """Return the Transformer's blocks."""
        return tuple(self.net.blocks)

    def pooled(self, images_BCHW: Tensor) -> Tensor:
        """Return the normalised mean of the patch tokens."""
        # longitude, latitude, time and area: for NaN it has tokens that were trained
        unknown = images_BCHW.new_full((len(images_BCHW), 4), torch.nan)
        features: Tensor = self.net(images_BCHW, unknown, **self.bands)
        return features


class CROMA(Foundation):
    """One sensor's encoder of CROMA (Fuller et al. 2023), with the layers after its mean.

    Args:
        make: torchgeo's function.
        modalities: `sar` or `optical`, alone.
    """

    def __init__(self, make: Make, modalities: Sequence[str]) -> None:
        (self.modality,) = modalities
        net = make(modalities=[self.modality])
        # before 0.8 it was no buffer, and stayed on the CPU; files hold no constants
        bias = net.attn_bias
        del net.attn_bias
        net.register_buffer("attn_bias", bias, persistent=False)
        super().__init__(net, net.encoder_dim, net.image_size, net.patch_size)

    def blocks(self) -> Sequence[nn.Module]:
        """Return the encoder, whose blocks add their outputs up in no module: one map."""
        return (self.net.s1_encoder if self.modality == "sar" else self.net.s2_encoder,)

    def pooled(self, images_BCHW: Tensor) -> Tensor:
        """Return what the sensor's feed-forward network makes of the mean of all tokens."""
        features: Tensor = self.net(**{f"x_{self.modality}": images_BCHW})[f"{self.modality}_GAP"]
        return features


_CLASSES: dict[str, Callable[..., Foundation]] = {
    "copernicusfm_base": CopernicusFM,
    "croma_base": CROMA,
    "croma_large": CROMA,
    "dofa_base_patch16_224": DOFA,
    "dofa_large_patch16_224": DOFA,
}


def create_foundation(name: str, in_chans: int, **options: Any) -> Foundation:  # noqa: ANN401
    """Create a foundation model with random weights.

    Args:
        name: torchgeo's function.
        in_chans: Channels; the options say them too, and images of another number are an error.
        **options: Bands or sensor, as the class above describes them.

    Raises:
        UserError: torchgeo is not installed, or there is no such model.
    """
    if name not in _CLASSES:
        raise UserError(f"of torchgeo's models there are {', '.join(_CLASSES)}, not {name!r}")
    try:
        from torchgeo import models
    except ImportError as error:
        raise missing_package(name, error.name or "torchgeo", "foundation") from error
    return _CLASSES[name](getattr(models, name), **options)
