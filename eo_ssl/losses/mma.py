"""MMA, multi-modal alignment: compare feature *maps*, place by place, not pooled vectors."""

import torch.nn.functional as F
from torch import Tensor

from eo_ssl.errors import ConfigError
from eo_ssl.losses.clip import cross_modal_loss
from eo_ssl.losses.common import check_pairs, checked, chunk_rows, full_precision, unit, world_size


def _offsets(maps1: Tensor, maps2: Tensor) -> int:
    """Number of places where the smaller map fits into the larger one; 1 for equal sizes."""
    (h1, w1), (h2, w2) = maps1.shape[2:], maps2.shape[2:]
    if (h1 - h2) * (w1 - w2) < 0:
        raise ConfigError(f"one map must fit into the other, got {h1}×{w1} and {h2}×{w2}")
    return (abs(h1 - h2) + 1) * (abs(w1 - w2) + 1)


def _correlate(maps1: Tensor, maps2: Tensor) -> Tensor:
    """Best mean cosine over all offsets, for maps of unit length at each place. → (N, M)"""
    if maps1.shape[2:] == maps2.shape[2:]:  # a single offset: one matrix product
        return maps1.flatten(1) @ maps2.flatten(1).T / maps1[0, 0].numel()
    if maps1.shape[2:] < maps2.shape[2:]:
        return _correlate(maps2, maps1).T
    scores = F.conv2d(maps1, maps2)  # (N, M, H - h + 1, W - w + 1)
    return scores.flatten(2).amax(2) / maps2[0, 0].numel()  # (N, M)


def map_similarity(maps1: Tensor, maps2: Tensor) -> Tensor:
    r"""Similarity of every map with every other: the best mean cosine over all offsets.

        S(i, j) = max_o 1/hw Σ_p ⟨ f̂ᵢ(p + o), ĝⱼ(p) ⟩,   f̂, ĝ of unit length over the channels at each place p

    Co-registered maps of equal size have one offset, and the maximum does nothing; a smaller second map is
    searched for in the larger one.

    Shape: maps1 (N, E, H, W), maps2 (M, E, h, w) → (N, M), values in [−1, 1].
    Raises `ConfigError` where neither map fits into the other.
    Source: Windsor et al. (2021), "Self-supervised multi-modal alignment for whole body medical
    imaging".

    >>> import torch
    >>> maps = torch.randn(3, 8, 16, 16)
    >>> map_similarity(maps, maps[:, :, 2:14, 3:15]).diagonal()
    tensor([1.0000, 1.0000, 1.0000])
    """
    _offsets(maps1, maps2)
    with full_precision(maps1):
        return _correlate(unit(maps1), unit(maps2))


def mma_loss(
    maps1: Tensor,
    maps2: Tensor,
    temperature: float | Tensor = 0.005,
    false_negatives: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    r"""Symmetric cross-entropy over the map similarities S(i, j) / τ, negatives from the other sensor only.

        loss = −1/2N Σᵢ [ log softmax_j(S(i, j) / τ)ᵢ + log softmax_j(S(j, i) / τ)ᵢ ]

    Shape: maps1 (N, E, H, W), maps2 (N, E, h, w); false_negatives (N, N) bool → ().
    Errors and chunks as in `nt_xent`. Source: Windsor et al. (2021), with a log-softmax, because log(softmax)
    underflows at τ = 0.005.

    >>> import torch
    >>> maps = torch.ones(4, 8, 5, 5)
    >>> round(mma_loss(maps, maps).exp().item(), 4)
    4.0
    """
    check_pairs(maps1, maps2, temperature, dims=4)
    offsets = _offsets(maps1, maps2)
    with full_precision(maps1):
        rows = chunk_rows(chunk, len(maps1) * world_size() * offsets, maps1.device)
        loss = cross_modal_loss(unit(maps1), unit(maps2), _correlate, temperature, false_negatives, rows)
        return checked(loss)
