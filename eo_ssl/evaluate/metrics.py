"""Classification metrics from counts pooled over the whole set, never averaged over batches.

A class that does not occur in the truth has no recall, no F1 and no average precision: its entry is None and
every mean runs over the classes that occur ("classes_present" says how many). The label 255 is never counted.
"""

from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.classification import (
    binary_average_precision,
    multiclass_confusion_matrix,
    multilabel_stat_scores,
)

from eo_ssl.evaluate.calibration import CalibrationBins
from eo_ssl.sensors import IGNORE, NUM_CLASSES

Metrics = dict[str, Any]


def confusion_matrix(prediction: Tensor, truth: Tensor, num_classes: int = NUM_CLASSES) -> Tensor:
    """Count truth (rows) against prediction (columns); truth 255 is left out.

    Shape: any two equal shapes -> (K, K) int64.

    >>> confusion_matrix(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 255]), num_classes=2).tolist()
    [[1, 0], [0, 1]]
    """
    keep = truth != IGNORE
    if not keep.any():
        return torch.zeros(num_classes, num_classes, dtype=torch.int64, device=truth.device)
    return multiclass_confusion_matrix(
        prediction[keep], truth[keep].long(), num_classes=num_classes, validate_args=False
    )


def _ratio(part: Tensor, whole: Tensor) -> list[float | None]:
    return [float(p) / float(w) if w > 0 else None for p, w in zip(part, whole)]


def _mean(values: list[float | None], present: Tensor) -> float | None:
    """Mean over the classes that occur in the truth; None when none does."""
    kept = [value or 0.0 for value, here in zip(values, present.tolist()) if here]
    return sum(kept) / len(kept) if kept else None


def confusion_metrics(confusion: Tensor) -> Metrics:
    """AA, OA, F1 and per-class recall from a confusion matrix.

    recall_c = n_cc / Σ_j n_cj,  AA = mean of recall_c over classes in the truth,  OA = Σ_c n_cc / Σ n,
    F1_c = 2 n_cc / (Σ_j n_cj + Σ_i n_ic). For one label per sample micro F1 equals OA.

    Shape: confusion (K, K), rows are the truth.

    >>> m = confusion_metrics(torch.tensor([[3, 1, 0], [0, 0, 0], [0, 0, 4]]))
    >>> m["aa"], m["oa"], m["per_class"], m["classes_present"]
    (0.875, 0.875, [0.75, None, 1.0], 2)
    """
    hits, truth, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)  # each (K,)
    present = truth > 0
    total = int(truth.sum())
    recall = _ratio(hits, truth)
    f1 = [v if here else None for v, here in zip(_ratio(2 * hits, truth + predicted), present.tolist())]
    overall = float(hits.sum()) / total if total else None
    return {
        "aa": _mean(recall, present),
        "oa": overall,
        "f1_macro": _mean(f1, present),
        "f1_micro": overall,
        "per_class": recall,
        "f1_per_class": f1,
        "confusion": confusion.tolist(),
        "classes_present": int(present.sum()),
        "n": total,
    }


def classification_metrics(logits: Tensor, label: Tensor) -> Metrics:
    """`confusion_metrics` of the most likely class, plus expected calibration error.

    Shape: logits (N, K), label (N,) with 255 where there is no label.
    Raises ValueError when the logits hold NaN or infinity: a diverged model has no score.
    """
    _require_finite(logits)
    num_classes = logits.shape[1]
    confusion = confusion_matrix(logits.argmax(1), label, num_classes)
    bins = CalibrationBins()
    bins.update(logits.float().softmax(1), label)
    return {**confusion_metrics(confusion), "ece": bins.error()}


def multilabel_counts(probability: Tensor, target: Tensor, threshold: float = 0.5) -> Tensor:
    """True positives, false positives and false negatives per class.

    Shape: probability (N, K), target (N, K) -> (K, 3) int64.
    """
    num_classes = target.shape[1]
    if not len(target):
        return torch.zeros(num_classes, 3, dtype=torch.int64)
    # Columns of TorchMetrics: tp, fp, tn, fn, support.
    scores = multilabel_stat_scores(
        probability, target.long(), num_labels=num_classes, threshold=threshold, average="none"
    )
    return scores[:, [0, 1, 3]]


def multilabel_count_metrics(counts: Tensor) -> Metrics:
    """Macro and micro F1 from `multilabel_counts`; F1 = 2TP / (2TP + FP + FN).

    Macro F1 is the mean over classes with at least one positive sample in the truth.

    Shape: counts (K, 3).
    """
    tp, fp, fn = counts.unbind(1)
    present = (tp + fn) > 0
    f1 = [
        v if here else None for v, here in zip(_ratio(2 * tp, 2 * tp + fp + fn), present.tolist())
    ]  # a class never predicted and never true has no F1
    micro = _ratio(2 * tp.sum()[None], (2 * tp + fp + fn).sum()[None])[0]
    return {
        "f1_macro": _mean(f1, present),
        "f1_micro": micro,
        "f1_per_class": f1,
        "classes_present": int(present.sum()),
    }


def multilabel_metrics(logits: Tensor, target: Tensor) -> Metrics:
    """Macro and micro F1 at probability 0.5 and mean average precision (mAP) of independent sigmoids.

    Shape: logits (N, K), target (N, K) of 0 and 1.
    Raises ValueError when the logits hold NaN or infinity.
    """
    _require_finite(logits)
    target, probability = target.long(), logits.float().sigmoid()
    present = target.any(0) if len(target) else torch.zeros(target.shape[1], dtype=torch.bool)
    precision = [
        float(binary_average_precision(probability[:, c], target[:, c])) if here else None
        for c, here in enumerate(present.tolist())
    ]
    metrics = multilabel_count_metrics(multilabel_counts(probability, target))
    return {**metrics, "map": _mean(precision, present), "ap_per_class": precision, "n": len(target)}


def _require_finite(logits: Tensor) -> None:
    if not torch.isfinite(logits).all():
        raise ValueError("the logits hold NaN or infinity: training diverged, lower the learning rate")
