"""Small classes with the signatures and names of torchgeo's, where torchgeo is not installed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH, SIDE, STRIDE = 8, 224, 112


class _Block(nn.Linear):
    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + super().forward(tokens).tanh()


class _Tokens(nn.Module):
    """A class token and a token per cell, which blocks and a mean follow, as in DOFA."""

    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.blocks = nn.ModuleList(_Block(WIDTH, WIDTH) for _ in range(4))
        self.fc_norm = nn.LayerNorm(WIDTH)

    def encode(self, images: Tensor, weights: Tensor) -> Tensor:
        cells = F.avg_pool2d(images, STRIDE).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(images), -1, -1), cells @ weights], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        features: Tensor = self.fc_norm(tokens[:, 1:].mean(1))
        return features


class DOFA(_Tokens):
    img_size, patch_size = SIDE, STRIDE

    def __init__(self, num_classes: int = 45) -> None:
        super().__init__()
        assert num_classes == 0
        self.fclayer = nn.Linear(1, WIDTH)

    def forward(self, x: Tensor, wavelengths: list[float]) -> Tensor:
        return self.encode(x, self.fclayer(torch.tensor(wavelengths, device=x.device)[:, None]))


class CopernicusFM(_Tokens):
    num_patches = (SIDE // STRIDE) ** 2

    def __init__(self, num_classes: int = 0) -> None:
        super().__init__()
        self.patch_embed_spectral = nn.Linear(2, WIDTH)
        self.patch_embed_spectral.kernel_size = STRIDE  # type: ignore[assignment]
        self.patch_embed_variable = nn.Linear(2, WIDTH)

    def forward(
        self, x: Tensor, metadata: Tensor, wavelengths: list[float], bandwidths: list[float]
    ) -> Tensor:
        assert metadata.shape == (len(x), 4)
        assert metadata.isnan().all()
        bands = torch.tensor([wavelengths, bandwidths], device=x.device).T / 1000
        return self.encode(x, self.patch_embed_spectral(bands.log1p()))


class _Encoder(nn.Module):
    def __init__(self, bands: int) -> None:
        super().__init__()
        self.linear_input = nn.Linear(bands, WIDTH)

    def forward(self, imgs: Tensor, attn_bias: Tensor) -> Tensor:
        tokens: Tensor = self.linear_input(F.avg_pool2d(imgs, 60).flatten(2).transpose(1, 2))
        return tokens * attn_bias


class CROMA(nn.Module):
    image_size, patch_size, encoder_dim = 120, 60, WIDTH

    def __init__(self, modalities: Sequence[str] = ("sar", "optical")) -> None:
        super().__init__()
        self.attn_bias = torch.ones(1)  # no buffer, as in torchgeo 0.7
        for sensor, modality, bands in (("s1", "sar", 2), ("s2", "optical", 12)):
            if modality in modalities:
                self.add_module(f"{sensor}_encoder", _Encoder(bands))
                self.add_module(f"{sensor}_GAP_FFN", nn.Sequential(nn.Linear(WIDTH, WIDTH)))

    def forward(
        self, x_sar: Tensor | None = None, x_optical: Tensor | None = None
    ) -> dict[str, Tensor]:
        found = {}
        for sensor, modality, images in (("s1", "sar", x_sar), ("s2", "optical", x_optical)):
            if images is not None:
                tokens = getattr(self, f"{sensor}_encoder")(imgs=images, attn_bias=self.attn_bias)
                found[f"{modality}_encodings"] = tokens
                found[f"{modality}_GAP"] = getattr(self, f"{sensor}_GAP_FFN")(tokens.mean(1))
        return found


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put these classes in torchgeo's place."""
    package, models = ModuleType("torchgeo"), ModuleType("torchgeo.models")
    package.__spec__ = ModuleSpec("torchgeo", None)
    package.models = models  # type: ignore[attr-defined]
    makes = {
        "copernicusfm_base": CopernicusFM,
        "croma_base": CROMA,
        "croma_large": CROMA,
        "dofa_base_patch16_224": DOFA,
        "dofa_large_patch16_224": DOFA,
    }
    for name, make in makes.items():
        setattr(models, name, make)
    monkeypatch.setitem(sys.modules, "torchgeo", package)
    monkeypatch.setitem(sys.modules, "torchgeo.models", models)


def uninstall(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make torchgeo unavailable, even if it is installed."""
    monkeypatch.setitem(sys.modules, "torchgeo", None)
