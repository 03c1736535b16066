"""Decoders from the feature maps of a backbone to logits per pixel.

Those of segmentation-models-pytorch take 4 s to import, so only a model that has one does it.
Axes: B batch, C channels, h and w cells of a map.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eocontrast.models.levels import Levels
from eocontrast.runtime.errors import UserError


class Decoder(nn.Module, ABC):
    """A decoder of one pyramid.

    Attributes:
        most_levels: Largest number of maps that it takes.
    """

    most_levels: ClassVar[int] = 6

    @abstractmethod
    def __init__(self, levels: Levels, num_classes: int) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, maps: list[Tensor]) -> Tensor:
        """Return logits (B, num_classes, h, w) of maps, fine to coarse, at any resolution."""


class UNetDecoder(Decoder):
    """A U-Net's decoder, as segmentation-models-pytorch has it (Ronneberger et al. 2015).

    Raises:
        UserError: the maps do not get coarser.
    """

    def __init__(self, levels: Levels, num_classes: int) -> None:
        super().__init__(levels, num_classes)
        if not levels.halving:
            raise UserError(
                f"no U-Net can be built on maps that all have a stride of {levels.coarsest}, as "
                "those of a ViT; use head upernet or linear, or a backbone whose maps halve from "
                "stage to stage, such as resnet18"
            )
        from segmentation_models_pytorch.base.initialization import (
            initialize_decoder,
            initialize_head,
        )
        from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder

        self.finest = levels.strides[0]
        # sizes between the pixels and the finest map, which have no map to join
        self.bare = [2**k for k in range(1, self.finest.bit_length()) if 2**k < self.finest]
        channels = [*(0 for _ in self.bare), *levels.channels]
        widths = unet_widths(len(channels), levels.channels[-1])
        # the first entry is the image's own resolution, which the library drops
        self.decoder = UnetDecoder([0, *channels], widths, len(widths))
        self.head = nn.Conv2d(widths[-1], num_classes, 3, padding=1)
        initialize_decoder(self.decoder)
        initialize_head(self.head)
        # weights in the layout of the maps: a step takes 66 ms in place of 78 (AMD EPYC)
        self.to(memory_format=torch.channels_last)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Return logits (B, num_classes, H, W) of maps, fine to coarse."""
        batch, _, *cells = maps[0].shape
        height, width = (side * self.finest for side in cells)
        bare = [maps[0].new_empty(batch, 0, height // k, width // k) for k in (1, *self.bare)]
        logits: Tensor = self.head(self.decoder([*bare, *maps]))
        return logits


class UPerNetDecoder(Decoder):
    """UPerNet's decoder, as segmentation-models-pytorch has it (Xiao et al. 2018).

    The four blocks of a plain ViT become maps of four sizes first, by transposed convolutions and a
    maximum, as for BEiT (Bao et al. 2022).
    """

    most_levels = 4

    def __init__(self, levels: Levels, num_classes: int) -> None:
        super().__init__(levels, num_classes)
        from segmentation_models_pytorch.base.initialization import initialize_decoder
        from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder as Smp

        self.scales = nn.ModuleList() if levels.halving else _four_scales(levels.channels[0])
        # 256 as in Xiao et al.; a backbone narrower than that does not fill them
        width = min(256, levels.channels[-1])
        self.decoder = Smp([0, 0, *levels.channels], decoder_channels=width)
        # the gradient of torch's adaptive pooling is refused on CUDA as not deterministic
        for block in self.decoder.psp.blocks:
            block[0] = AveragePool(block[0].output_size)
        self.head = nn.Conv2d(width, num_classes, 1)
        initialize_decoder(self.decoder)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Return logits (B, num_classes, h, w) at the cells of the finest map."""
        if self.scales:
            maps = [scale(of_block) for scale, of_block in zip(self.scales, maps, strict=True)]
        # smp leaves out the first two maps, of strides 1 and 2
        logits: Tensor = self.head(self.decoder([maps[0], maps[0], *maps]))
        return logits


class LinearDecoder(Decoder):
    """A linear layer per pixel on all maps (hypercolumns, Hariharan et al. 2015).

    Channels get zero mean and unit variance first, as a linear probe's features do.
    """

    def __init__(self, levels: Levels, num_classes: int) -> None:
        super().__init__(levels, num_classes)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(channels, affine=False), nn.Conv2d(channels, num_classes, 1)
            )
            for channels in levels.channels
        )

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Return logits (B, num_classes, h, w) at the cells of the finest map.

        A linear layer on maps that were brought to one size is the sum of one layer per map.
        """
        size = maps[0].shape[-2:]
        parts = [layer(of_level) for layer, of_level in zip(self.layers, maps, strict=True)]
        return torch.stack([F.interpolate(part, size, mode="bilinear") for part in parts]).sum(0)


class AveragePool(nn.Module):
    """`nn.AdaptiveAvgPool2d` as two matrix products, whose gradient is deterministic on CUDA."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, map_BChw: Tensor) -> Tensor:
        """Return the means of side x side overlapping windows, (B, C, side, side)."""
        rows, columns = (self._windows(map_BChw, cells) for cells in map_BChw.shape[-2:])
        return rows @ map_BChw @ columns.T

    def _windows(self, like: Tensor, cells: int) -> Tensor:
        """Return the weight of each cell in each window, (side, cells)."""
        window = torch.arange(self.side, device=like.device)[:, None]
        cell = torch.arange(cells, device=like.device)
        # rounded down and up, as torch's adaptive pooling does: windows may overlap by a cell
        first, end = window * cells // self.side, -((window + 1) * cells // -self.side)
        inside = ((cell >= first) & (cell < end)).to(like.dtype)
        return inside / inside.sum(1, keepdim=True)


def unet_widths(maps: int, channels: int) -> list[int]:
    """Return the widths of a U-Net's decoder, coarse to fine, for the coarsest map's channels.

    For five maps of a ResNet-34, which has 512, they are 256, 128, 64, 32 and 16, the library's
    default. Narrower backbones get narrower ones, but none below 16: as wide as the default, they
    take longer and segment no better (docs/evaluation.md).
    """
    share = min(1.0, channels / 512)
    return [max(16, int(share * min(16 * 2**k, 256))) for k in reversed(range(maps))]


def _four_scales(channels: int) -> nn.ModuleList:
    """Return layers to 4, 2, 1 and 1/2 times the size."""

    def twice() -> nn.Module:
        return nn.ConvTranspose2d(channels, channels, 2, 2)

    largest = nn.Sequential(twice(), nn.BatchNorm2d(channels), nn.GELU(), twice())
    # ceil_mode: a map of one cell stays one
    return nn.ModuleList([largest, twice(), nn.Identity(), nn.MaxPool2d(2, ceil_mode=True)])


DECODERS: dict[str, type[Decoder]] = {
    "unet": UNetDecoder,
    "upernet": UPerNetDecoder,
    "linear": LinearDecoder,
}
"""Decoders by the head of a segmenter that has them."""
