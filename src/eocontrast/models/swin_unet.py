"""A Swin-UNet: pretrained Swin Transformers, and decoders of Swin blocks that mirror them.

Axes: B batch, C channels, H and W pixels, h and w tokens; in the decoders channels are last.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from timm.models.swin_transformer import SwinTransformer, SwinTransformerStage
from torch import Tensor, nn

from eocontrast.models.backbones import Backbone
from eocontrast.models.model import Streams
from eocontrast.models.segmenters import Fusion, Segmenter, Sides
from eocontrast.patches.inputs import Batch
from eocontrast.runtime.errors import UserError


class PatchExpand(nn.Module):
    """A linear layer to more tokens of fewer channels, laid out as pixels.

    It inverts patch merging (Cao et al. 2021, patch expanding layer).
    """

    def __init__(self, dim: int, out_dim: int, factor: Sides) -> None:
        super().__init__()
        self.factor = factor
        # without bias, as in the code of Cao et al.
        self.expand = nn.Linear(dim, factor[0] * factor[1] * out_dim, bias=False)
        self.norm = nn.LayerNorm(out_dim)

    def forward(self, x_BhwC: Tensor) -> Tensor:
        """Return tokens (B, h * factor, w * factor, out_dim)."""
        tokens = self.expand(x_BhwC).unflatten(-1, (*self.factor, -1))
        pixels = tokens.transpose(2, 3).flatten(3, 4).flatten(1, 2)
        expanded: Tensor = self.norm(pixels)
        return expanded


class DecoderStage(nn.Module):
    """A step of the decoder: expand, join with the backbone's tokens, apply two Swin blocks."""

    def __init__(self, stage: SwinTransformerStage, in_dim: int) -> None:
        super().__init__()
        dim = _dim(stage)
        self.expand = PatchExpand(in_dim, dim, (2, 2))
        self.merge = nn.Linear(2 * dim, dim)
        self.blocks = _blocks_like(stage)

    def forward(self, x_BhwC: Tensor, skip_BhwC: Tensor) -> Tensor:
        """Return tokens like the skip's, (B, 2h, 2w, dim), from tokens (B, h, w, in_dim)."""
        joined = torch.cat([self.expand(x_BhwC), skip_BhwC], dim=-1)
        decoded: Tensor = self.blocks(self.merge(joined))
        return decoded


class Decoder(nn.Module):
    """A decoder from the coarsest tokens back to the finest (Cao et al. 2021, figure 1)."""

    def __init__(self, stages: list[SwinTransformerStage]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            DecoderStage(fine, _dim(coarse)) for fine, coarse in reversed(list(pairwise(stages)))
        )
        self.norm = nn.LayerNorm(_dim(stages[0]))

    def forward(self, pyramid: list[Tensor]) -> Tensor:
        """Return tokens of the finest stage, (B, h, w, C), from all stages, fine to coarse."""
        *skips, tokens = pyramid
        for stage, skip in zip(self.stages, reversed(skips), strict=True):
            tokens = stage(tokens, skip)
        decoded: Tensor = self.norm(tokens)
        return decoded


class SwinUNet(Segmenter):
    """A Swin-UNet: one or two Swin backbones with decoders that mirror them.

    By default each backbone has its own decoder and they are joined at the end, as in P2
    (Scheibenreif et al., CVPRW 2022). With `fuse_skips` they are joined at every scale, in one
    decoder, at half the cost of two.

    Args:
        backbones: Backbones of one architecture, named by their sensors.
        num_classes: Channels of the logits.
        fuse_skips: Whether backbones are joined at every scale; no change for a single one.

    Raises:
        UserError: a backbone is no Swin Transformer.
    """

    def __init__(self, backbones: dict[str, Backbone], num_classes: int, fuse_skips: bool) -> None:
        super().__init__(backbones, one_size=True)
        stages = [_swin_stages(name, backbone) for name, backbone in backbones.items()]
        dims = [_dim(stage) for stage in stages[0]]
        fused = fuse_skips and len(stages) > 1
        self.fusion = Fusion(dims, len(stages)) if fused else None
        self.decoders = nn.ModuleList(Decoder(own) for own in (stages[:1] if fused else stages))
        dim = len(self.decoders) * dims[0]
        patch = _patch_size(next(iter(backbones.values())))
        # from tokens of patch x patch pixels to single pixels, as in Cao et al. 2021, figure 1
        self.expand = PatchExpand(dim, dim, patch)
        self.head = nn.Conv2d(dim, num_classes, kernel_size=1)
        # what a token of the last stage covers: decoders double whole tokens
        merged = 2 ** (len(dims) - 1)
        self.multiples = dict.fromkeys(backbones, (patch[0] * merged, patch[1] * merged))
        self.tile_multiple = _whole_windows(patch, stages[0])
        for name, module in self.named_children():
            if name != "backbones":
                module.apply(_initialise)

    def streams(self, batch: Batch) -> Streams:
        """Return the tokens of each decoder for padded images, (B, h, w, C)."""
        named = zip(self.pyramids(batch).items(), self.decoders, strict=True)
        return {
            name: decode([map_BChw.permute(0, 2, 3, 1) for map_BChw in maps])
            for (name, maps), decode in named
        }

    def join(self, streams: Streams) -> Tensor:
        """Return logits of the padded images from the tokens of all decoders."""
        pixels_BHWC = self.expand(torch.cat(list(streams.values()), dim=-1))
        logits: Tensor = self.head(pixels_BHWC.permute(0, 3, 1, 2))
        return logits

    def logits(self, streams: Streams, size: Sides) -> Tensor:
        """Return logits (B, num_classes, H, W) from the tokens of all decoders."""
        return self.to_pixels(self.join(streams), next(iter(self.backbones)), size)


def _swin_stages(name: str, backbone: Backbone) -> list[SwinTransformerStage]:
    if not isinstance(backbone.timm, SwinTransformer):
        raise UserError(
            f"SwinUNet decodes Swin Transformers, but the backbone of {name} is a "
            f"{type(backbone.timm).__name__}; take an init whose backbone is one of timm's swin_*, "
            "such as swin_tiny_patch4_window7_224"
        )
    return [stage for stage in backbone.timm.layers if isinstance(stage, SwinTransformerStage)]


def _patch_size(backbone: Backbone) -> Sides:
    embedding: Any = backbone.timm.patch_embed
    height, width = embedding.patch_size
    return height, width


def _whole_windows(patch: Sides, stages: list[SwinTransformerStage]) -> int:
    """Return the side in pixels that is a whole number of windows at every stage."""
    blocks: list[Any] = [stage.blocks[0] for stage in stages]
    return math.lcm(
        *(
            side * 2**merged * window
            for merged, block in enumerate(blocks)
            for side, window in zip(patch, block.window_size, strict=True)
        )
    )


def _dim(stage: SwinTransformerStage) -> int:
    block: Any = stage.blocks[0]
    return int(block.dim)


def _blocks_like(stage: SwinTransformerStage) -> SwinTransformerStage:
    """Return new blocks like the first two of a stage, with regular and with shifted windows.

    Swin-UNet has two, however deep the stage is; a stage of one block gives one.
    """
    blocks: list[Any] = list(stage.blocks)[:2]
    first = blocks[0]
    return SwinTransformerStage(
        dim=first.dim,
        out_dim=first.dim,
        input_resolution=first.input_resolution,
        depth=len(blocks),
        downsample=False,
        num_heads=first.attn.num_heads,
        head_dim=first.attn.qkv.out_features // (3 * first.attn.num_heads),
        window_size=first.window_size,
        always_partition=first.always_partition,
        dynamic_mask=first.dynamic_mask,
        mlp_ratio=first.mlp_ratio,
        drop_path=[getattr(block.drop_path1, "drop_prob", 0.0) for block in blocks],
    )


def _initialise(module: nn.Module) -> None:
    """Initialise linear layers as timm's Swin does (after Liu et al. 2021)."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
