"""Where batches and evaluations come from: patches, or cached features of a frozen backbone."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from eo_ssl.evaluate.predict import TilePredictions, tiles
from eo_ssl.train.finetune_config import FinetuneConfig
from eo_ssl.train.finetune_data import Patches, draw_patches, random_crops
from eo_ssl.train.finetune_frozen import (
    CachedFeatures,
    backbone_hash,
    cached,
    encode_crops,
    tile_cut,
    training_cut,
)
from eo_ssl.train.finetune_models import Downstream
from eo_ssl.train.finetune_tasks import Evaluation, evaluate, score_tiles
from eo_ssl.train.step import mixed_seed

Batch = dict[str, Tensor]
Forward = Callable[[Batch], Tensor]


class Stream(Protocol):
    """Batches for training, and evaluation of a set of patches, for one model."""

    model: nn.Module

    def batch(self, step: int) -> Batch: ...

    def evaluate(self, forward: Forward, patches: Patches, limit: int, keep_maps: int = 0) -> Evaluation: ...


@dataclass
class PatchStream:
    """Random crops, drawn and augmented anew for every update."""

    config: FinetuneConfig
    down: Downstream
    train: Patches
    labels: Tensor  # (N,) majority class of each training patch

    def __post_init__(self) -> None:
        self.model = self.down.model

    def batch(self, step: int) -> Batch:
        """Batch number `step`, normalised, on the device."""
        c = self.config
        generator = torch.Generator().manual_seed(mixed_seed(c.seed, step, 4))
        which = draw_patches(self.labels, c.batch_size, c.balanced, c.seed, step)
        return self.down.prepare(random_crops(self.train, which, c.image_size, generator, c.augment))

    def evaluate(self, forward: Forward, patches: Patches, limit: int, keep_maps: int = 0) -> Evaluation:
        """Metrics over tiled patches."""
        return evaluate(self.config, forward, self.down.prepare, patches, limit, keep_maps)


class HeadOnly(nn.Module):
    """The head of a classifier on features that are known already, standardised while it is trained.

    Standardising changes nothing a linear layer can express, but lets it learn in few updates, whatever the
    scale of the features; `fold` afterwards moves mean and scale into its weights.
    """

    def __init__(self, head: nn.Linear, features: Tensor) -> None:
        super().__init__()
        self.head = head
        scale = features.std(0)
        self.register_buffer("mean", features.mean(0))
        self.register_buffer("scale", scale.clamp(min=max(1e-2 * float(scale.mean()), 1e-6)))

    def forward(self, batch: Batch) -> Tensor:
        x = batch["features"].float()
        with torch.autocast(x.device.type, enabled=False):  # cheap, and bf16 would round large means away
            return self.head((x - self.mean) / self.scale)

    @torch.no_grad()
    def fold(self) -> None:
        """W ← W/σ, b ← b − W·μ/σ: the head now takes features as they are."""
        self.head.weight /= self.scale
        self.head.bias -= self.head.weight @ self.mean
        self.mean.zero_()
        self.scale.fill_(1.0)


class FeatureStream:
    """Cached features of a frozen backbone: a few augmented crops of every training patch, all tiles of the
    others.

    The crops are the same for every seed, so that one pass through the backbone serves all cells of a grid.
    """

    def __init__(
        self,
        config: FinetuneConfig,
        down: Downstream,
        everything: Patches,
        chosen: Tensor,
        labels: Tensor,
        forward: Forward,
        folder: Path | None,
        version: str,
    ) -> None:
        self.config, self.down, self.folder, self.forward = config, down, folder, forward
        self.labels = labels
        self.key = f"{version} {backbone_hash(down.model.backbone)} {down.statistics} {config.image_size}"
        self.device = next(down.model.head.parameters()).device
        cut = training_cut(everything, config.image_size, config.augment)
        found = self._features(
            f"train {config.cached_crops} {config.augment}", everything, cut, config.cached_crops
        )
        self.model = HeadOnly(down.model.head.cpu(), found.features.flatten(0, 1)).to(self.device)
        self.found = CachedFeatures(found.features[chosen], found.label[chosen], found.multilabel[chosen])

    def _features(self, what: str, patches: Patches, cut: Any, crops: int) -> CachedFeatures:
        name = f"{self.key} {what} {patches.rows}"
        key = hashlib.sha256(name.encode()).hexdigest()[:24]
        return cached(
            self.folder, key, lambda: encode_crops(self.forward, self.down.prepare, patches, cut, crops)
        )

    def batch(self, step: int) -> Batch:
        """Batch number `step`, on the device."""
        c = self.config
        generator = torch.Generator().manual_seed(mixed_seed(c.seed, step, 4))
        which = draw_patches(self.labels, c.batch_size, c.balanced, c.seed, step)
        return {name: value.to(self.device) for name, value in self.found.pick(which, generator).items()}

    def evaluate(self, forward: Forward, patches: Patches, limit: int, keep_maps: int = 0) -> Evaluation:
        """Metrics over the cached features of all tiles."""
        where = tiles(len(patches), patches.size, self.config.image_size, limit).view(len(patches), -1, 3)
        cut = tile_cut(patches, self.config.image_size, where[:, :, 1:])
        found = self._features(f"tiles {limit}", patches, cut, where.shape[1])
        with torch.no_grad():
            logits = forward({"features": found.features.flatten(0, 1).to(self.device)}).float().cpu()
        owner = torch.arange(len(patches)).repeat_interleave(where.shape[1])
        predictions = TilePredictions(logits, found.label.flatten(), found.multilabel.flatten(0, 1), owner)
        return score_tiles(self.config, predictions, len(patches))
