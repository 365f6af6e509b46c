"""Labelled patches in memory: crops and batches of them, and what a task makes of their labels (loss, score).

Small sets train faster without a loader, from half-precision physical units. Half precision keeps 11 bits:
±0.01 dB at −20 dB and ±0.0001 at a reflectance of 0.3, below the noise of either sensor.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.lib.format import open_memmap
from torch import Tensor

from eo_ssl.data.dataset import Loader, PatchDataset
from eo_ssl.data.georef import spatial_blocks
from eo_ssl.data.splits import check_disjoint, label_fraction
from eo_ssl.errors import DataError
from eo_ssl.evaluate.metrics import Metrics, SegmentationScore, classification_metrics, multilabel_metrics
from eo_ssl.evaluate.predict import TilePredictions
from eo_ssl.files import locked, read_json, write_json
from eo_ssl.sensors import IGNORE, NUM_CLASSES, S1_BANDS, S2_BANDS
from eo_ssl.train.config import FinetuneConfig, digest
from eo_ssl.train.step import mixed_seed

Batch = dict[str, Tensor]
MULTILABEL_SHARE = 0.1  # a class belongs to a crop when it covers at least this much (Schmitt & Wu 2021)


def crop_labels(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Majority class (255 where nothing is labelled, ties to the lower code) and the classes that cover ≥ 10 %.

    Shape: mask (B, H, W) with 255 for unlabelled -> (B,) int64, (B, 8) float32.
    """
    classes = torch.arange(NUM_CLASSES, device=mask.device)[None, :, None]
    counts = (mask.flatten(1)[:, None] == classes).sum(2)  # (B, 8)
    label = torch.where(counts.sum(1) > 0, counts.argmax(1), IGNORE)
    return label, (counts >= MULTILABEL_SHARE * mask[0].numel()).float()


@dataclass
class Patches:
    """Whole patches: s1 (N, 2, P, P) dB, s2 (N, 13, P, P) reflectance, float16; mask (N, P, P) uint8."""

    s1: Tensor
    s2: Tensor
    mask: Tensor
    rows: list[int]  # positions in the catalogue
    group: np.ndarray  # spatial block of each patch: what the bootstrap draws together

    @property
    def size(self) -> int:
        """Side of a patch in pixels."""
        return self.mask.shape[-1]

    @cached_property
    def has_gaps(self) -> bool:
        """Whether any pixel is invalid (NaN)."""
        return bool(torch.isnan(self.s1).any() or torch.isnan(self.s2).any())

    def __len__(self) -> int:
        return len(self.mask)

    def to(self, device: torch.device) -> "Patches":
        """The same patches on `device`, where they fit: cutting crops there spares the transfer."""
        size = self.s1.nbytes + self.s2.nbytes + self.mask.nbytes
        full = device.type == "cuda" and size > torch.cuda.mem_get_info(device)[0] / 3
        if full or self.mask.device == device:
            return self
        return Patches(self.s1.to(device), self.s2.to(device), self.mask.to(device), self.rows, self.group)

    def cut(self, rows: Tensor, tops: Tensor, lefts: Tensor, side: int) -> Batch:
        """Squares out of patches, with the labels that belong to the square itself.

        Shape: rows, tops, lefts (B,) -> batch of physical units, float32.
        """
        s1, s2 = (squares(x, rows, tops, lefts, side).float() for x in (self.s1, self.s2))
        mask = squares(self.mask, rows, tops, lefts, side).long()
        label, multilabel = crop_labels(mask)
        batch = {"s1": s1, "s2": s2, "mask": mask, "label": label, "multilabel": multilabel}
        if self.has_gaps:
            batch["valid"] = torch.isfinite(s1).all(1) & torch.isfinite(s2).all(1)
        return batch

    def positions(self, rows: Sequence[int]) -> Tensor:
        """Where the patches of these rows of the catalogue are, (n,)."""
        place = {row: i for i, row in enumerate(self.rows)}
        return torch.tensor([place[row] for row in rows], dtype=torch.int64)

    def select(self, rows: Sequence[int]) -> "Patches":
        """The patches of these rows of the catalogue."""
        index = self.positions(rows)
        at = index.to(self.mask.device)
        return Patches(self.s1[at], self.s2[at], self.mask[at], list(rows), self.group[index.numpy()])


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


def load_patches(source: Any, rows: Sequence[int], folder: Path | None = None) -> Patches:
    """Read whole labelled patches into memory, or into files in `folder` that any process maps (`map_patches`).

    Raises `DataError` when there are none, or none without faults.
    """
    size, n = int(source.patch_size), len(rows)
    shapes = {
        "s1": (n, len(S1_BANDS), size, size),
        "s2": (n, len(S2_BANDS), size, size),
        "mask": (n, size, size),
    }
    room: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        kind = np.uint8 if name == "mask" else np.float16
        empty = (
            np.empty(shape, kind)
            if folder is None
            else open_memmap(folder / f"{name}.npy", "w+", kind, shape)
        )
        room[name] = torch.from_numpy(empty)
    s1, s2, mask = room.values()
    found: list[int] = []
    for batch in Loader(PatchDataset(source, list(rows), size, "centre", labels=True), 32, shuffle=False):
        part = slice(len(found), len(found) + len(batch["index"]))  # broken patches are left out
        s1[part], s2[part], mask[part] = batch["s1"], batch["s2"], batch["mask"]
        found += batch["index"].tolist()
    n = len(found)
    if not n:
        raise DataError("no usable labelled patches in this split; run eo-ssl data check on the data set")
    return Patches(s1[:n], s2[:n], mask[:n], found, spatial_blocks(source.catalog.iloc[found], size))


def map_patches(source: Any, rows: Sequence[int], folder: Path) -> Patches:
    """The same patches, kept in files in `folder`: the first process writes them, all share what they read of it."""
    folder.mkdir(parents=True, exist_ok=True)
    last = folder / "rows.json"
    with locked(folder / "lock", "read the labelled patches"):
        if not last.is_file():
            made = load_patches(source, rows, folder)
            write_json(last, {"rows": made.rows, "group": made.group.tolist()})
    facts = read_json(last)
    # Copied when written to, which nobody does: torch wants arrays that it may write.
    arrays = (np.load(folder / f"{name}.npy", mmap_mode="c") for name in ("s1", "s2", "mask"))
    s1, s2, mask = (torch.from_numpy(array)[: len(facts["rows"])] for array in arrays)
    return Patches(s1, s2, mask, facts["rows"], np.array(facts["group"]))


@dataclass
class LabelledData:
    """The labelled splits of a source, read once per process; the test split when it is first asked for.

    `version` tells one data set from another, by default by its patches and their statistics. Training sees
    `train` and `val`; `test` is for whoever has chosen the last weight. With a `folder` all processes share one copy
    in files there.
    """

    source: Any
    version: str = ""
    folder: Path | None = None
    train: Patches = field(init=False)
    val: Patches = field(init=False)

    def __post_init__(self) -> None:
        for pair in combinations(("train", "val", "test"), 2):
            check_disjoint(self.source.catalog, *pair)
        self.train, self.val = self._patches("train"), self._patches("val")
        # Majority class of each whole training patch, (N,).
        self.labels = torch.cat([crop_labels(part.long())[0] for part in self.train.mask.split(256)])
        if bool((self.labels == IGNORE).all()):
            raise DataError("no training patch has a label; run eo-ssl data check on the data set")
        if not self.version:
            ids = self.source.catalog["id"].astype(str).tolist()
            self.version = digest(ids, self.source.stats("train").to_dict())
        self.device = torch.device("cpu")
        self._test: Patches | None = None

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
        rows = np.flatnonzero(self.source.catalog["split"] == split).tolist()
        if self.folder is None:
            return load_patches(self.source, rows)
        return map_patches(self.source, rows, self.folder / digest(self.version) / split)


def draw_patches(labels: Tensor, config: FinetuneConfig, step: int) -> tuple[Tensor, torch.Generator]:
    """Which patches make up batch `step`, (batch_size,) int64, and random numbers for their crops.

    A pure function of labels, settings and step. Balanced: with replacement, every majority class equally likely;
    otherwise one shuffled pass after the other.
    """

    def numbers(*key: int) -> torch.Generator:
        return torch.Generator().manual_seed(mixed_seed(config.seed, *key))

    size, n = config.batch_size, len(labels)
    if config.balanced:
        weight = 1.0 / torch.bincount(labels, minlength=IGNORE + 1).clamp(min=1)[labels].double()
        weight[labels == IGNORE] = 0.0  # nothing to learn from
        which = torch.multinomial(weight, size, replacement=True, generator=numbers(step, 1))
    else:
        passes = range(step * size // n, ((step + 1) * size - 1) // n + 1)
        orders = torch.cat([torch.randperm(n, generator=numbers(e, 2)) for e in passes])
        which = orders[step * size - passes[0] * n :][:size]
    return which, numbers(step, 4)


def random_crops(
    patches: Patches, which: Tensor, config: FinetuneConfig, generator: torch.Generator
) -> Batch:
    """A random square of each chosen patch, mirrored and turned by 90° at random where `augment` says so."""
    span = patches.size - config.image_size + 1
    tops, lefts = torch.randint(span, (2, len(which)), generator=generator)
    batch = patches.cut(which, tops, lefts, config.image_size)
    if not config.augment:
        return batch
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
    if task == "multi":
        return F.binary_cross_entropy_with_logits(logits.float(), batch["multilabel"])
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
    if config.task == "multi":
        guess, truth = found.logits > 0, found.multilabel > 0.5  # (T, K); logit 0 is probability 0.5
        per_tile = torch.stack([guess & truth, guess & ~truth, ~guess & truth], 2).long()  # (T, K, 3)
        counts = torch.zeros(patches, k, 3, dtype=torch.int64).index_add_(0, found.patch, per_tile)
        return Evaluation(multilabel_metrics(found.logits, found.multilabel), counts)
    labelled = found.label != IGNORE
    place = ((found.patch * k + found.label) * k + found.logits.argmax(1))[labelled]
    counts = torch.bincount(place, minlength=patches * k * k).view(patches, k, k)
    return Evaluation(classification_metrics(found.logits, found.label), counts)


def score_maps(maps: Iterable[tuple[int, Tensor, Tensor]]) -> Evaluation:
    """Pixel metrics of (row, log-probabilities, truth) of whole patches."""
    score = SegmentationScore()
    for _, log_probability, truth in maps:
        score.update(log_probability[None], truth[None])
    return Evaluation(score.metrics(), score.counts())
