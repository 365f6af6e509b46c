"""The losses written as plain loops over pairs: slow, short, and hard to get wrong."""

import math

import torch
from torch import Tensor


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


def cross_entropy(positive: float, others: list[float]) -> float:
    """−log of the softmax of the first of these logits, by log-sum-exp."""
    logits = [positive, *others]
    top = max(logits)
    return top + math.log(sum(math.exp(x - top) for x in logits)) - positive


def nt_xent(z1: Tensor, z2: Tensor, temperature: float, drop: Tensor | None = None) -> float:
    z, n = torch.cat([z1, z2]).double(), len(z1)
    total = 0.0
    for i in range(2 * n):
        partner = (i + n) % (2 * n)
        others = [
            cosine(z[i], z[k]) / temperature
            for k in range(2 * n)
            if k not in (i, partner) and not (drop is not None and bool(drop[i % n, k % n]))
        ]
        total += cross_entropy(cosine(z[i], z[partner]) / temperature, others)
    return total / (2 * n)


def symmetric(similarity: list[list[float]], temperature: float, drop: Tensor | None = None) -> float:
    """Mean cross-entropy over the rows and columns of a similarity matrix."""
    n, total = len(similarity), 0.0
    for i in range(n):
        keep = [j for j in range(n) if j != i and not (drop is not None and bool(drop[i, j]))]
        positive = similarity[i][i] / temperature
        total += cross_entropy(positive, [similarity[i][j] / temperature for j in keep])
        total += cross_entropy(positive, [similarity[j][i] / temperature for j in keep])
    return total / (2 * n)


def clip_loss(z1: Tensor, z2: Tensor, temperature: float, drop: Tensor | None = None) -> float:
    return symmetric([[cosine(a, b) for b in z2.double()] for a in z1.double()], temperature, drop)


def best_offset(a: Tensor, b: Tensor) -> float:
    """Best mean cosine of two maps (E, H, W), (E, h, w) over all offsets of the smaller in the larger."""
    if a.shape[1] < b.shape[1] or a.shape[2] < b.shape[2]:
        a, b = b, a
    h, w = b.shape[1:]
    best = -math.inf
    for y in range(a.shape[1] - h + 1):
        for x in range(a.shape[2] - w + 1):
            places = [cosine(a[:, y + i, x + j], b[:, i, j]) for i in range(h) for j in range(w)]
            best = max(best, sum(places) / len(places))
    return best


def mma_loss(maps1: Tensor, maps2: Tensor, temperature: float, drop: Tensor | None = None) -> float:
    return symmetric([[best_offset(a, b) for b in maps2.double()] for a in maps1.double()], temperature, drop)
