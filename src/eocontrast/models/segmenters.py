"""Segmenters: decoders on the feature maps of backbones, from stored integers to a logit per pixel.

Axes: B batch, C channels, H and W pixels, h and w cells of a map.
"""

from __future__ import annotations

import math
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eocontrast.models.backbones import Backbone
from eocontrast.models.decoders import Decoder
from eocontrast.models.levels import levels_of
from eocontrast.models.model import LateModel, Streams, inputs_of
from eocontrast.patches.inputs import Batch
from eocontrast.patches.scaling import resized
from eocontrast.runtime.errors import UserError

Sides = tuple[int, int]
"""Height and width in pixels or cells."""

FUSED = "fused"
"""Name of the stream of sensors that were joined before the end."""


def pad_to_multiple(images_BCHW: Tensor, multiple: Sides) -> Tensor:
    """Pad images below and on the right until their sides are multiples of `multiple`.

    Padding mirrors the image, since land continues beyond the edge. If the image is smaller than
    the padding, its last row and column are repeated.
    """
    height, width = images_BCHW.shape[-2:]
    below, right = -height % multiple[0], -width % multiple[1]
    if not below and not right:
        return images_BCHW
    mode = "reflect" if below < height and right < width else "replicate"
    return F.pad(images_BCHW, (0, right, 0, below), mode=mode)


class Fusion(nn.Module):
    """A linear layer per scale that joins the pyramids of several backbones."""

    def __init__(self, dims: list[int], streams: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(nn.Linear(streams * dim, dim) for dim in dims)

    def forward(self, pyramids: list[list[Tensor]]) -> list[Tensor]:
        """Return one pyramid of joined maps (B, C, h, w), fine to coarse."""
        alike = zip(*pyramids, strict=True)
        joined = (torch.cat(maps, dim=1).permute(0, 2, 3, 1) for maps in alike)
        scales = zip(self.scales, joined, strict=True)
        return [fuse(map_BhwC).permute(0, 3, 1, 2) for fuse, map_BhwC in scales]


class Segmenter(LateModel):
    """Decoders on the pyramids of one or two backbones.

    Attributes:
        fusion: Joins both pyramids at every scale; None joins the decoders' outputs.
        multiples: Sides of padded images are multiples of these, by backbone.
    """

    fusion: Fusion | None
    multiples: dict[str, Sides]

    def __init__(self, backbones: dict[str, Backbone], one_size: bool) -> None:
        super().__init__()
        self.inputs = inputs_of(backbones)
        self.backbones = nn.ModuleDict(backbones)
        sizes = {name: backbone.resize for name, backbone in backbones.items()}
        if one_size and len({*sizes.values()}) > 1:
            raise UserError(
                f"the sensors' maps have different sizes: images are resized to {sizes} pixels (0: "
                "not at all). Use weights of one size, or head unet, upernet or linear with fusion "
                "late"
            )

    @property
    def apart(self) -> bool:
        """Return whether the sensors are joined only at the end."""
        return self.fusion is None and super().apart

    def pyramids(self, batch: Batch) -> dict[str, list[Tensor]]:
        """Return the maps of each stream for padded images, (B, C, h, w), fine to coarse."""
        pyramids = {name: self._pyramid(name, batch) for name in self.backbones}
        return {FUSED: self.fusion([*pyramids.values()])} if self.fusion else pyramids

    def forward(self, batch: Batch) -> Tensor:
        """Return logits (B, num_classes, H, W) of stored integers (B, bands, H, W) per sensor."""
        return self.logits(self.streams(batch), self._sides(batch))

    def logits(self, streams: Streams, size: Sides) -> Tensor:
        """Return logits (B, num_classes, H, W) from the outputs of all streams."""
        return self.join(streams)

    def to_pixels(self, logits: Tensor, backbone: str, size: Sides) -> Tensor:
        """Return logits of padded images at the pixels of the patches, (B, num_classes, H, W).

        Args:
            logits: Logits of padded images, at any resolution.
            backbone: Name of the backbone that saw the images.
            size: H and W.
        """
        image = torch.empty(1, 1, *size, device="meta")  # a size without pixels
        height, width = resized(image, self._backbone(backbone).resize).shape[-2:]
        rows, columns = self.multiples[backbone]
        padded = (height + -height % rows, width + -width % columns)
        return _scaled(_scaled(logits, padded)[..., :height, :width], size)

    def _sides(self, batch: Batch) -> Sides:
        height, width = next(batch[sensor].shape[-2:] for sensor in self.inputs)
        return height, width

    def _backbone(self, name: str) -> Backbone:
        backbone = self.backbones[name]
        assert isinstance(backbone, Backbone)
        return backbone

    def _pyramid(self, name: str, batch: Batch) -> list[Tensor]:
        backbone = self._backbone(name)
        images = resized(backbone.images(batch), backbone.resize)
        return backbone.pyramid(pad_to_multiple(images, self.multiples[name]))


class EncoderDecoder(Segmenter):
    """A decoder on the maps of any backbone: a U-Net, a UPerNet, or a linear layer per pixel.

    Late fusion has a decoder per backbone and adds their logits. A linear layer on both decoders'
    maps, concatenated, would be the same function.

    Args:
        backbones: Backbones, named by their sensors.
        num_classes: Channels of the logits.
        decoder: Class of the decoders.
        fuse_scales: Whether two backbones of one architecture are joined at every scale, in one
            decoder; no change for a single backbone.

    Raises:
        UserError: a backbone has no maps that the decoder takes.
    """

    def __init__(
        self,
        backbones: dict[str, Backbone],
        num_classes: int,
        decoder: type[Decoder],
        fuse_scales: bool,
    ) -> None:
        super().__init__(backbones, one_size=fuse_scales)
        self.levels = {n: levels_of(b.timm, decoder.most_levels) for n, b in backbones.items()}
        # a model of one size needs padding to it where a scene ends
        wholes = {
            n: getattr(backbones[n].timm, "side", of.coarsest) for n, of in self.levels.items()
        }
        self.multiples = {n: (whole, whole) for n, whole in wholes.items()}
        self.tile_multiple = math.lcm(*(of.coarsest for of in self.levels.values()))
        first = next(iter(self.levels.values()))
        fused = fuse_scales and len(backbones) > 1
        self.fusion = Fusion([*first.channels], len(backbones)) if fused else None
        streams = {FUSED: first} if fused else self.levels
        self.decoders = nn.ModuleDict(
            {name: decoder(levels, num_classes) for name, levels in streams.items()}
        )

    def streams(self, batch: Batch) -> Streams:
        """Return the logits of each decoder, (B, num_classes, H, W)."""
        size = self._sides(batch)
        # fused maps are of the size that the first backbone sees, as are those of the other
        of_streams = zip(self.backbones, self.pyramids(batch).items(), strict=False)
        return {
            name: self.to_pixels(self.decoders[name](maps), backbone, size)
            for backbone, (name, maps) in of_streams
        }

    def join(self, streams: Streams) -> Tensor:
        """Return the sum of all decoders' logits."""
        return reduce(torch.add, (streams[name] for name in self.decoders))

    def _pyramid(self, name: str, batch: Batch) -> list[Tensor]:
        maps = super()._pyramid(name, batch)
        return [maps[position] for position in self.levels[name].positions]


def _scaled(logits: Tensor, size: Sides) -> Tensor:
    if logits.shape[-2:] == size:
        return logits
    return F.interpolate(logits, size, mode="bilinear")
