"""Scores of labels and label maps, from counts pooled over the whole set, never averaged over batches.

Counts are a confusion matrix (K, K), rows are the truth, or true positives, false positives and false negatives
(K, 3). Scores take many at once, (..., K, K), for the resamples of intervals. A class that does not occur in the
truth has no score: NaN in arrays, None in dictionaries, left out of every mean. Label 255 is never counted.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score
from torch import Tensor

from eo_ssl.errors import DataError
from eo_ssl.losses import NonFiniteError
from eo_ssl.sensors import CLASS_NAMES, IGNORE, NUM_CLASSES

Metrics = dict[str, Any]
Array = Tensor | np.ndarray
CountMetric = Callable[[np.ndarray], np.ndarray]  # (..., K, K) or (..., K, 3) -> (...)

# Checks


def require_finite(what: str, values: Array) -> None:
    """Raise `DataError` that counts the rows of `values` (N, ...) with NaN or infinity, and names the first.

    A NaN loses every comparison: it would pass for a poor match instead of a broken encoder.

    >>> require_finite("embeddings", np.array([[0.0, 1.0], [np.nan, 1.0]]))
    Traceback (most recent call last):
    eo_ssl.errors.DataError: embeddings: 1 of 2 rows hold NaN or infinity, first row 1; check encoder and statistics
    """
    broken = torch.nonzero(~torch.isfinite(torch.as_tensor(values)).flatten(1).all(1))
    if len(broken):
        found = f"{len(broken)} of {len(values)} rows hold NaN or infinity, first row {int(broken[0])}"
        raise DataError(f"{what}: {found}; check encoder and statistics")


def class_codes(labels: Array, ignore: bool = True) -> Tensor:
    """Labels as int64 class codes; raises `DataError` that names a value outside the legend, and the legend.

    The legend is that of the eight classes and, with `ignore`, 255 for no label. Shape: any.

    >>> class_codes(np.array([0, 7, -1]))
    Traceback (most recent call last):
    eo_ssl.errors.DataError: label -1 is not in the legend: 0 Forest, 1 Shrubland, ..., 7 Water, 255 no label
    """
    labels = torch.as_tensor(labels)
    codes = labels.long()
    known = (codes >= 0) & (codes < NUM_CLASSES) & (codes == labels) | (ignore & (labels == IGNORE))
    if not bool(known.all()):
        legend = [f"{code} {name}" for code, name in enumerate(CLASS_NAMES)] + [f"{IGNORE} no label"] * ignore
        raise DataError(f"label {labels[~known][0].item():g} is not in the legend: {', '.join(legend)}")
    return codes


def _pair(prediction: Array, truth: Array) -> tuple[Tensor, Tensor]:
    prediction, truth = torch.as_tensor(prediction), torch.as_tensor(truth)
    if prediction.shape != truth.shape:
        shapes = f"labels {tuple(truth.shape)} do not go with predictions {tuple(prediction.shape)}"
        raise DataError(f"{shapes}: one class code each is needed, of one-hot labels the argmax")
    return prediction, truth


def finite_logits(logits: Array) -> Tensor:
    """The logits; raises `NonFiniteError` when they hold NaN or infinity: a diverged model has no score."""
    logits = torch.as_tensor(logits)
    if not torch.isfinite(logits).all():
        raise NonFiniteError("the logits hold NaN or infinity: training diverged, lower the learning rate")
    return logits


# Counts


def confusion_matrix(prediction: Array, truth: Array) -> Tensor:
    """Count truth (rows) against prediction (columns); truth 255 is left out.

    Shape: any two equal shapes of class codes -> (8, 8) int64. Raises `DataError` for codes outside the legend.

    >>> confusion_matrix(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 255]))[:2, :2].tolist()
    [[1, 0], [0, 1]]
    """
    prediction, truth = _pair(prediction, truth)
    truth = class_codes(truth)
    keep = truth != IGNORE
    found = class_codes(prediction[keep], ignore=False)
    counts = torch.bincount(truth[keep] * NUM_CLASSES + found, minlength=NUM_CLASSES**2)
    return counts.view(NUM_CLASSES, NUM_CLASSES)


def multilabel_counts(probability: Array, target: Array) -> Tensor:
    """True positives, false positives and false negatives per sample and class, at probability 0.5.

    Shape: probability (N, K), target (N, K) of 0 and 1 -> (N, K, 3) int64. Raises `DataError` for soft targets.
    """
    probability, target = _pair(probability, target)
    soft = (target != 0) & (target != 1)
    if bool(soft.any()):
        raise DataError(f"a target is 0 or 1 for each class, not {target[soft][0].item():g}")
    found, true = probability > 0.5, target.bool()
    return torch.stack([found & true, found & ~true, ~found & true], 2).long()


# Scores of counts


def _share(part: np.ndarray, whole: np.ndarray, where: np.ndarray) -> np.ndarray:
    """part / whole, NaN elsewhere."""
    return np.divide(part, whole, where=where, out=np.full(np.shape(whole), np.nan))


def class_mean(values: np.ndarray) -> np.ndarray:
    """Mean over the classes that occur (not NaN), added in the order of the classes. Shape: (..., K) -> (...)."""
    there = ~np.isnan(values)
    total = sum(np.moveaxis(np.where(there, values, 0.0), -1, 0))
    return _share(total, there.sum(-1), there.any(-1))


def outcomes(confusion: Array) -> np.ndarray:
    """True positives, false positives and false negatives of each class. Shape: (..., K, K) -> (..., K, 3)."""
    confusion = np.asarray(confusion)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    return np.stack([hits, confusion.sum(-2) - hits, confusion.sum(-1) - hits], -1)


def class_recall(counts: Array) -> np.ndarray:
    """TP / (TP + FN). Shape: (..., K, 3) -> (..., K)."""
    tp, _, fn = np.moveaxis(np.asarray(counts), -1, 0)
    return _share(tp, tp + fn, tp + fn > 0)


def class_iou(counts: Array) -> np.ndarray:
    """IoU = TP / (TP + FP + FN). Shape: (..., K, 3) -> (..., K)."""
    tp, fp, fn = np.moveaxis(np.asarray(counts), -1, 0)
    return _share(tp, tp + fp + fn, tp + fn > 0)


def class_f1(counts: Array) -> np.ndarray:
    """F1 = 2TP / (2TP + FP + FN). Shape: (..., K, 3) -> (..., K)."""
    tp, fp, fn = np.moveaxis(np.asarray(counts), -1, 0)
    return _share(2 * tp, 2 * tp + fp + fn, tp + fn > 0)


def average_accuracy(confusion: Array) -> np.ndarray:
    """AA: mean recall over the classes in the truth. Shape: (..., K, K) -> (...)."""
    return class_mean(class_recall(outcomes(confusion)))


def overall_accuracy(confusion: Array) -> np.ndarray:
    """OA = Σ_c n_cc / Σ n. Shape: (..., K, K) -> (...)."""
    confusion = np.asarray(confusion)
    total = confusion.sum((-2, -1))
    return _share(np.trace(confusion, axis1=-2, axis2=-1), total, total > 0)


def mean_iou(confusion: Array) -> np.ndarray:
    """mIoU: mean IoU over the classes in the truth. Shape: (..., K, K) -> (...)."""
    return class_mean(class_iou(outcomes(confusion)))


def macro_f1(counts: Array) -> np.ndarray:
    """Mean F1 over the classes with a positive in the truth. Shape: (..., K, 3) -> (...)."""
    return class_mean(class_f1(counts))


METRICS: dict[str, CountMetric] = dict(
    aa=average_accuracy, oa=overall_accuracy, miou=mean_iou, f1_macro=macro_f1
)


# Dictionaries of scores, as they stand in results


def _plain(value: np.ndarray | float) -> Any:
    """Floats for JSON: None for NaN, lists for arrays."""
    if np.ndim(value):
        return [_plain(one) for one in value]
    return None if np.isnan(value) else float(value)


def confusion_metrics(confusion: Array) -> Metrics:
    """AA, OA, F1 and per-class recall from a confusion matrix; for one label per sample micro F1 equals OA.

    Shape: confusion (K, K), rows are the truth.

    >>> m = confusion_metrics(torch.tensor([[3, 1, 0], [0, 0, 0], [0, 0, 4]]))
    >>> m["aa"], m["oa"], m["per_class"], m["classes_present"]
    (0.875, 0.875, [0.75, None, 1.0], 2)
    """
    confusion, counts = np.asarray(confusion), outcomes(confusion)
    recall, f1, overall = class_recall(counts), class_f1(counts), _plain(overall_accuracy(confusion))
    return {
        "aa": _plain(class_mean(recall)),
        "oa": overall,
        "f1_macro": _plain(class_mean(f1)),
        "f1_micro": overall,
        "per_class": _plain(recall),
        "f1_per_class": _plain(f1),
        "confusion": confusion.tolist(),
        "classes_present": int((~np.isnan(recall)).sum()),
        "n": int(confusion.sum()),
    }


def segmentation_metrics(confusion: Array) -> Metrics:
    """`confusion_metrics` of pixels, and mIoU. Shape: confusion (K, K), rows are the truth.

    >>> segmentation_metrics(torch.tensor([[2, 1], [0, 1]]))["iou_per_class"]
    [0.6666666666666666, 0.5]
    """
    iou = class_iou(outcomes(confusion))
    return {**confusion_metrics(confusion), "miou": _plain(class_mean(iou)), "iou_per_class": _plain(iou)}


def classification_metrics(logits: Array, label: Array) -> Metrics:
    """`confusion_metrics` of the most likely class. Shape: logits (N, 8), label (N,) with 255 for no label."""
    logits = finite_logits(logits)
    return confusion_metrics(confusion_matrix(logits.argmax(1), label))


def multilabel_metrics(logits: Array, target: Array) -> Metrics:
    """Macro and micro F1 at probability 0.5 and mean average precision (mAP) of independent sigmoids.

    Shape: logits (N, K), target (N, K) of 0 and 1. Raises `NonFiniteError` or, for soft targets, `DataError`.
    """
    probability, target = finite_logits(logits).float().sigmoid(), torch.as_tensor(target)
    counts = np.asarray(multilabel_counts(probability, target).sum(0).cpu())
    f1, (tp, fp, fn) = class_f1(counts), counts.sum(0)
    truth, score = np.asarray(target.cpu()), np.asarray(probability.cpu())
    precision = np.full(target.shape[1], np.nan)
    for c in np.flatnonzero(truth.any(0)):
        precision[c] = average_precision_score(truth[:, c], score[:, c])
    return {
        "f1_macro": _plain(class_mean(f1)),
        "f1_micro": float(2 * tp / (2 * tp + fp + fn)) if counts.any() else None,
        "f1_per_class": _plain(f1),
        "classes_present": int((~np.isnan(f1)).sum()),
        "map": _plain(class_mean(precision)),
        "ap_per_class": _plain(precision),
        "n": len(target),
    }


# Boundaries of label maps


def boundaries(mask: Tensor) -> Tensor:
    """The label map on pixels that touch (4-neighbourhood) another labelled class, 255 elsewhere.

    Pixels labelled 255 belong to no boundary and make none. Shape: mask (B, H, W) -> (B, H, W) uint8.
    """
    mask = mask.to(torch.uint8)
    (height, width), padded = mask.shape[1:], F.pad(mask, (1,) * 4, value=IGNORE)
    edge = torch.zeros_like(mask, dtype=torch.bool)
    for top, left in ((0, 1), (1, 0), (1, 2), (2, 1)):
        near = padded[:, top : top + height, left : left + width]
        edge |= (near != mask) & (near != IGNORE)
    return mask.masked_fill(~edge, IGNORE)


def _matched(edges: Tensor, others: Tensor, tolerance: int) -> Tensor:
    """`edges` where the same class is in `others` within `tolerance` pixels, 255 elsewhere."""
    height, width = edges.shape[1:]
    padded = F.pad(others, (tolerance,) * 4, value=IGNORE)
    found = torch.zeros_like(edges, dtype=torch.bool)
    for top in range(2 * tolerance + 1):
        for left in range(2 * tolerance + 1):
            found |= padded[:, top : top + height, left : left + width] == edges
    return edges.masked_fill(~found, IGNORE)


def boundary_counts(prediction: Tensor, truth: Tensor, tolerance: int = 2) -> Tensor:
    """Boundary pixels per class, all and those matched within `tolerance` pixels (Chebyshev distance).

    Shape: prediction, truth (B, H, W) -> (K, 4) int64: matched predicted, all predicted, matched true, all true.
    """
    prediction = torch.where(truth == IGNORE, truth, prediction)  # no verdict where there is no truth
    ours, theirs = boundaries(prediction), boundaries(truth)
    columns = [_matched(ours, theirs, tolerance), ours, _matched(theirs, ours, tolerance), theirs]
    counts = [torch.bincount(column.flatten().int(), minlength=256) for column in columns]
    return torch.stack(counts, 1)[:NUM_CLASSES]


def boundary_f1(counts: Array) -> Metrics:
    """Boundary F1 per class, 2PR / (P + R), and its mean over classes that have a boundary in the truth.

    P = matched predicted / all predicted, R = matched true / all true (Csurka et al. 2013), counts pooled
    over the set instead of averaged over images. Shape: (K, 4) of `boundary_counts`.
    """
    hit_p, all_p, hit_t, all_t = np.asarray(counts).astype(float).T
    precision, recall = hit_p / np.maximum(all_p, 1), hit_t / np.maximum(all_t, 1)
    f1 = _share(2 * precision * recall, precision + recall, precision + recall > 0)
    f1 = np.where(all_t > 0, np.nan_to_num(f1), np.nan)
    return {"boundary_f1": _plain(class_mean(f1)), "boundary_f1_per_class": _plain(f1)}
