"""Pixel metrics pooled over the whole set: intersection over union, accuracy, boundary F1, calibration."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from eo_ssl.evaluate.calibration import CalibrationBins
from eo_ssl.evaluate.metrics import (
    Metrics,
    _mean,
    _ratio,
    _require_finite,
    confusion_matrix,
    confusion_metrics,
)
from eo_ssl.sensors import IGNORE, NUM_CLASSES


def segmentation_metrics(confusion: Tensor) -> Metrics:
    """Pixel AA, OA, F1 and mIoU from a pooled confusion matrix.

    IoU_c = n_cc / (Σ_j n_cj + Σ_i n_ic − n_cc); mIoU is the mean over classes that occur in the truth.
    A class that is predicted but never true lowers the IoU of the class it was taken for.

    Shape: confusion (K, K), rows are the truth.

    >>> segmentation_metrics(torch.tensor([[2, 1], [0, 1]]))["iou_per_class"]
    [0.6666666666666666, 0.5]
    """
    hits, truth, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    present = truth > 0
    union = torch.where(present, truth + predicted - hits, torch.zeros_like(truth))
    iou = _ratio(hits, union)
    return {**confusion_metrics(confusion), "miou": _mean(iou, present), "iou_per_class": iou}


def boundaries(mask: Tensor) -> Tensor:
    """The label map on pixels that touch (4-neighbourhood) another labelled class, 255 elsewhere.

    Pixels labelled 255 belong to no boundary and make none.

    Shape: mask (B, H, W) -> (B, H, W) uint8.
    """
    mask = mask.to(torch.uint8)
    edge = torch.zeros_like(mask, dtype=torch.bool)
    for axis in (1, 2):
        size = mask.shape[axis]
        near, far = mask.narrow(axis, 0, size - 1), mask.narrow(axis, 1, size - 1)
        differ = (near != far) & (near != IGNORE) & (far != IGNORE)
        edge.narrow(axis, 0, size - 1).logical_or_(differ)
        edge.narrow(axis, 1, size - 1).logical_or_(differ)
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


def boundary_counts(
    prediction: Tensor, truth: Tensor, tolerance: int = 2, num_classes: int = NUM_CLASSES
) -> Tensor:
    """Boundary pixels matched within `tolerance` pixels (Chebyshev distance), per class.

    Shape: prediction, truth (B, H, W) -> (K, 4) int64: matched predicted, all predicted, matched
    true, all true.
    """
    prediction = torch.where(truth == IGNORE, truth, prediction)  # no verdict where there is no truth
    ours, theirs = boundaries(prediction), boundaries(truth)
    columns = [_matched(ours, theirs, tolerance), ours, _matched(theirs, ours, tolerance), theirs]
    return torch.stack(
        [torch.bincount(column.flatten().int(), minlength=256)[:num_classes] for column in columns], 1
    )


def boundary_f1(counts: Tensor) -> Metrics:
    """Boundary F1 per class, 2PR / (P + R), and its mean over classes that have a boundary in the truth.

    P = matched predicted / all predicted, R = matched true / all true (Csurka et al. 2013), counts pooled
    over the set instead of averaged over images.
    """
    hit_p, all_p, hit_t, all_t = counts.double().unbind(1)
    precision, recall = hit_p / all_p.clamp(min=1), hit_t / all_t.clamp(min=1)
    present = all_t > 0
    f1 = _ratio(2 * precision * recall, precision + recall)
    f1 = [(v or 0.0) if here else None for v, here in zip(f1, present.tolist())]
    return {"boundary_f1": _mean(f1, present), "boundary_f1_per_class": f1}


@dataclass
class SegmentationScore:
    """Collects counts over batches of whole patches; `metrics()` gives everything, pooled."""

    num_classes: int = NUM_CLASSES
    tolerance: int = 2
    confusions: list[Tensor] = field(default_factory=list)  # one (K, K) per patch, for intervals over patches

    def __post_init__(self) -> None:
        self.edges = torch.zeros(self.num_classes, 4, dtype=torch.int64)
        self.bins = CalibrationBins()

    def update(self, logits: Tensor, truth: Tensor) -> None:
        """Add patches. Shape: logits (or log-probabilities) (B, K, H, W), truth (B, H, W)."""
        _require_finite(logits)
        prediction = logits.max(1).indices  # (B, H, W); several times faster than argmax on a CPU
        for one, mask in zip(prediction, truth):
            self.confusions.append(confusion_matrix(one, mask, self.num_classes).cpu())
        self.edges += boundary_counts(prediction, truth.long(), self.tolerance, self.num_classes).cpu()
        self.bins.update(logits.float().softmax(1), truth)

    def counts(self) -> Tensor:
        """Confusion matrix of every patch, (N, K, K)."""
        if not self.confusions:
            return torch.zeros(0, self.num_classes, self.num_classes, dtype=torch.int64)
        return torch.stack(self.confusions)

    def metrics(self) -> Metrics:
        """All pixel metrics of the patches seen so far."""
        pooled = segmentation_metrics(self.counts().sum(0))
        return {**pooled, **boundary_f1(self.edges), "ece": self.bins.error()}
