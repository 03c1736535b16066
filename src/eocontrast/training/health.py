"""Health of embeddings, measured on held-out pairs: do they still differ between places?"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from eocontrast.runtime.errors import UserError


class CollapseError(UserError):
    """Training failed: embeddings carry no information, or the loss is not a number."""


def embedding_health(z1_ND: Tensor, z2_ND: Tensor) -> dict[str, float]:
    """Measure spread, similarity and cross-modal retrieval of the embeddings of N pairs.

    Args:
        z1_ND: embeddings of one sensor, (N, D), not normalised.
        z2_ND: embeddings of the other sensor, (N, D).

    Returns:
        `spread`: sd of the normalised embeddings times sqrt(D), mean over dimensions. It is 1 if
        they fill the sphere, and 0 if they are one point (as in SimSiam, Chen and He 2021, fig. 2).
        `mean_cosine`: mean cosine of different places of one sensor.
        `effective_rank`: exp of the entropy of the singular values (Roy and Vetterli 2007), mean
        over both sensors.
        `retrieval_top1`: share of places whose Sentinel-2 is nearest to their Sentinel-1.
    """
    z1, z2 = F.normalize(z1_ND.double(), dim=1), F.normalize(z2_ND.double(), dim=1)
    both = torch.stack([z1, z2])
    size, dim = z1.shape
    # within each sensor: all places with all places
    cosines = both @ both.transpose(1, 2)
    off_diagonal = cosines.sum() - cosines.diagonal(dim1=1, dim2=2).sum()
    # what all embeddings share would be the largest singular value, and hide the others
    centred = both - both.mean(1, keepdim=True)
    # LAPACK raises on NaN, and refuse_collapse has the better message
    singular = torch.linalg.svdvals(centred) if centred.isfinite().all() else centred.norm(dim=1)
    weights = singular / singular.sum(1, keepdim=True).clamp_min(1e-12)
    nearest = (z1 @ z2.T).argmax(1)
    return {
        "spread": float(both.std(1, correction=0).mean() * math.sqrt(dim)),
        # each of the two sensors has N (N - 1) ordered pairs of different places
        "mean_cosine": float(off_diagonal / (2 * size * (size - 1))),
        "effective_rank": float(torch.special.entr(weights).sum(1).exp().mean()),
        "retrieval_top1": float((nearest == torch.arange(size, device=z1.device)).double().mean()),
    }


def refuse_collapse(health: dict[str, float]) -> None:
    """Raise an error if all embeddings are nearly one point.

    A healthy run ends with a spread of 0.5 to 1 and a mean cosine below 0.5. Backbones start with
    cosines of 0.97 and more, so the bounds are far off: call this after the warm-up.

    Raises:
        CollapseError: the embeddings collapsed.
    """
    # `not >` is also true of NaN
    if not health["spread"] > 0.02 or not health["mean_cosine"] < 0.999:
        raise CollapseError(
            f"embeddings collapsed: spread {health['spread']:.3f} (above 0.02 expected), mean "
            f"cosine {health['mean_cosine']:.3f} (below 0.999 expected). Lower lr, add warm-up "
            "epochs, or check that the patches differ"
        )


def refuse_not_finite(loss: float, step: int) -> None:
    """Raise an error if the loss is not a finite number.

    Raises:
        CollapseError: the loss is NaN or infinite.
    """
    if not math.isfinite(loss):
        raise CollapseError(
            f"the loss is {loss} at step {step}: lower lr, raise temperature, or set precision: no"
        )
