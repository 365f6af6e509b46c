"""The three downstream tasks: what is minimised, what is measured, and the counts that intervals need."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from eo_ssl.evaluate.metrics import (
    Metrics,
    SegmentationScore,
    classification_metrics,
    multilabel_metrics,
)
from eo_ssl.evaluate.predict import TilePredictions, predict_maps, predict_tiles
from eo_ssl.sensors import IGNORE
from eo_ssl.train.finetune_config import FinetuneConfig
from eo_ssl.train.finetune_data import Patches

Batch = dict[str, Tensor]
Model = Callable[[Batch], Tensor]


@dataclass
class Evaluation:
    """Metrics over a whole set; `counts` per patch, (N, 8, 8) confusion or (N, 8, 3) tp, fp, fn."""

    metrics: Metrics
    counts: Tensor
    maps: dict[int, Tensor]  # predicted label maps of a few patches by catalogue row, to be shown


def loss_function(config: FinetuneConfig) -> Callable[[Tensor, Batch], Tensor]:
    """Loss of logits against a batch, in float32."""
    if config.task == "multi":
        return lambda logits, batch: F.binary_cross_entropy_with_logits(logits.float(), batch["multilabel"])
    if config.task == "single":
        return lambda logits, batch: cross_entropy(logits, batch["label"])
    return lambda logits, batch: (
        cross_entropy(logits, batch["mask"]) + config.dice * dice_loss(logits, batch["mask"])
        if config.dice
        else cross_entropy(logits, batch["mask"])
    )


def cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean cross-entropy over labelled samples or pixels; 0 (not NaN) when all are 255.

    Shape: logits (B, K, ...), truth (B, ...).
    """
    total = F.cross_entropy(logits.float(), truth, ignore_index=IGNORE, reduction="sum")
    return total / (truth != IGNORE).sum().clamp(min=1)


def dice_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """1 − mean over the classes in the batch's truth of 2 Σ p·t / (Σ p + Σ t), unlabelled pixels left out.

    Shape: logits (B, K, H, W), truth (B, H, W).
    """
    keep = (truth != IGNORE)[:, None]
    probability = logits.float().softmax(1) * keep
    target = F.one_hot(truth.where(keep[:, 0], truth.new_zeros(())), logits.shape[1]).movedim(-1, 1) * keep
    overlap, size = (probability * target).sum((0, 2, 3)), (probability + target).sum((0, 2, 3))  # (K,)
    present = target.sum((0, 2, 3)) > 0
    if not present.any():
        return logits.sum() * 0.0
    return 1 - (2 * overlap / size.clamp(min=1e-6))[present].mean()


def score_tiles(config: FinetuneConfig, found: TilePredictions, patches: int) -> Evaluation:
    """Metrics over all tiles as samples, and counts for each of the `patches` they came from."""
    k = found.logits.shape[1]
    if config.task == "multi":
        guess, truth = found.logits > 0, found.multilabel > 0.5  # (T, K); logit 0 is probability 0.5
        per_tile = torch.stack([guess & truth, guess & ~truth, ~guess & truth], 2).long()  # (T, K, 3)
        counts = torch.zeros(patches, k, 3, dtype=torch.int64).index_add_(0, found.patch, per_tile)
        return Evaluation(multilabel_metrics(found.logits, found.multilabel), counts, {})
    counts = torch.zeros(patches * k * k, dtype=torch.int64)
    labelled = found.label != IGNORE
    place = ((found.patch * k + found.label) * k + found.logits.argmax(1))[labelled]
    counts.index_add_(0, place, torch.ones_like(place))
    metrics = classification_metrics(found.logits, found.label)
    return Evaluation(metrics, counts.view(patches, k, k), {})


def score_maps(maps: Iterable[tuple[int, Tensor, Tensor]]) -> Evaluation:
    """Pixel metrics of (row, log-probabilities, truth) of whole patches."""
    score = SegmentationScore()
    for _, log_probability, truth in maps:
        score.update(log_probability[None], truth[None])
    return Evaluation(score.metrics(), score.counts(), {})


def evaluate(
    config: FinetuneConfig,
    model: Model,
    prepare: Callable[[Batch], Batch],
    patches: Patches,
    limit: int = 0,
    keep_maps: int = 0,
) -> Evaluation:
    """Metrics of a model over tiled patches; `limit` tiles per patch (0: all)."""
    size = config.image_size
    if config.task != "segment":
        return score_tiles(config, predict_tiles(model, prepare, patches, size, limit), len(patches))
    found = score_maps(predict_maps(model, prepare, patches, size, limit))
    if keep_maps:  # whole, however few tiles are scored
        chosen = patches.select(patches.rows[:: max(1, len(patches) // keep_maps)][:keep_maps])
        shown = predict_maps(model, prepare, chosen, size)
        found.maps = {chosen.rows[i]: one.argmax(0).to(torch.uint8) for i, one, _ in shown}
    return found
