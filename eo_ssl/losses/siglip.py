"""The sigmoid pair loss: every pair of a radar and an optical patch is a question of its own, same place or not."""

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


def siglip_loss(
    z1: Tensor,
    z2: Tensor,
    temperature: float | Tensor = 0.1,
    false_negatives: Tensor | None = None,
    bias: float | Tensor = -10.0,
    chunk: int | None = None,
) -> Tensor:
    r"""Sum of N² yes-or-no losses, one for each S1 patch with each S2 patch, over the N patches.

        loss = −1/N Σᵢ Σⱼ log σ( yᵢⱼ · (s(i, j) / τ + b) ),   yᵢⱼ = 1 for i = j, else −1

    with s(i, j) the cosine of z1ᵢ and z2ⱼ. No softmax ties the pairs together: each logit is judged alone. The bias b
    says how rare partners are; it and τ may be parameters that learn.

    Shape: z1, z2 (N, D); false_negatives (N, N) bool, pairs that are not asked about → (). Errors and chunks as in
    `nt_xent`. Source: Zhai et al. (2023), "Sigmoid loss for language image pre-training", algorithm 1.

    >>> z = torch.ones(4, 8)
    >>> round(siglip_loss(z, z, 1.0, bias=-1.0).item(), 4)  # every logit is 0: log 2 for each of N answers a patch
    2.7726
    """
    check_pairs(z1, z2, temperature)
    n = len(z1)
    drop, partner = without_partners(false_negatives, n), rank() * n + torch.arange(n, device=z1.device)

    def block_loss(rows: slice, anchors: Tensor, keys: Tensor) -> Tensor:
        # The last column of the keys is the bias: one product gives s(i, j) / τ + b.
        logits = anchors @ keys.T  # (C, N)
        sign = torch.full_like(logits, -1.0).scatter_(1, partner[rows, None], 1.0)
        answers = F.logsigmoid(sign * logits)
        return -(answers if drop is None else answers.masked_fill(drop[rows], 0.0)).sum()

    with full_precision(z1):
        scaled, keys = unit(z1) / temperature, gather(unit(z2))
        shift = torch.ones_like(scaled[:, :1]) * bias  # (n, 1)
        anchors, keys = torch.cat([scaled, shift], 1), torch.cat([keys, torch.ones_like(keys[:, :1])], 1)
        rows = chunk_rows(chunk, n * world_size(), z1.device)
        return checked(mean_over_ranks(sum_over_chunks(block_loss, anchors, keys, rows) / n))
