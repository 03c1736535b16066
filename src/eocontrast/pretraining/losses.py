"""Contrastive losses over the batch of all ranks, a chunk of its rows at a time.

Every rank computes the rows of its own samples against the columns of all, so that the mean over
ranks is the loss of the whole batch. A chunk of rows is differentiated at once and its logits are
forgotten: memory grows with the batch, not with its square.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from eocontrast.training.ranks import gathered, rank, ranks

LOGITS = 2**22
"""Largest number of logits at once, 16 MiB in float32; up to 1,024 pairs are one chunk."""


def nt_xent(
    z1_ND: Tensor, z2_ND: Tensor, temperature: float, group_N: Tensor | None = None
) -> Tensor:
    """Compute the normalised temperature-scaled cross-entropy (Chen et al. 2020, eq. 1; P1, eq. 1).

    Row i of both inputs shows place i. Each of the 2N embeddings must find its partner among the
    2N - 1 others, including those of its own sensor. The loss is computed in float32, or in float64
    if the embeddings are.

    Args:
        z1_ND: embeddings of one view of this rank's places, (N, D), not normalised.
        z2_ND: embeddings of the other view, (N, D).
        temperature: divisor of the cosines, tau in the paper.
        group_N: group of every place, int64 (N,); other places of one group are then no negatives.

    Returns:
        Mean loss over the 2N rows, a scalar; its mean over the ranks is that of the whole batch.
    """
    # bfloat16 rounds cosines by up to 0.002, and logits at a temperature of 0.1 by 0.02
    with torch.autocast(z1_ND.device.type, enabled=False):
        z_MD = F.normalize(_exact(torch.cat([z1_ND, z2_ND])), dim=1)
        places = _Places(len(z_MD), 2, group_N, z_MD.device)

        def loss_of(rows: slice, own_MD: Tensor, all_MD: Tensor) -> Tensor:
            return places.cross_entropy(own_MD[rows] @ all_MD.T / temperature, rows)

        chunks = _chunks(len(z_MD), len(z_MD) * ranks())
        return _chunked(loss_of, chunks, z_MD, gathered(z_MD))


def max_correlation(maps1_NEhw: Tensor, maps2_NEhw: Tensor, max_offset: int) -> Tensor:
    """Compute the mean cosine of two maps at their best offset (MMA, Windsor et al. 2021).

    One map is moved over the other. Cells outside of a map count as zero.

    Args:
        maps1_NEhw: maps of one view whose cells have length 1, (N, E, h, w).
        maps2_NEhw: maps of the other view, (M, E, h, w).
        max_offset: largest offset in cells, up, down and sideways.

    Returns:
        Mean cosine over the cells at the best offset, (N, M), between -1 and 1.
    """
    # torch's convolution is a correlation: every map of the second view is a filter
    sums_NMuv = F.conv2d(maps1_NEhw, maps2_NEhw, padding=max_offset)
    # divided by all cells at every offset: what moves out of the map counts as 0, so that a small
    # overlap that fits by chance does not win
    return sums_NMuv.amax((2, 3)) / (maps1_NEhw.shape[2] * maps1_NEhw.shape[3])


def unit_cells(maps_NEhw: Tensor) -> Tensor:
    """Scale the vector of every cell to length 1, in float32 or float64."""
    return F.normalize(_exact(maps_NEhw), dim=1)


def _exact(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def aligned_info_nce(
    maps1_NEhw: Tensor,
    maps2_NEhw: Tensor,
    max_offset: int,
    temperature: float,
    group_N: Tensor | None = None,
) -> Tensor:
    """Compute InfoNCE of feature maps at their best offset (Windsor et al. 2021).

    Each map must find its partner among those of the other view, in both directions. The precision
    is that of `nt_xent`.

    Args:
        maps1_NEhw: maps of one view of this rank's places, (N, E, h, w), not normalised.
        maps2_NEhw: maps of the other view, (N, E, h, w).
        max_offset: largest offset in cells.
        temperature: divisor of the mean cosines.
        group_N: group of every place, int64 (N,); other places of one group are then no negatives.

    Returns:
        Mean loss over both directions, a scalar; its mean over ranks is that of the whole batch.
    """
    with torch.autocast(maps1_NEhw.device.type, enabled=False):
        maps1, maps2 = unit_cells(maps1_NEhw), unit_cells(maps2_NEhw)
        size, total = len(maps1), len(maps1) * ranks()
        places = _Places(size, 1, group_N, maps1.device)

        def loss_of(rows: slice, own1: Tensor, own2: Tensor, all1: Tensor, all2: Tensor) -> Tensor:
            # one matrix serves both directions if it is whole: rows look for columns, columns for
            # rows
            logits = max_correlation(own1[rows], all2, max_offset) / temperature
            columns = logits
            if len(logits) < total:  # a part of the rows holds no whole column
                columns = max_correlation(all1, own2[rows], max_offset) / temperature
            there, back = (places.cross_entropy(each, rows) for each in (logits, columns.T))
            return (there + back) / 2

        chunks = _chunks(size, total * (2 * max_offset + 1) ** 2)
        return _chunked(loss_of, chunks, maps1, maps2, gathered(maps1), gathered(maps2))


class _Places:
    """The column that each row of this rank must find, and the columns that it does not see.

    Args:
        rows: number of rows of this rank, those of the first view first.
        views: number of views among rows and columns: 2, or 1 if columns are the other view.
        group_N: group of every place of this rank, int64 (N,); each place is its own group if None.
        device: device of the logits.
    """

    def __init__(self, rows: int, views: int, group_N: Tensor | None, device: torch.device) -> None:
        size = rows // views
        self.own = torch.arange(rank(), rows * ranks(), ranks(), device=device)
        # all first views come before the second ones, so a partner is half of all rows away
        self.partner = (self.own + (views - 1) * size * ranks()) % (rows * ranks())
        everywhere = torch.arange(size * ranks(), device=device)
        self.groups = (everywhere if group_N is None else gathered(group_N.to(device))).repeat(
            views
        )

    def cross_entropy(self, logits: Tensor, rows: slice) -> Tensor:
        """Return the mean cross-entropy of finding the partner, from (rows, all) to a scalar."""
        partner = self.partner[rows]
        # a row is of its own group too, so it does not see itself
        unseen = self.groups[self.own[rows], None] == self.groups
        # its partner is of that group as well, and is what it must find
        unseen.scatter_(1, partner[:, None], False)
        return F.cross_entropy(logits.masked_fill(unseen, -torch.inf), partner)


def _chunks(rows: int, logits_a_row: int) -> list[slice]:
    """Split the rows into chunks of at most `LOGITS` logits each."""
    size = max(1, LOGITS // logits_a_row)
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def _chunked(loss_of: Callable[..., Tensor], chunks: list[slice], *inputs: Tensor) -> Tensor:
    """Return the mean of `loss_of(rows, *inputs)` over all rows, a scalar.

    Several chunks are differentiated one by one, with respect to copies of the inputs. A term that
    adds nothing to the loss then carries their gradients (as in GradCache, Gao et al. 2021).
    """
    if len(chunks) == 1:
        return loss_of(chunks[0], *inputs)
    copies = [each.detach().requires_grad_() for each in inputs]
    total = torch.zeros((), device=inputs[0].device)
    for rows in chunks:
        # a mean of means has weights where the last chunk is shorter
        loss = loss_of(rows, *copies) * ((rows.stop - rows.start) / chunks[-1].stop)
        torch.autograd.backward(loss)
        total += loss.detach()
    for each, copy in zip(inputs, copies, strict=True):
        if copy.grad is not None:
            total = total + ((each - copy.detach()) * copy.grad).sum()
    return total
