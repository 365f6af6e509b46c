"""What to watch during contrastive training: does each patch find its partner, and do the features stay
apart?"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

COLLAPSED = 0.1  # share of the spread of an even distribution below which features count as collapsed


def retrieval_metrics(similarity: Tensor, ignore: Tensor | None = None) -> dict[str, float]:
    """How well row i finds column i, over both directions.

    Rank of the positive = 1 + number of more similar negatives + half of those tied with it, so that a
    constant embedding ranks in the middle, not first. top1 and top5 are the shares of ranks ≤ 1 and ≤ 5,
    mrr the mean of 1/rank.

    Shape: similarity (N, N), ignore (N, N) bool: pairs left out (never the diagonal).

    >>> retrieval_metrics(torch.eye(4))["mean_rank"]
    1.0
    """
    others = ~torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
    if ignore is not None:
        others &= ~ignore
    own = similarity.diagonal()
    ranks = []
    for matrix, counted in ((similarity, others), (similarity.T, others.T)):
        better = ((matrix > own[:, None]) & counted).sum(1)  # (N,)
        tied = ((matrix == own[:, None]) & counted).sum(1)
        ranks.append(1 + better + tied / 2)
    rank = torch.cat(ranks)
    return {
        "top1": float((rank <= 1).float().mean()),
        "top5": float((rank <= 5).float().mean()),
        "mean_rank": float(rank.mean()),
        "mrr": float((1 / rank).mean()),
        "chance_top5": float((5 / (others.sum(1) + 1)).clamp(max=1).mean()),
    }


def alignment(z1: Tensor, z2: Tensor) -> float:
    """Mean squared distance of partners on the unit sphere, E‖z1 − z2‖²; 0 is perfect, 2 is unrelated.

    Shape: z1, z2 (N, D) of unit length. Source: Wang & Isola 2020, eq. 3 with α = 2.
    """
    return float((z1 - z2).square().sum(1).mean())


def uniformity(z: Tensor) -> float:
    """log E exp(−2‖zᵢ − zⱼ‖²) over different i, j; 0 when all are equal, about −4 when spread evenly.

    Shape: z (N, D) of unit length. Source: Wang & Isola 2020, eq. 4 with t = 2.
    """
    squared = (2 - 2 * z @ z.T).clamp(min=0)  # (N, N)
    off = ~torch.eye(len(z), dtype=torch.bool, device=z.device)
    return float(torch.logsumexp(-2 * squared[off], 0) - math.log(len(z) * (len(z) - 1)))


def feature_spread(z: Tensor) -> float:
    """Mean over dimensions of the standard deviation, relative to 1/√D, its value on an even sphere.

    1 is healthy, 0 is collapse: every patch has the same embedding. Shape: z (N, D) of unit length.

    >>> feature_spread(F.normalize(torch.ones(8, 4), dim=1))
    0.0
    """
    return float(z.std(0).mean() * math.sqrt(z.shape[1]))


def knn_accuracy(features: Tensor, labels: Tensor, group: Tensor, k: int = 20) -> float:
    """Leave-one-out kNN accuracy by cosine, without neighbours of the same group; NaN without labels.

    Shape: features (N, D), labels (N,) with 255 for none, group (N,).
    """
    known = labels != 255
    features, labels, group = F.normalize(features[known].float(), dim=1), labels[known], group[known]
    if len(labels) < 2 or len(group.unique()) < 2:
        return math.nan
    similarity = features @ features.T
    similarity[group[:, None] == group[None, :]] = -math.inf
    weight, nearest = similarity.topk(min(k, len(labels) - 1), dim=1)  # (N, k)
    votes = torch.zeros(len(labels), int(labels.max()) + 1, device=labels.device)
    votes.scatter_add_(1, labels[nearest], weight.clamp(min=0))  # -inf neighbours get no vote
    return float((votes.argmax(1) == labels).float().mean())


def embedding_metrics(z1: Tensor, z2: Tensor) -> dict[str, float]:
    """Alignment, uniformity and spread of paired embeddings (N, D); maps (N, D, h, w) are averaged."""
    z1, z2 = (
        F.normalize(z.float().flatten(2).mean(2) if z.ndim == 4 else z.float(), dim=1) for z in (z1, z2)
    )
    return {
        "alignment": alignment(z1, z2),
        "uniformity": (uniformity(z1) + uniformity(z2)) / 2,
        "spread": min(feature_spread(z1), feature_spread(z2)),
    }


def collapse_warning(spread: float) -> str | None:
    """A sentence when the features have collapsed, else None."""
    if spread >= COLLAPSED:
        return None
    return (
        f"the features collapse: their spread is {spread:.3f} of 1/√d (1 is even, 0 is one point); "
        "lower lr, raise batch_size or check that the inputs are normalised"
    )
