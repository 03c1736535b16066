"""Scale stored integers for a network, in training and in maps alike.

By default each band has fixed statistics from the pretraining data. Both papers divide each channel
of each crop by its own maximum instead, which loses the radiometry: one bright roof rescales the
image. That scaling is there for their weights and for comparison.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from eocontrast.patches.inputs import InputSpec


class Scale(nn.Module):
    """A layer that scales stored integers (B, C, H, W) to float32.

    Missing pixels become the band's neutral value, so that a sensor without any pixel looks like
    one that is not there.
    """

    scale: Tensor
    shift: Tensor
    low: Tensor
    high: Tensor
    neutral: Tensor

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        self.storage, self.scaling = spec.modality.storage, spec.scaling
        origin, unit = spec.origin_and_unit()
        low, high = map(list, zip(*spec.ranges, strict=True))
        if spec.scaling == "two_sd":  # 0 and 1 lie inside the range, or at its ends
            low = [max(end, zero) for end, zero in zip(low, origin, strict=True)]
            high = [min(e, z + u) for e, z, u in zip(high, origin, unit, strict=True)]
        zero, one, least, most, neutral = (
            torch.tensor(v, dtype=torch.float32).view(1, -1, 1, 1)
            for v in (origin, unit, low, high, spec.neutral)
        )
        # one multiplication and one addition a value; not persistent, because the spec in the
        # weight file's header is the one source of these numbers
        self.register_buffer("scale", self.storage.step / one, persistent=False)
        self.register_buffer("shift", -zero / one, persistent=False)
        self.register_buffer("low", (least - zero) / one, persistent=False)
        self.register_buffer("high", (most - zero) / one, persistent=False)
        self.register_buffer("neutral", neutral, persistent=False)

    def forward(self, stored: Tensor) -> Tensor:
        """Return the scaled bands in the same shape."""
        values = stored.float()
        missing = values == self.storage.nodata
        values = torch.addcmul(self.shift, values, self.scale).clamp_(self.low, self.high)
        if self.scaling == "image_two_sd":
            values = _by_own_deviation(values, missing)
        values = torch.where(missing, self.neutral, values)
        if self.scaling == "crop_maximum":
            # 1e-5 as published: a crop of zeros stays zero
            values = values / (values.amax(dim=(2, 3), keepdim=True) + 1e-5)
        return values


def resized(images_BCHW: Tensor, side: int) -> Tensor:
    """Return images whose longer side has `side` pixels; unchanged if `side` is 0.

    Interpolation is bilinear and averages where it shrinks, as torchvision's resize does.
    """
    height, width = images_BCHW.shape[-2:]
    longer = max(height, width)
    if side in (0, longer):
        return images_BCHW
    size = [max(1, round(length * side / longer)) for length in (height, width)]
    # antialias: each new pixel is a mean of all that it covers, as an image taken from further away
    return F.interpolate(images_BCHW, size, mode="bilinear", antialias=True)


def channels_last(images_BCHW: Tensor) -> Tensor:
    """Return images whose channels lie side by side in memory, which convolutions are faster on.

    On a CPU and on tensor cores they are 1.3 to 2 times as fast.
    """
    images_BCHW = images_BCHW.contiguous(memory_format=torch.channels_last)
    if images_BCHW.shape[1] > 1:
        return images_BCHW
    # one channel fits both layouts, and convolutions take the slower one unless its stride is 1
    return images_BCHW.squeeze(1).unsqueeze(-1).movedim(-1, 1)


def prepared(stored: NDArray[np.integer], spec: InputSpec, device: torch.device | None) -> Tensor:
    """Return stored integers (B, C, H, W) as a `Backbone` gives them to its network."""
    scaled: Tensor = Scale(spec).to(device)(torch.from_numpy(stored).to(device))
    # the layout in memory of a `Backbone`, for the same features to the bit
    return channels_last(resized(scaled, spec.resize))


def _by_own_deviation(values: Tensor, missing: Tensor) -> Tensor:
    """Map each image's own mean - 2 sd to 0 and its mean + 2 sd to 1 per band (Fuller et al. 2023).

    Missing pixels do not count.
    """
    count = (~missing).sum((2, 3), keepdim=True).clamp_min(1)
    mean = values.masked_fill(missing, 0).sum((2, 3), keepdim=True) / count
    off = (values - mean).masked_fill(missing, 0)
    sd = (off.square().sum((2, 3), keepdim=True) / count).sqrt()
    # a band of one value has no deviation: its pixels stay in the middle
    return ((values - mean) / (4 * sd).clamp_min(1e-6) + 0.5).clamp(0, 1)
