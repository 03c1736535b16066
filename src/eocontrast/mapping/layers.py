"""The files of a map, and the bytes in them: classes, confidence and entropy, and probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

# leave 251 to 255 free: 255 is no data, and a step is 0.004 exactly
STEPS = 250
"""Steps of a byte between 0 and 1."""


@dataclass(frozen=True)
class Layer:
    """One file of a map.

    Attributes:
        suffix: Suffix of its name.
        names: Names of its bands.
        scale: Scale of its bytes.
        nodata: Byte for no data.
        overviews: GDAL's resampling for overviews.
        bytes_of: Whole numbers (bands, h, w) from probabilities (C, h, w).
    """

    suffix: str
    names: tuple[str, ...]
    scale: float
    nodata: int
    overviews: str
    bytes_of: Callable[[Tensor], Tensor]

    def path(self, out: Path) -> Path:
        """Return the path of this file for the map `out`."""
        return out.with_stem(out.stem + self.suffix)


def _classes(probabilities: Tensor) -> Tensor:
    # the same as argmax in a fifth of its time
    return probabilities.max(0, keepdim=True).indices + 1


def _confidence(exclusive: bool) -> Callable[[Tensor], Tensor]:
    """Return the function for confidence and entropy.

    The entropy is that of the classes, or without exclusive classes the mean of each one's own.
    """

    def bytes_of(probabilities: Tensor) -> Tensor:
        # entr(p) is -p log(p), and 0 at p = 0
        entropy = torch.special.entr(probabilities)
        if exclusive:
            # a single class has no entropy, but log(1) = 0 would divide
            share = entropy.sum(0) / math.log(max(len(probabilities), 2))
        else:
            share = (entropy + torch.special.entr(1 - probabilities)).mean(0) / math.log(2)
        return _share_bytes(torch.stack([probabilities.amax(0), share]))

    return bytes_of


def _share_bytes(shares: Tensor) -> Tensor:
    return (shares.clamp(0, 1) * STEPS).round()


def layers(classes: tuple[str, ...], exclusive: bool, probabilities: bool) -> list[Layer]:
    """List the files of a map; the classes come last, so that a map with classes is complete.

    Args:
        classes: Names by index.
        exclusive: Whether exactly one class is right.
        probabilities: Whether to write one band per class.
    """
    # overviews: means of probabilities, but the most frequent class
    shares = (1 / STEPS, 255, "AVERAGE")
    confidence = Layer("_confidence", ("confidence", "entropy"), *shares, _confidence(exclusive))
    by_class = Layer("_probabilities", classes, *shares, _share_bytes)
    best = Layer("", ("class",), 1, 0, "MODE", _classes)
    return [confidence, *([by_class] if probabilities else []), best]
