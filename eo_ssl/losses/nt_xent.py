"""NT-Xent, the loss of SimCLR and Dual-SimCLR: find your partner among 2N views."""

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
)


def nt_xent(
    z1: Tensor,
    z2: Tensor,
    temperature: float | Tensor = 0.07,
    false_negatives: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    r"""Normalised temperature-scaled cross-entropy: each of 2N views looks for its partner among the others.

        loss = −1/2N Σᵢ log( exp(s(i, p(i)) / τ) / Σ_{k ≠ i} exp(s(i, k) / τ) )

    i and k count the rows of z = [z1; z2], views of one's own sensor included; p(i) is the other view of the
    same patch, and s(i, k) the cosine of zᵢ and z_k. Shape: z1, z2 (N, D) → (). Pairs in `false_negatives`,
    (N, N) bool, are no negatives. `chunk` anchors are compared at a time: same value and gradient, less memory.
    The temperature τ may be a parameter that learns. Raises `ConfigError` for inputs that do not pair up,
    `NonFiniteError` for NaN. Source: Chen et al. (2020), SimCLR, eq. 1.

    >>> z = torch.ones(4, 8)  # every view looks alike: a guess among 2N - 1 = 7
    >>> round(nt_xent(z, z).exp().item(), 4)
    7.0
    """
    check_pairs(z1, z2, temperature)
    n, drop = len(z1), without_partners(false_negatives, len(z1))  # (n, N)
    itself = rank() * 2 * n + torch.arange(2 * n, device=z1.device)  # where anchor i stands among the keys
    partner = itself.roll(n)  # p(i): z1 and z2 of a patch stand n apart

    def block_loss(rows: slice, anchors: Tensor, keys: Tensor) -> Tensor:
        logits = anchors @ keys.T  # (C, 2N), s(i, k) / τ
        left_out = logits.detach()  # the same memory; a logit of −∞ has no share and no gradient
        left_out.scatter_(1, itself[rows, None], -torch.inf)  # k ≠ i
        if drop is not None:
            patches = drop[itself[rows] % n].unflatten(1, (-1, n))  # (C, processes, n)
            left_out.masked_fill_(patches.repeat(1, 1, 2).flatten(1), -torch.inf)  # both views of each
        return F.cross_entropy(logits, partner[rows], reduction="sum")

    with full_precision(z1):
        z = unit(torch.cat([z1, z2]))  # (2n, D), the anchors of this process
        keys = gather(z)  # (2N, D), process after process
        total = sum_over_chunks(block_loss, z / temperature, keys, chunk_rows(chunk, len(keys), z.device))
        return checked(mean_over_ranks(total / len(z)))
