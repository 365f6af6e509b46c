"""How hard the simulated set is for a shallow classifier: no network, no space, only band statistics."""

import numpy as np

from eo_ssl.sensors import NUM_CLASSES


def band_statistics(s1: np.ndarray, s2: np.ndarray) -> np.ndarray:
    """Mean and standard deviation of each of the 15 bands of a patch, (30,); S1 in dB, S2 in reflectance."""
    bands = np.concatenate([s1, s2]).reshape(s1.shape[0] + s2.shape[0], -1).astype(np.float64)
    return np.concatenate([bands.mean(axis=1), bands.std(axis=1)])


def majority(label: np.ndarray) -> int:
    """Class that covers most of a label map of the eight classes."""
    return int(np.bincount(label.ravel(), minlength=NUM_CLASSES)[:NUM_CLASSES].argmax())


def average_accuracy(truth: np.ndarray, guess: np.ndarray) -> float:
    """Mean recall over the classes that occur in `truth`."""
    return float(np.mean([np.mean(guess[truth == c] == c) for c in np.unique(truth)]))


def across(x: np.ndarray, y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray) -> float:
    """Average accuracy on `test` of a balanced logistic regression fitted on the rest."""
    return average_accuracy(test_y, _model().fit(x, y).predict(test_x))


def within(x: np.ndarray, y: np.ndarray, seed: int = 0) -> float:
    """Average accuracy under five-fold cross-validation with patches of all regions in every fold."""
    from sklearn.model_selection import KFold, cross_val_predict

    folds = KFold(5, shuffle=True, random_state=seed)
    return average_accuracy(y, cross_val_predict(_model(), x, y, cv=folds))


def _model():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, class_weight="balanced"))
