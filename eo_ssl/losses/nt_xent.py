"""NT-Xent, the loss of SimCLR and Dual-SimCLR: find your partner among 2N views."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eo_ssl.losses.chunked import chunk_rows, sum_over_chunks
from eo_ssl.losses.gather import gather, mean_over_ranks, rank
from eo_ssl.losses.inputs import check_pairs, checked, full_precision, unit
from eo_ssl.losses.masks import false_negative_rows


def nt_xent(
    z1: Tensor,
    z2: Tensor,
    temperature: float | Tensor = 0.07,
    false_negatives: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    r"""Normalised temperature-scaled cross-entropy over 2N anchors.

    All 2N embeddings z = [z1; z2] are anchors. Anchor i has one positive p(i), the other view of its patch,
    and 2N − 2 negatives, those of its own modality included:

        loss = −1/2N Σᵢ log( exp(s(i, p(i)) / τ) / Σ_{k ≠ i} exp(s(i, k) / τ) )

    with s(i, k) the cosine of zᵢ and z_k.

    Shape: z1, z2 (N, D) → (). Pairs in `false_negatives`, (N, N) bool or (N,) groups (`losses.masks`), are
    not used as negatives. `chunk` anchors are compared at a time: same value and gradient, less memory.
    The temperature may be a parameter that learns.
    Raises `ConfigError` for inputs that do not pair up, `NonFiniteError` for NaN.
    Source: Chen et al. (2020), "A simple framework for contrastive learning", eq. 1.

    >>> z = torch.ones(4, 8)  # every view looks alike: a guess among 2N - 1 = 7
    >>> round(nt_xent(z, z).exp().item(), 4)
    7.0
    """
    check_pairs(z1, z2, temperature)
    with full_precision(z1):
        z1, z2 = unit(z1), unit(z2)  # (n, D), the n pairs of this process
        keys = torch.cat([gather(z1), gather(z2)])  # (2N, D), the views of all processes
        anchors = torch.cat([z1, z2]) / temperature  # (2n, D)

        n, total = len(z1), len(keys) // 2
        patch = torch.arange(n, device=z1.device)
        column = patch + rank() * n
        itself = torch.cat([column, total + column])  # (2n,) where an anchor stands among the keys
        partner = torch.cat([total + column, column])  # (2n,) where its positive stands
        drop = None if false_negatives is None else false_negative_rows(false_negatives, n)

        def block_loss(rows: slice, anchors: Tensor, keys: Tensor) -> Tensor:
            logits = anchors @ keys.T  # (C, 2N)
            logits.scatter_(1, itself[rows, None], -torch.inf)  # k ≠ i
            if drop is not None:
                logits.masked_fill_(drop(patch.repeat(2)[rows]).repeat(1, 2), -torch.inf)
            return F.cross_entropy(logits, partner[rows], reduction="sum")

        loss = sum_over_chunks(block_loss, anchors, keys, chunk_rows(chunk, 2 * total, z1.device))
        return checked(mean_over_ranks(loss / (2 * n)))


class NTXent(nn.Module):
    """`nt_xent` with its temperature."""

    def __init__(self, temperature: float = 0.07, chunk: int | None = None) -> None:
        super().__init__()
        self.temperature, self.chunk = temperature, chunk

    def forward(self, z1: Tensor, z2: Tensor, false_negatives: Tensor | None = None) -> Tensor:
        return nt_xent(z1, z2, self.temperature, false_negatives, self.chunk)
