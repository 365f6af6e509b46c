"""Frozen classifiers: the backbone never changes, so each image goes through it once and never again.

Fine-tuning begins here, too: its head is first trained on the features as they are.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from eo_ssl.evaluate.predict import TilePredictions, tiles
from eo_ssl.files import atomic_path, locked
from eo_ssl.provenance import training_code
from eo_ssl.train.config import FinetuneConfig, digest
from eo_ssl.train.downstream import Downstream
from eo_ssl.train.labelled import (
    Batch,
    Evaluation,
    LabelledData,
    Patches,
    draw_patches,
    random_crops,
    score_tiles,
)
from eo_ssl.train.step import mixed_seed

ENCODE_BATCH = 128
Features = dict[str, Tensor]  # of some crops of every patch: features (N, crops, D), label, multilabel


class OnFeatures(nn.Module):
    """The head of a classifier, on features that are known already."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, batch: Batch) -> Tensor:
        return self.head(batch["features"])


class FeatureStream:
    """Batches and scores from features: a few augmented crops of every training patch, all tiles of the others.

    The crops are the same for every seed, so that one pass through the backbone serves all cells of a grid.
    `encode` gives the features of a batch in physical units; they are kept in `folder` (None: in memory).
    """

    def __init__(
        self,
        config: FinetuneConfig,
        down: Downstream,
        data: LabelledData,
        rows: Sequence[int],
        encode: Callable[[Batch], Tensor],
        folder: Path | None,
    ) -> None:
        self.config, self.encode, self.folder, self.kept = config, encode, folder, {}
        backbone, self.device = backbone_hash(down.model.backbone), down.device
        self.key = [data.version, backbone, str(down.statistics), config.image_size, training_code()]
        down.model.eval()

        def crop(rows: Tensor, k: int) -> Batch:
            generator = torch.Generator().manual_seed(mixed_seed(k, int(rows[0]), 5))
            return random_crops(data.train, rows, config.image_size, generator)

        everything = self._features("train", data.train, crop, config.cached_crops)
        down.model.head.standardise(everything["features"].flatten(0, 1).to(self.device))
        self.model = OnFeatures(down.model.head)
        chosen = data.train.positions(rows)
        self.labels = data.labels[chosen]
        self.found = {name: value[chosen] for name, value in everything.items()}

    def batch(self, step: int) -> Batch:
        """Batch number `step`, on the device: one of the crops of each drawn patch."""
        which, generator = draw_patches(self.labels, self.config, step)
        crop = torch.randint(self.config.cached_crops, (len(which),), generator=generator)
        return {name: value[which, crop].to(self.device) for name, value in self.found.items()}

    @torch.no_grad()
    def score(self, patches: Patches, limit: int, keep_maps: int = 0) -> Evaluation:
        """Metrics over the features of `limit` tiles of each patch (0: all)."""
        side, n = self.config.image_size, len(patches)
        where = tiles(n, patches.size, side, limit).view(n, -1, 3)  # (N, tiles, (row, top, left))
        found = self._features(
            f"tiles {limit}", patches, lambda rows, k: patches.cut(*where[rows, k].T, side), where.shape[1]
        )
        found = {name: value.flatten(0, 1) for name, value in found.items()}
        logits = self.model({"features": found["features"].to(self.device)}).float().cpu()
        predictions = TilePredictions(logits, found["label"], found["multilabel"], where[..., 0].flatten())
        return score_tiles(self.config, predictions, n)

    def _features(
        self, what: str, patches: Patches, cut: Callable[[Tensor, int], Batch], crops: int
    ) -> Features:
        """Features of crop 0 … crops − 1 of every patch, from the disk if they are there, else computed once."""
        name = digest(*self.key, what, crops, patches.rows)
        if self.folder is None:
            if name not in self.kept:
                self.kept[name] = self._encoded(patches, cut, crops)
            return self.kept[name]
        path = self.folder / f"{name}.safetensors"
        with locked(f"{path}.lock", "compute features"):
            if not path.exists():
                with atomic_path(path) as temporary:
                    save_file(self._encoded(patches, cut, crops), temporary)
            return load_file(path)

    @torch.no_grad()
    def _encoded(self, patches: Patches, cut: Callable[[Tensor, int], Batch], crops: int) -> Features:
        found: dict[str, list[Tensor]] = {"features": [], "label": [], "multilabel": []}
        for k in range(crops):
            for rows in torch.arange(len(patches)).split(ENCODE_BATCH):
                batch = cut(rows, k)
                batch["features"] = self.encode(batch).float()
                for name, parts in found.items():
                    parts.append(batch[name].cpu())
        stacked = {name: torch.cat(parts).unflatten(0, (crops, -1)) for name, parts in found.items()}
        return {name: value.transpose(0, 1).contiguous() for name, value in stacked.items()}


def backbone_hash(module: nn.Module) -> str:
    """Sixteen hex digits of all weights and buffers, in order."""
    found = hashlib.sha256()
    for name, value in module.state_dict().items():
        found.update(name.encode())
        found.update(np.ascontiguousarray(value.detach().cpu().reshape(-1).contiguous().view(torch.uint8)))
    return found.hexdigest()[:16]
