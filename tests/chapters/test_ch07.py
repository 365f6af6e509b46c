"""The checks of chapter 07 accept right answers in any form and answer the usual mistakes by name."""

from collections import Counter

import pytest
import torch
import torch.nn.functional as F

from chapters import ch07
from eo_ssl.course.checks import ExerciseFailed


def by_hand(features, labels, queries, k, similarity=None):
    cosine = (
        F.normalize(queries, dim=1) @ F.normalize(features, dim=1).T if similarity is None else similarity
    )
    out = []
    for row in cosine:
        near = labels[row.argsort(descending=True)[:k]].tolist()
        out.append(Counter(near).most_common(1)[0][0])  # of equals the one met first
    return torch.tensor(out)


def recall(z1, z2, k):
    cosine = F.cosine_similarity(z1[:, None], z2[None, :], dim=2)
    return sum(i in row.topk(k).indices for i, row in enumerate(cosine)) / len(z1)


def _against_other_rows(cosine, k):
    return ((cosine > cosine.diagonal()).sum(1) < k).float().mean().item()


@pytest.mark.parametrize("check, answer", [("check_knn", by_hand), ("check_recall_at_k", recall)])
def test_right_answers_pass(check, answer):
    assert "Correct" in repr(getattr(ch07, check)(answer))


@pytest.mark.parametrize(
    "check, answer, hint",
    [
        ("check_knn", lambda f, y, q, k: by_hand(f, y, q, k, q @ f.T), "length 1"),
        (
            "check_knn",
            lambda f, y, q, k: y[(F.normalize(q) @ F.normalize(f).T).topk(k).indices].mode(dim=1).values,
            "smallest class number",
        ),
        (
            "check_recall_at_k",
            lambda a, b, k: _against_other_rows(F.normalize(a) @ F.normalize(b).T, k),
            "partners of other rows",
        ),
        (
            "check_knn",
            lambda f, y, q, k: by_hand(f, y, q, k, -F.normalize(q, dim=1) @ F.normalize(f, dim=1).T),
            "farthest",
        ),
        ("check_knn", lambda f, y, q, k: by_hand(f, y, q, k, -torch.cdist(q, f)), "Euclidean"),
        ("check_knn", lambda f, y, q, k: by_hand(f, y, q, 1), "only the first"),
        (
            "check_knn",
            lambda f, y, q, k: (F.normalize(q, dim=1) @ F.normalize(f, dim=1).T).argmax(1),
            "positions",
        ),
        ("check_knn", lambda f, y, q, k: None, "nothing is there"),
        ("check_recall_at_k", lambda a, b, k: recall(b, a, k), "other direction"),
        ("check_recall_at_k", lambda a, b, k: recall(a, b, k + 1), "number k \\+ 1"),
        ("check_recall_at_k", lambda a, b, k: recall(a, b, k) * len(a), "divide by the number"),
        ("check_recall_at_k", lambda a, b, k: recall(a, -b, k), "least similar"),
    ],
)
def test_usual_mistakes_are_named(check, answer, hint):
    with pytest.raises(ExerciseFailed, match=hint):
        getattr(ch07, check)(answer)


def test_a_tie_that_goes_to_the_smaller_class_is_noticed():
    def smallest(features, labels, queries, k):
        cosine = F.normalize(queries, dim=1) @ F.normalize(features, dim=1).T
        return F.one_hot(labels[cosine.topk(k).indices]).sum(1).argmax(1)

    with pytest.raises(ExerciseFailed):
        ch07.check_knn(smallest)
