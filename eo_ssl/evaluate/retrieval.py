"""Cross-modal retrieval: does the radar patch find its own optical twin among all others?"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from eo_ssl.evaluate.finite import require_finite

TIE = 1e-6  # cosine similarities closer than this are one and the same


Ranks = tuple[Tensor, Tensor, Tensor]


def _ranks(similarity: Tensor, first: int, group: Tensor | None) -> Ranks:
    """Ranks of rows `first` … of the whole similarity matrix. Shape: (c, N) -> three (c,) int64."""
    row = torch.arange(len(similarity), device=similarity.device)
    own = similarity[row, row + first][:, None]  # (c, 1)
    others = torch.ones_like(similarity, dtype=torch.bool)
    if group is not None:
        others = group[first : first + len(similarity), None] != group[None, :]
    others[row, row + first] = False
    better = ((similarity > own + TIE) & others).sum(1)
    tied = (((similarity - own).abs() <= TIE) & others).sum(1)
    return better, tied, others.sum(1) + 1


def ranks(query: Tensor, gallery: Tensor, group: Tensor | None = None, chunk: int = 1024) -> Ranks:
    """How many gallery items beat the true partner, tie with it, and were compared with it.

    The partner of query i is gallery item i. Items of the same overlap group (they show partly the same ground)
    are left out of the comparison, except the partner.

    Shape: query (N, D), gallery (N, D), group (N,) -> three (N,) int64: better, tied with the partner (itself
    not counted), compared.
    """
    require_finite("retrieval, queries", query)
    require_finite("retrieval, gallery", gallery)
    query, gallery = F.normalize(query.double(), dim=1), F.normalize(gallery.double(), dim=1)
    parts = [_ranks(part @ gallery.T, i * chunk, group) for i, part in enumerate(query.split(chunk))]
    return tuple(torch.cat(values) for values in zip(*parts))  # type: ignore[return-value]


def retrieval(
    z1: Tensor, z2: Tensor, ks: Sequence[int] = (1, 5, 10), group: Tensor | None = None
) -> dict[str, float]:
    """Recall@k and mean reciprocal rank from S1 to S2 and back, and what chance would give.

    Recall@k = share of queries whose partner is among the k most similar; MRR = mean of 1/rank. Ties count
    as if broken at random (in expectation), so a collapsed encoder scores exactly chance, not 100 %.

    Shape: z1 (N, D), z2 (N, D), row i of both shows the same place. Raises `DataError` that names rows with NaN.

    >>> z = torch.eye(4)
    >>> collapsed = torch.ones(4, 4)
    >>> [retrieval(x, x, ks=(1,))["s1_to_s2_recall@1"] for x in (z, collapsed)]
    [1.0, 0.25]
    """
    if z1.shape != z2.shape or not len(z1):
        shapes = f"{tuple(z1.shape)} and {tuple(z2.shape)}"
        raise ValueError(f"retrieval needs two equal, non-empty embeddings, got {shapes}")
    require_finite("retrieval, embeddings of S1", z1)
    require_finite("retrieval, embeddings of S2", z2)
    return _scores(ranks(z1, z2, group), ranks(z2, z1, group), ks)


def similarity_retrieval(
    similarity: Tensor, ks: Sequence[int] = (1, 5, 10), group: Tensor | None = None
) -> dict[str, float]:
    """`retrieval` from a similarity matrix, for methods that compare maps and have no vectors.

    Shape: similarity (N, N), rows S1, columns S2. Raises `DataError` that names rows with NaN.
    """
    if similarity.ndim != 2 or similarity.shape[0] != similarity.shape[1] or not len(similarity):
        raise ValueError(f"retrieval needs a square similarity matrix, got {tuple(similarity.shape)}")
    require_finite("retrieval, similarities", similarity)
    s = similarity.double()
    return _scores(_ranks(s, 0, group), _ranks(s.T, 0, group), ks)


def _scores(there: Ranks, back: Ranks, ks: Sequence[int]) -> dict[str, float]:
    result: dict[str, float] = {}
    for name, found in (("s1_to_s2", there), ("s2_to_s1", back)):
        better, tied, compared = (value.double() for value in found)
        for k in ks:
            result[f"{name}_recall@{k}"] = float(((k - better) / (tied + 1)).clamp(0, 1).mean())
            result[f"chance_recall@{k}"] = float((k / compared).clamp(max=1).mean())
        result[f"{name}_mrr"] = float(_expected_reciprocal(better, tied).mean())
    return result


def _expected_reciprocal(better: Tensor, tied: Tensor) -> Tensor:
    """Mean of 1/r over the ranks better+1 … better+tied+1 that a random order of the ties allows."""
    last = int((better + tied).max()) + 1
    harmonic = torch.cat([better.new_zeros(1), (1 / torch.arange(1, last + 1, dtype=better.dtype)).cumsum(0)])
    low, high = better.long(), (better + tied).long() + 1
    harmonic = harmonic.to(better.device)
    return (harmonic[high] - harmonic[low]) / (tied + 1)
