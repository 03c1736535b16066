"""Views of images that a test has made."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from eocontrast.modalities import Sensor
from eocontrast.patches.augment import Draws, View
from eocontrast.patches.inputs import Batch, InputSpec
from eocontrast.patches.windows import Window
from eocontrast.pretraining.loop import Views


def cut(images: Tensor, window: Window) -> Tensor:
    """The window of each image, (B, bands, H, W) to (B, bands, side, side)."""
    parts = zip(images, window.parts(), strict=True)
    return torch.stack([image[:, ys, xs] for image, (ys, xs) in parts])


def seen(view: View, images: Tensor) -> Tensor:
    """What a view shows of images; the second half of 2B views shows them again."""
    of_views = images.repeat(len(view.window.top) // len(images), 1, 1, 1)
    return view(cut(of_views, view.window))


def seen_by(views: Views, images: Batch, inputs: Mapping[Sensor, InputSpec], draws: Draws) -> Batch:
    """What an objective sees of a batch of images."""
    size, _, side, _ = next(iter(images.values())).shape
    drawn = views.windows(inputs, size, side, draws)
    return {sensor: seen(view, images[sensor]) for sensor, view in drawn.items()}


def numbered(size: int = 64, pixels: int = 7) -> Batch:
    """Every pixel of the batch has its own number, in both sensors up to sign and band."""
    s1 = torch.arange(size * 2 * pixels**2, dtype=torch.int16).view(size, 2, pixels, pixels)
    return {"s1": s1, "s2": (s1[:, :1] + 10).to(torch.uint16)}


def symmetries(image: Tensor) -> list[Tensor]:
    """The eight flips and rotations of (bands, H, W)."""
    turned = [image.rot90(quarter, (1, 2)) for quarter in range(4)]
    return turned + [image.flip(2) for image in turned]


def windows(image: Tensor, crop: int) -> list[Tensor]:
    """Every window of `crop` pixels of (bands, H, W)."""
    corners = range(image.shape[1] - crop + 1)
    return [image[:, y : y + crop, x : x + crop] for y in corners for x in corners]
