"""The symmetric cross-modal loss of CLIP: negatives come from the other sensor only."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from eo_ssl.losses.common import (
    check_pairs,
    checked,
    chunk_rows,
    full_precision,
    gather,
    mean_over_ranks,
    rank,
    sum_over_chunks,
    unit,
    without_partners,
    world_size,
)

Similarity = Callable[[Tensor, Tensor], Tensor]


def cross_modal_loss(
    x1: Tensor,
    x2: Tensor,
    similarity: Similarity,
    temperature: float | Tensor,
    false_negatives: Tensor | None,
    chunk: int,
) -> Tensor:
    """Mean of the two cross-entropies, sensor 1 → 2 and sensor 2 → 1, over any similarity of two sets.

    `similarity(a, b)` is (C, N) for a (C, ...), b (N, ...), and scales with a. Shape: x1, x2 (N, ...) → ().
    """
    n, patch = len(x1), torch.arange(len(x1), device=x1.device)
    drop = without_partners(false_negatives, n)

    def logits_of(rows: slice, anchors: Tensor, keys: Tensor) -> Tensor:
        logits = similarity(anchors, keys)  # (C, N)
        return logits if drop is None else logits.masked_fill(drop[rows], -torch.inf)

    def one_way(rows: slice, anchors: Tensor, keys: Tensor) -> Tensor:
        return F.cross_entropy(logits_of(rows, anchors, keys), patch[rows] + rank() * n, reduction="sum")

    def both_ways(rows: slice, anchors: Tensor, keys: Tensor) -> Tensor:
        logits = logits_of(rows, anchors, keys)  # (N, N)
        return sum(F.cross_entropy(matrix, patch, reduction="sum") for matrix in (logits, logits.T))

    if world_size() == 1 and n <= chunk:  # all in one block: both directions read the same matrix
        return sum_over_chunks(both_ways, x1 / temperature, x2, n) / (2 * n)
    there = sum_over_chunks(one_way, x1 / temperature, gather(x2), chunk)
    back = sum_over_chunks(one_way, x2 / temperature, gather(x1), chunk)
    return mean_over_ranks((there + back) / (2 * n))


def clip_loss(
    z1: Tensor,
    z2: Tensor,
    temperature: float | Tensor = 0.07,
    false_negatives: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    r"""Each S1 embedding has to find its S2 partner among N, and the other way round.

        loss = −1/2N Σᵢ [ log softmax_j(s(i, j) / τ)ᵢ + log softmax_j(s(j, i) / τ)ᵢ ]

    with s(i, j) the cosine of z1ᵢ and z2ⱼ.

    Shape: z1, z2 (N, D); false_negatives (N, N) bool → (). Errors and chunks as in `nt_xent`.
    Source: Radford et al. (2021), "Learning transferable visual models from natural language supervision",
    figure 3.

    >>> z = torch.ones(4, 8)
    >>> round(clip_loss(z, z).exp().item(), 4)  # a guess among N = 4
    4.0
    """
    check_pairs(z1, z2, temperature)
    with full_precision(z1):
        rows = chunk_rows(chunk, len(z1) * world_size(), z1.device)
        loss = cross_modal_loss(unit(z1), unit(z2), lambda a, b: a @ b.T, temperature, false_negatives, rows)
        return checked(loss)
