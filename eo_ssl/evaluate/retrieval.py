"""What an embedding is worth before any label: do partners find each other, and do the features stay apart?

One rule for ties everywhere: they count as if broken at random, in expectation, so that a collapsed encoder, for
which all are alike, scores exactly chance.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from eo_ssl.evaluate.metrics import require_finite

TIE = 1e-6  # cosines of embeddings closer than this are one and the same

Ranks = tuple[
    Tensor, Tensor
]  # of each query (N,): how many beat the partner, and how many others tie with it


def _ranks(similarity: Tensor, own: Tensor, tie: float = 0.0) -> Ranks:
    """Ranks of each row (c, N) against its partner's similarity (c,)."""
    own = own[:, None]
    tied = ((similarity - own).abs() <= tie).sum(1) - 1  # the partner itself does not count
    return (similarity > own + tie).sum(1), tied


def ranks(query: Tensor, gallery: Tensor, chunk: int = 1024) -> Ranks:
    """How many gallery items beat the true partner and how many tie with it, by cosine.

    Shape: query (N, D), gallery (N, D), the partner of query i is gallery item i -> two (N,) int64.
    """
    require_finite("retrieval, queries", query)
    require_finite("retrieval, gallery", gallery)
    query, gallery = F.normalize(query.double(), dim=1), F.normalize(gallery.double(), dim=1)
    found = []
    for rows in torch.arange(len(query), device=query.device).split(chunk):
        similarity = query[rows] @ gallery.T  # (c, N)
        found.append(_ranks(similarity, similarity.gather(1, rows[:, None])[:, 0], TIE))
    return tuple(map(torch.cat, zip(*found)))  # type: ignore[return-value]


def recall(found: Ranks, k: int) -> Tensor:
    """Chance of each query that its partner is among the k first, ties broken at random. → (N,) in [0, 1]"""
    better, tied = found
    return ((k - better.double()) / (tied + 1)).clamp(0, 1)


def reciprocal_rank(found: Ranks) -> Tensor:
    """Mean of 1/r over the ranks better+1 … better+tied+1 that a random order of the ties allows. → (N,)"""
    better, tied = found
    steps = torch.arange(1, int((better + tied).max()) + 2, dtype=torch.float64, device=better.device)
    harmonic = torch.cat([steps.new_zeros(1), (1 / steps).cumsum(0)])
    return (harmonic[better + tied + 1] - harmonic[better]) / (tied + 1)


def retrieval(z1: Tensor, z2: Tensor, ks: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
    """Recall@k and mean reciprocal rank from S1 to S2 and back, and what chance would give.

    Recall@k = share of queries whose partner is among the k most similar; MRR = mean of 1/rank.

    Shape: z1 (N, D), z2 (N, D), row i of both shows the same place. Raises `DataError` that names rows with NaN.

    >>> z = torch.eye(4)
    >>> collapsed = torch.ones(4, 4)
    >>> [retrieval(x, x, ks=(1,))["s1_to_s2_recall@1"] for x in (z, collapsed)]
    [1.0, 0.25]
    """
    if z1.shape != z2.shape or not len(z1):
        raise ValueError(f"retrieval needs two equal embeddings, got {tuple(z1.shape)} and {tuple(z2.shape)}")
    result = {f"chance_recall@{k}": min(k / len(z1), 1.0) for k in ks}
    for name, found in (("s1_to_s2", ranks(z1, z2)), ("s2_to_s1", ranks(z2, z1))):
        result |= {f"{name}_recall@{k}": float(recall(found, k).mean()) for k in ks}
        result[f"{name}_mrr"] = float(reciprocal_rank(found).mean())
    return result


def retrieval_metrics(similarity: Tensor, ignore: Tensor | None = None) -> dict[str, float]:
    """How well row i finds column i of any similarity, over both directions: what training watches.

    top1 and top5 are Recall@1 and @5, mrr the mean of 1/rank, mean_rank that of the rank; equal numbers tie.

    Shape: similarity (N, N), ignore (N, N) bool: pairs left out (never the diagonal).

    >>> retrieval_metrics(torch.eye(4))["mean_rank"]
    1.0
    """
    require_finite("retrieval, similarities", similarity)
    if ignore is None:
        ignore = torch.zeros_like(similarity, dtype=torch.bool)
    own, compared = similarity.diagonal(), similarity.masked_fill(ignore, -torch.inf)
    both = _ranks(compared, own), _ranks(compared.T, own)
    found: Ranks = tuple(map(torch.cat, zip(*both)))  # type: ignore[assignment]
    better, tied = found
    return {
        "top1": float(recall(found, 1).float().mean()),
        "top5": float(recall(found, 5).float().mean()),
        "mean_rank": float((1 + better + tied / 2).mean()),
        "mrr": float(reciprocal_rank(found).float().mean()),
        "chance_top5": float((5 / (~ignore).sum(1)).clamp(max=1).mean()),
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


def embedding_metrics(z1: Tensor, z2: Tensor) -> dict[str, float]:
    """Alignment, uniformity and spread of paired embeddings (N, D); maps (N, D, h, w) are averaged."""
    z1, z2 = (F.normalize(z.float().flatten(2).mean(2) if z.ndim == 4 else z.float()) for z in (z1, z2))
    return {
        "alignment": alignment(z1, z2),
        "uniformity": (uniformity(z1) + uniformity(z2)) / 2,
        "spread": min(feature_spread(z1), feature_spread(z2)),
    }


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Debiased linear CKA between features of the same N samples: 1 for a rotation, about 0 for unrelated ones.

    CKA = HSIC(XXᵀ, YYᵀ) / √(HSIC(XXᵀ, XXᵀ) · HSIC(YYᵀ, YYᵀ)) (Kornblith et al. 2019, eq. 6). With fewer
    samples than dimensions the plain estimate of HSIC is too high even for noise; this one is unbiased
    (Nguyen et al. 2021). NaN where a representation is constant: there is nothing to align.

    Shape: x (N, D1), y (N, D2), N >= 4.

    >>> x = torch.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]])
    >>> round(linear_cka(x, 5 * x.flip(1)), 6)
    1.0
    """
    if len(x) != len(y) or len(x) < 4:
        raise ValueError(f"CKA compares the same four samples or more twice, got {len(x)} and {len(y)}")
    x, y = _centred(x), _centred(y)
    k, l = x @ x.T, y @ y.T  # (N, N)
    scale = (_hsic(k, k) * _hsic(l, l)).sqrt()
    return float(_hsic(k, l) / scale) if scale > 0 else math.nan


def _hsic(k: Tensor, l: Tensor) -> Tensor:
    """Hilbert–Schmidt independence criterion of two Gram matrices (N, N), up to a common factor."""
    n = len(k)
    k, l = k - k.diag().diag(), l - l.diag().diag()  # Song et al. 2012, eq. 5: without the diagonals
    cross = (k.sum(0) * l.sum(0)).sum()
    return (k * l).sum() + k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 * cross / (n - 2)


def _centred(x: Tensor) -> Tensor:
    """Columns without their mean, scaled to unit norm; exactly zero when the rows are all the same."""
    x = x.double()
    centred = x - x.mean(0)
    norm = centred.norm()
    return centred / norm if norm > 1e-7 * x.norm() else centred * 0
