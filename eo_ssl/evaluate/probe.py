"""What a frozen representation already knows: linear probe and nearest neighbours."""

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from eo_ssl.errors import DataError
from eo_ssl.evaluate.metrics import average_accuracy as pooled_accuracy
from eo_ssl.evaluate.metrics import confusion_matrix, require_finite
from eo_ssl.sensors import IGNORE

Features = np.ndarray  # (N, D)
Labels = np.ndarray  # (N,), 255 = no label


def average_accuracy(truth: Labels, prediction: Labels) -> float:
    """Mean recall over the classes that occur in the truth; 255 is left out.

    Shape: truth, prediction (N,). Raises `DataError` where nothing is labelled, or for codes outside the legend.
    """
    found = float(pooled_accuracy(confusion_matrix(prediction, truth)))
    if np.isnan(found):
        raise DataError(
            f"average accuracy: all {len(truth)} labels are {IGNORE} (no label), nothing to score"
        )
    return found


def linear_probe(
    train: tuple[Features, Labels],
    val: tuple[Features, Labels],
    cs: Sequence[float] = (0.001, 0.01, 0.1, 1.0, 10.0),
) -> Pipeline:
    """Multinomial logistic regression on standardised features, fitted, C chosen by validation AA.

    C is the inverse regularisation; ties go to the stronger one. The validation rows select only; they are
    never trained on. Raises DataError when the training labels hold fewer than two classes.
    """
    models = {c: make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000)) for c in sorted(cs)}
    return _choose("linear", models, train, val)


def knn(
    train: tuple[Features, Labels], val: tuple[Features, Labels], ks: Sequence[int] = (1, 5, 10, 20)
) -> Pipeline:
    """k nearest neighbours by cosine distance, k chosen on validation AA (largest k wins a tie)."""
    n = int((train[1] != IGNORE).sum())
    candidates = {
        float(k): make_pipeline(Normalizer(), KNeighborsClassifier(k, weights="distance"))
        for k in sorted({min(k, n) for k in ks}, reverse=True)
    }
    return _choose("knn", candidates, train, val)


def _choose(
    name: str, candidates: dict[float, Pipeline], train: tuple[Features, Labels], val: tuple[Features, Labels]
) -> Pipeline:
    x, y = _labelled(f"{name} probe, labelled training features", *train)
    if (n := len(np.unique(y))) < 2:
        raise DataError(f"{name} probe: the training labels hold {n} class; give it at least two")
    val_x, val_y = _labelled(f"{name} probe, labelled validation features", *val)
    if not len(val_y):
        raise DataError(f"{name} probe: no labelled validation rows, so nothing to choose its setting on")
    tried = {c: average_accuracy(val_y, model.fit(x, y).predict(val_x)) for c, model in candidates.items()}
    best = max(tried, key=tried.__getitem__)  # the first of equals, see the order of the candidates
    return candidates[best]


def _labelled(what: str, features: Features, labels: Labels) -> tuple[Features, Labels]:
    features, labels = np.asarray(features, dtype=np.float64), np.asarray(labels)
    keep = labels != IGNORE
    require_finite(what, features[keep])
    return features[keep], labels[keep]
