"""Expected calibration error, pooled over any number of batches in constant memory."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from eo_ssl.sensors import IGNORE


@dataclass
class CalibrationBins:
    """Count, confidence and hits per confidence bin; segmentation has too many pixels to keep them all.

    ECE = Σ_b (n_b / n) · |accuracy_b − confidence_b| with equal-width bins of the largest probability
    (Guo et al. 2017, eq. 3; 15 bins).

    >>> bins = CalibrationBins()
    >>> bins.update(torch.tensor([[0.9, 0.1], [0.8, 0.2]]), torch.tensor([0, 1]))
    >>> round(bins.error(), 3)
    0.45
    """

    bins: int = 15
    sums: Tensor = field(init=False)  # (bins, 3): count, confidence, hits

    def __post_init__(self) -> None:
        self.sums = torch.zeros(self.bins, 3, dtype=torch.float64)

    def update(self, probability: Tensor, truth: Tensor) -> None:
        """Add samples; truth 255 is left out. Shape: probability (N, K, ...), truth (N, ...)."""
        keep = truth != IGNORE
        confidence, prediction = probability.max(1)
        confidence = confidence[keep].double()
        hit = (prediction[keep] == truth[keep]).double()
        index = (confidence * self.bins).ceil().long().sub(1).clamp(0, self.bins - 1)
        rows = torch.stack([torch.ones_like(confidence), confidence, hit], 1)  # (M, 3)
        self.sums.index_add_(0, index.cpu(), rows.cpu())

    def error(self) -> float | None:
        """The expected calibration error in [0, 1]; None when nothing was counted."""
        count, confidence, hits = self.sums.unbind(1)
        if count.sum() == 0:
            return None
        return float((hits - confidence).abs().sum() / count.sum())

    def reliability(self) -> list[tuple[float, float, int]]:
        """Mean confidence, accuracy and count of every bin that holds samples, for a reliability diagram."""
        return [(float(c / n), float(h / n), int(n)) for n, c, h in self.sums if n > 0]
