"""Checks of chapter 07: nearest neighbours by hand, Recall@k."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from eo_ssl.course.checks import exercise, expect, expect_close, expect_shape


def _vote(similarity: Tensor, labels: Tensor, k: int) -> Tensor:
    """Majority among the k largest, ties by the class whose nearest member comes first; a plain loop."""
    out = []
    for row in similarity:
        nearest = labels[row.topk(k).indices].tolist()
        most = max(nearest.count(c) for c in nearest)
        out.append(next(c for c in nearest if nearest.count(c) == most))
    return torch.tensor(out)


@exercise("nearest neighbours", praise="No training at all: whatever this finds was in the features.")
def check_knn(knn: Callable) -> None:
    generator = torch.Generator().manual_seed(7)
    features, queries = torch.randn(60, 6, generator=generator), torch.randn(20, 6, generator=generator)
    features = features * torch.logspace(-1, 1, 60)[:, None]  # lengths differ: cosine, not dot product
    labels = torch.randint(0, 5, (60,), generator=generator)
    unit, asked = F.normalize(features, dim=1), F.normalize(queries, dim=1)
    for k in (1, 5):
        got = torch.as_tensor(knn(features.clone(), labels.clone(), queries.clone(), k))
        expect_shape(got, (20,), "the result, one class for each query,")
        mistakes = {
            "the vectors do not have length 1: long ones win a dot product": _vote(queries @ features.T, labels, k),
            "these are the farthest: the largest cosine is the nearest": _vote(-(asked @ unit.T), labels, k),
            "these are positions in the training set, not classes": (asked @ unit.T).argmax(1),
            "that is the Euclidean distance of vectors of different length; use the cosine":
                _vote(-torch.cdist(queries, features), labels, k),
            "only the first neighbour counts, whatever k is": _vote(asked @ unit.T, labels, 1),
            "a tie went to the smallest class number; it goes to the class whose nearest member comes first":
                F.one_hot(labels[(asked @ unit.T).topk(k).indices]).sum(1).argmax(1),
            "length 1 was taken down the columns; normalise each vector, dimension 1":
                _vote(F.normalize(queries, dim=0) @ F.normalize(features, dim=0).T, labels, k),
        }  # fmt: skip
        expect_close(
            got,
            _vote(asked @ unit.T, labels, k),
            f"the classes of 20 queries with k = {k}",
            mistakes=mistakes,
        )
    _check_ties(knn)


def _check_ties(knn: Callable) -> None:
    angle = torch.tensor([0.1, 0.2, 0.3, 0.4])
    features, query = torch.stack([angle.cos(), angle.sin()], 1), torch.tensor([[1.0, 0.0]])
    got = torch.as_tensor(knn(features, torch.tensor([3, 1, 1, 3]), query, 4))
    expect(int(got[0]) == 3, "Two votes each for class 1 and class 3, and the very nearest is of class 3: the tie "
           f"should go to class 3, but it went to class {int(got[0])}.")  # fmt: skip
    got = torch.as_tensor(knn(features, torch.tensor([2, 0, 0, 4]), query, 4))
    expect(int(got[0]) == 0, "Class 0 has two votes, classes 2 and 4 have one each: the majority decides before the "
           "order does.")  # fmt: skip


@exercise("Recall@k", praise="Always give it together with the number of candidates.")
def check_recall_at_k(recall_at_k: Callable) -> None:
    generator = torch.Generator().manual_seed(41)
    z1 = torch.randn(40, 8, generator=generator)
    z2 = (z1 + 1.5 * torch.randn(40, 8, generator=generator)) * torch.logspace(-1, 1, 40)[:, None]
    cosine = F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T
    for k in (5, 1):
        wanted = _recall(cosine, k)
        mistakes = {
            "off by one: up to k − 1 others may be more similar than the partner": _recall(cosine, k - 1),
            "off by one: with k others more similar the partner is number k + 1": _recall(cosine, k + 1),
            "these are dot products: divide each embedding by its length": _recall(z1 @ z2.T, k),
            "this is the other direction, from z2 to z1": _recall(cosine.T, k),
            "these are the least similar ones": _recall(-cosine, k),
            "each row was compared with the partners of other rows: take diagonal()[:, None], a column":
                _share((cosine > cosine.diagonal()[None]).sum(1), k),
            "the others of a row are counted along the row, dimension 1":
                _share((cosine > cosine.diagonal()[:, None]).sum(0), k),
            "a share lies between 0 and 1: divide by the number of rows": 40 * wanted,
        }  # fmt: skip
        expect_close(
            recall_at_k(z1.clone(), z2.clone(), k), wanted, f"Recall@{k} of 40 pairs", mistakes=mistakes
        )
    expect_close(recall_at_k(z1, z2, 40), 1.0, "Recall@40 of 40 pairs, where every partner is in the list,")
    expect_close(recall_at_k(z1, 3 * z1, 1), 1.0, "Recall@1 where the partner is the patch itself,")


def _recall(similarity: Tensor, k: int) -> float:
    return _share((similarity > similarity.diagonal()[:, None]).sum(1), k)


def _share(better: Tensor, k: int) -> float:
    return float((better < k).float().mean())
