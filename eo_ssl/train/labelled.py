"""Labelled patches: crops and batches of them, and what a task makes of their labels (loss, score)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eo_ssl.data.dataset import crop_labels, read_windows
from eo_ssl.data.georef import spatial_blocks
from eo_ssl.data.source import Affine
from eo_ssl.data.splits import check_disjoint, label_fraction
from eo_ssl.data.store import StoreSource
from eo_ssl.errors import DataError
from eo_ssl.evaluate.metrics import (
    Metrics,
    boundary_counts,
    boundary_f1,
    classification_metrics,
    confusion_matrix,
    finite_logits,
    multilabel_counts,
    multilabel_metrics,
    segmentation_metrics,
)
from eo_ssl.evaluate.predict import TilePredictions
from eo_ssl.sensors import IGNORE, NUM_CLASSES, S1_BANDS, S2_BANDS
from eo_ssl.train.config import FinetuneConfig, digest
from eo_ssl.train.step import mixed_seed

Batch = dict[str, Tensor]
PHYSICAL = Affine.physical()


@dataclass
class Patches:
    """Whole labelled patches of a source: mask (N, P, P) uint8, and `images` where they are kept in memory.

    Squares of a packed store are read when they are cut, from files that all processes share. Of other sources, and
    on a GPU, the images are kept: (N, 15, P, P), S1 in dB and S2 in reflectance, in half precision. That is 11 bits:
    ±0.01 dB at −20 dB and ±0.0001 at a reflectance of 0.3, below the noise of either sensor.
    """

    source: Any
    mask: Tensor
    rows: list[int]  # positions in the catalogue
    group: np.ndarray  # spatial block of each patch: what the bootstrap draws together
    images: Tensor | None = None

    @property
    def size(self) -> int:
        """Side of a patch in pixels."""
        return self.mask.shape[-1]

    @cached_property
    def has_gaps(self) -> bool:
        """Whether a pixel of the kept images is NaN: asked once, since a GPU is waited for to know."""
        return bool(self.images.isnan().any())

    def __len__(self) -> int:
        return len(self.mask)

    def kept(self, device: torch.device) -> "Patches":
        """The same patches with their images on `device`."""
        images = self.images
        if images is None:
            places = [[(row, 0, 0) for row in self.rows[i : i + 64]] for i in range(0, len(self), 64)]
            parts = [read_windows(self.source, some, self.size, PHYSICAL) for some in places]
            images = torch.cat([torch.from_numpy(np.hstack([p["s1"], p["s2"]])).half() for p in parts])
        return Patches(self.source, self.mask.to(device), self.rows, self.group, images.to(device))

    def to(self, device: torch.device) -> "Patches":
        """The same patches, on a GPU where they fit: cutting crops there spares the transfer."""
        size = self.mask.nbytes * (1 + 2 * (len(S1_BANDS) + len(S2_BANDS)))
        full = device.type == "cuda" and size > torch.cuda.mem_get_info(device)[0] / 3
        return self if full or self.mask.device == device else self.kept(device)

    def cut(self, rows: Tensor, tops: Tensor, lefts: Tensor, side: int) -> Batch:
        """Squares out of patches, with the labels that belong to the square itself.

        Shape: rows, tops, lefts (B,) -> batch of physical units, float32; "valid" (B, side, side) where pixels lack.
        """
        mask = squares(self.mask, rows, tops, lefts, side).long()
        label, multilabel = crop_labels(mask)
        labels = {"mask": mask, "label": label, "multilabel": multilabel}
        if self.images is None:
            corners = zip([self.rows[row] for row in rows.tolist()], tops.tolist(), lefts.tolist())
            found = read_windows(self.source, list(corners), side, PHYSICAL)
            return {name: torch.from_numpy(value) for name, value in found.items()} | labels
        images = squares(self.images, rows, tops, lefts, side).float()
        if self.has_gaps:
            labels["valid"] = images.isfinite().all(1)
        return {"s1": images[:, : len(S1_BANDS)], "s2": images[:, len(S1_BANDS) :]} | labels

    def positions(self, rows: Sequence[int]) -> Tensor:
        """Where the patches of these rows of the catalogue are, (n,)."""
        place = {row: i for i, row in enumerate(self.rows)}
        return torch.tensor([place[row] for row in rows], dtype=torch.int64)

    def select(self, rows: Sequence[int]) -> "Patches":
        """The patches of these rows of the catalogue."""
        index = self.positions(rows)
        at = index.to(self.mask.device)
        images = None if self.images is None else self.images[at]
        return Patches(self.source, self.mask[at], list(rows), self.group[index.numpy()], images)


def squares(x: Tensor, rows: Tensor, tops: Tensor, lefts: Tensor, side: int) -> Tensor:
    """Squares out of images in one operation, so that a GPU need not be told of each.

    Shape: x (N, ..., H, W), rows, tops, lefts (B,) -> (B, ..., side, side).
    """
    line = torch.arange(side)
    where = (rows[:, None, None], tops[:, None, None] + line[:, None], lefts[:, None, None] + line)
    row, down, right = (index.to(x.device, non_blocking=True) for index in where)
    if x.ndim == 3:
        return x[row, down, right]
    return x[row, :, down, right].permute(0, 3, 1, 2).contiguous()  # (B, side, side, C) -> (B, C, side, side)


def load_patches(source: Any, rows: Sequence[int]) -> Patches:
    """The labelled patches of some rows; raises `DataError` when there are none, or none without faults."""
    found = [int(row) for row in rows if source.usable(int(row))]
    if not found:
        raise DataError("no usable labelled patches in this split; run eo-ssl data check on the data set")
    size = int(source.patch_size)
    mask = torch.from_numpy(np.stack([source.mask(row, 0, 0, size) for row in found]).astype(np.uint8))
    patches = Patches(source, mask, found, spatial_blocks(source.catalog.iloc[found], size))
    return patches if isinstance(source, StoreSource) else patches.kept(torch.device("cpu"))


class LabelledData:
    """The labelled splits of a source, read once per process; the test split when it is first asked for.

    `version` tells one data set from another, by default by its patches and their statistics. Training sees
    `train` and `val`; `test` is for whoever has chosen the last weight. `labels` are the majority classes of the
    training patches, (N,).
    """

    def __init__(self, source: Any, version: str = "") -> None:
        self.source, self.device = source, torch.device("cpu")
        for pair in combinations(("train", "val", "test"), 2):
            check_disjoint(source.catalog, *pair)
        self.train, self.val = self._patches("train"), self._patches("val")
        self._test: Patches | None = None
        self.labels = torch.cat([crop_labels(part.long())[0] for part in self.train.mask.split(256)])
        if bool((self.labels == IGNORE).all()):
            raise DataError("no training patch has a label; run eo-ssl data check on the data set")
        ids = source.catalog["id"].astype(str).tolist()
        self.version = version or digest(ids, source.stats("train").to_dict())

    @property
    def test(self) -> Patches:
        """The test split, to be read once per trained model, after its weights were chosen."""
        if self._test is None:
            self._test = self._patches("test")
        self._test = self._test.to(self.device)
        return self._test

    def to(self, device: torch.device) -> None:
        """Keep the patches on `device` from now on, where they fit."""
        self.device = device
        self.train, self.val = self.train.to(device), self.val.to(device)

    def fraction(self, share: float, seed: int) -> list[int]:
        """Catalogue rows of a label fraction: unique patches, stratified, nested over fractions."""
        return label_fraction(self.train.rows, self.labels.tolist(), share, seed)

    def _patches(self, split: str) -> Patches:
        return load_patches(self.source, np.flatnonzero(self.source.catalog["split"] == split).tolist())


def draw_patches(labels: Tensor, config: FinetuneConfig, step: int) -> tuple[Tensor, torch.Generator]:
    """Which patches make up batch `step`, (batch_size,) int64, and random numbers for their crops.

    A pure function of labels, settings and step: with replacement, every majority class equally likely.
    """
    seeds = (mixed_seed(config.seed, step, what) for what in (1, 4))
    choice, crops = (torch.Generator().manual_seed(seed) for seed in seeds)
    weight = 1.0 / torch.bincount(labels, minlength=IGNORE + 1).clamp(min=1)[labels].double()
    weight[labels == IGNORE] = 0.0  # nothing to learn from
    return torch.multinomial(weight, config.batch_size, replacement=True, generator=choice), crops


def random_crops(patches: Patches, which: Tensor, side: int, generator: torch.Generator) -> Batch:
    """A random square of each chosen patch, mirrored and turned by 90° at random."""
    tops, lefts = torch.randint(patches.size - side + 1, (2, len(which)), generator=generator)
    batch = patches.cut(which, tops, lefts, side)
    return symmetries(batch, torch.randint(8, (len(which),), generator=generator))


def symmetries(batch: Batch, which: Tensor) -> Batch:
    """Apply one of the eight symmetries of the square to each sample: `Flip` and `Rotate90` in one copy.

    Shape: which (B,) in 0 … 7: k % 4 quarter turns, mirrored first from 4 on.
    """
    result = dict(batch)
    for k in range(1, 8):
        chosen = torch.nonzero(which == k).flatten()
        for name in ("s1", "s2", "mask", "valid"):
            if len(chosen) and name in batch:
                x = result[name]
                part = x[chosen].flip(-1) if k >= 4 else x[chosen]
                x[chosen] = torch.rot90(part, k % 4, (-2, -1))
    return result


def cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean cross-entropy over labelled samples or pixels, in float32; 0 (not NaN) when all are 255.

    Shape: logits (B, K, ...), truth (B, ...).
    """
    total = F.cross_entropy(logits.float(), truth, ignore_index=IGNORE, reduction="sum")
    return total / (truth != IGNORE).sum().clamp(min=1)


def task_loss(task: str, batch: Batch, logits: Tensor, _: None = None) -> Tensor:
    """Loss of logits against a batch: cross-entropy of crops or pixels, binary for several classes a crop."""
    if task == "multi":  # of a crop without any label nothing is known
        each = F.binary_cross_entropy_with_logits(logits.float(), batch["multilabel"], reduction="none")
        known = batch["label"] != IGNORE
        return (each.mean(1) * known).sum() / known.sum().clamp(min=1)
    return cross_entropy(logits, batch["label" if task == "single" else "mask"])


@dataclass
class Evaluation:
    """Metrics over a whole set; `counts` per patch, (N, 8, 8) confusion or (N, 8, 3) tp, fp, fn."""

    metrics: Metrics
    counts: Tensor
    maps: dict[int, Tensor] = field(default_factory=dict)  # predicted label maps of a few patches by row


def score_tiles(config: FinetuneConfig, found: TilePredictions, patches: int) -> Evaluation:
    """Metrics over all tiles as samples, and counts for each of the `patches` they came from."""
    k = found.logits.shape[1]
    labelled = found.label != IGNORE
    found = TilePredictions(*(x[labelled] for x in found))
    if config.task == "multi":
        per_tile = multilabel_counts(found.logits.sigmoid(), found.multilabel)  # (T, K, 3)
        counts = torch.zeros(patches, k, 3, dtype=torch.int64).index_add_(0, found.patch, per_tile)
        return Evaluation(multilabel_metrics(found.logits, found.multilabel), counts)
    place = (found.patch * k + found.label) * k + found.logits.argmax(1)
    counts = torch.bincount(place, minlength=patches * k * k).view(patches, k, k)
    return Evaluation(classification_metrics(found.logits, found.label), counts)


def score_maps(maps: Iterable[tuple[int, Tensor, Tensor]]) -> Evaluation:
    """Pixel metrics of (row, log-probabilities, truth) of whole patches."""
    confusions, edges = [], torch.zeros(NUM_CLASSES, 4, dtype=torch.int64)
    for _, log_probability, truth in maps:
        prediction = finite_logits(log_probability).max(0).indices  # much faster than argmax on a CPU
        confusions.append(confusion_matrix(prediction, truth))
        edges += boundary_counts(prediction[None], truth[None])
    counts = torch.stack(confusions)
    return Evaluation({**segmentation_metrics(counts.sum(0)), **boundary_f1(edges)}, counts)
