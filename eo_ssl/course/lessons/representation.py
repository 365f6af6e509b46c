"""Computations of chapter 07: features side by side, layouts in the plane, probes, and selection on the test set."""

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from eo_ssl.evaluate.probe import average_accuracy
from eo_ssl.evaluate.retrieval import linear_cka, retrieval
from eo_ssl.sensors import IGNORE

if TYPE_CHECKING:
    from eo_ssl.course.recipes import Embeddings


def features(embedded: "Embeddings") -> np.ndarray:
    """Features before the head of all sensors that the method has, side by side: (N, d) or (N, 2d)."""
    return torch.cat([h for h in (embedded.h1, embedded.h2) if h is not None], dim=1).numpy()


def vectors(z: Tensor) -> Tensor:
    """Embeddings as vectors whose cosine is the similarity of the loss: (N, D), or maps (N, E, h, w) → (N, E·h·w).

    Maps are normalised at every location first, so the cosine is the mean of the cosines place by place: what MMA
    compares when both maps have the same size.
    """
    return F.normalize(z, dim=1).flatten(1) if z.ndim == 4 else z


def layout(values: np.ndarray, seed: int = 0, neighbours: int = 15) -> np.ndarray:
    """UMAP of features (N, D) by cosine, each feature standardised first: (N, 2), scaled to [0, 1]."""
    import umap

    scaled = (values - values.mean(0)) / np.maximum(values.std(0), 1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on one thread with a seed: said in the text
        model = umap.UMAP(
            n_neighbors=min(neighbours, len(values) - 1), metric="cosine", random_state=seed, n_jobs=1
        )
        plane = model.fit_transform(scaled)
    low, high = plane.min(0), plane.max(0)
    return (plane - low) / np.maximum(high - low, 1e-9)


def neighbours(values: np.ndarray, scene: Sequence[str], k: int = 5) -> np.ndarray:
    """The k nearest items of other scenes by cosine of standardised features: (N, k) positions."""
    scaled = (values - values.mean(0)) / np.maximum(values.std(0), 1e-9)
    unit = F.normalize(torch.as_tensor(scaled), dim=1)
    codes = torch.as_tensor(pd.factorize(pd.Series(scene))[0])
    similarity = (unit @ unit.T).masked_fill(codes[:, None] == codes[None, :], -torch.inf)  # (N, N)
    return similarity.topk(k, dim=1).indices.numpy()


def strangers(scene: Sequence[str], k: int, seed: int = 0) -> np.ndarray:
    """For each item k others of other scenes, drawn at random (with repetition where there are few): (N, k)."""
    codes, rng = pd.factorize(pd.Series(scene))[0], np.random.default_rng(seed)
    return np.stack([rng.choice(np.flatnonzero(codes != code), k) for code in codes])


def retrieval_table(
    embedded: Mapping[str, "Embeddings"], ks: Sequence[int], group: Tensor | None = None
) -> pd.DataFrame:
    """Recall@k both ways, one row for each method with two sensors and one for guessing."""
    rows: dict[str, dict[str, float]] = {}
    for name, e in embedded.items():
        if e.z1 is None or e.z2 is None:
            continue
        found = retrieval(vectors(e.z1), vectors(e.z2), ks, group)
        rows[name] = {k: v for k, v in found.items() if k.startswith("s")}
        chance = {
            f"{way}_recall@{k}": found[f"chance_recall@{k}"] for way in ("s1_to_s2", "s2_to_s1") for k in ks
        }
    return pd.DataFrame({**rows, "guessing": chance}).T if rows else pd.DataFrame()


def branch_similarity(embedded: Mapping[str, "Embeddings"]) -> dict[str, float]:
    """Debiased linear CKA between the radar and the optical features of each method that has both."""
    return {name: linear_cka(e.h1, e.h2, debiased=True) for name, e in embedded.items()
            if e.h1 is not None and e.h2 is not None}  # fmt: skip


def shared_labels(nearest: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Overlap (intersection over union) of the label set of each item with those of its neighbours, averaged: (N,).

    Shape: nearest (N, k) positions, labels (N, C) 0/1.
    """
    own, other = labels[:, None, :] > 0, labels[nearest] > 0  # (N, 1, C), (N, k, C)
    union = (own | other).sum(2)
    return ((own & other).sum(2) / np.maximum(union, 1)).mean(1)


def selected_twice(
    train: tuple[np.ndarray, np.ndarray],
    halves: Sequence[tuple[np.ndarray, np.ndarray]],
    tries: int,
    seed: int = 0,
) -> pd.DataFrame:
    """Average accuracy of many equal classifiers on two test halves: what choosing by one of them is worth.

    Each try is a nearest-centroid classifier on a third of the training rows and features, drawn at random, so
    that none has any merit of its own. Columns `a` and `b`: accuracy on either half.
    """
    from sklearn.neighbors import NearestCentroid

    x, y = train[0][train[1] != IGNORE], train[1][train[1] != IGNORE]
    rng, rows = np.random.default_rng(seed), []
    for _ in range(tries):
        columns = rng.permutation(x.shape[1])[: max(2, x.shape[1] // 3)]
        some = rng.permutation(len(x))[: max(2, len(x) // 3)]
        if len(np.unique(y[some])) < 2:
            continue
        model = NearestCentroid().fit(x[some][:, columns], y[some])
        rows.append([average_accuracy(truth, model.predict(values[:, columns])) for values, truth in halves])
    return pd.DataFrame(rows, columns=["a", "b"])
