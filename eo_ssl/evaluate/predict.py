"""Predictions for whole patches: cut into tiles that cover them, never cropped at random."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from eo_ssl.sensors import IGNORE

Batch = dict[str, Tensor]


class PatchSet(Protocol):
    """Whole patches: how many, how large, and cuts of them as a batch."""

    size: int
    mask: Tensor  # (N, size, size)

    def __len__(self) -> int: ...

    def cut(self, rows: Tensor, tops: Tensor, lefts: Tensor, side: int) -> Batch: ...


def corners(length: int, tile: int) -> list[int]:
    """Where tiles start so that they cover `length`, evenly spread; they overlap where it does not divide.

    >>> corners(128, 64), corners(256, 224), corners(64, 64)
    ([0, 64], [0, 32], [0])
    """
    if tile > length:
        raise ValueError(f"a tile of {tile} pixels is larger than the patch ({length})")
    n = math.ceil(length / tile)
    return [round(i * (length - tile) / max(1, n - 1)) for i in range(n)]


def tiles(patches: int, size: int, tile: int, limit: int = 0) -> Tensor:
    """Row, top and left of every tile; with `limit` that many per patch, other corners for the next patch.

    Shape: -> (T, 3) int64.

    >>> tiles(2, 4, 2, limit=1).tolist()
    [[0, 0, 0], [1, 0, 2]]
    """
    places = [(top, left) for top in corners(size, tile) for left in corners(size, tile)]
    count = min(limit or len(places), len(places))
    step = len(places) // count
    chosen = [
        (row, *places[(j * step + (row if limit else 0)) % len(places)])
        for row in range(patches)
        for j in range(count)
    ]
    return torch.tensor(chosen, dtype=torch.int64).reshape(-1, 3)


@dataclass
class TilePredictions:
    """Logits and truth of tiles as samples of their own; `patch` says which patch each came from."""

    logits: Tensor  # (T, K)
    label: Tensor  # (T,)
    multilabel: Tensor  # (T, K)
    patch: Tensor  # (T,)


@torch.no_grad()
def predict_tiles(
    model: Callable[[Batch], Tensor],
    prepare: Callable[[Batch], Batch],
    patches: PatchSet,
    tile: int,
    limit: int = 0,
    batch_size: int = 128,
) -> TilePredictions:
    """Classify every tile. `prepare` normalises a batch and moves it to the model's device."""
    logits, labels, multilabels, owners = [], [], [], []
    for part in tiles(len(patches), patches.size, tile, limit).split(batch_size):
        batch = patches.cut(part[:, 0], part[:, 1], part[:, 2], tile)
        logits.append(model(prepare(batch)).float().cpu())
        labels.append(batch["label"].cpu())
        multilabels.append(batch["multilabel"].cpu())
        owners.append(part[:, 0])
    return TilePredictions(*(torch.cat(values) for values in (logits, labels, multilabels, owners)))


@dataclass
class Stitcher:
    """Averages the probabilities of overlapping tiles on the patch they came from."""

    size: int
    sums: dict[int, Tensor] = field(default_factory=dict)
    counts: dict[int, Tensor] = field(default_factory=dict)

    def add(self, row: int, top: int, left: int, probability: Tensor) -> None:
        """Add one tile, (K, h, w)."""
        if row not in self.sums:
            self.sums[row] = probability.new_zeros(len(probability), self.size, self.size)
            self.counts[row] = probability.new_zeros(self.size, self.size)
        height, width = probability.shape[1:]
        self.sums[row][:, top : top + height, left : left + width] += probability
        self.counts[row][top : top + height, left : left + width] += 1

    def take(self, row: int) -> Tensor:
        """Mean log-probability of a finished patch, (K, H, W); its memory is given back."""
        return (self.sums.pop(row) / self.counts.pop(row).clamp(min=1)).clamp(min=1e-8).log()


@torch.no_grad()
def predict_maps(
    model: Callable[[Batch], Tensor],
    prepare: Callable[[Batch], Batch],
    patches: PatchSet,
    tile: int,
    limit: int = 0,
    batch_size: int = 32,
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield row, log-probabilities (K, H, W) and truth (H, W) of each patch, stitched from its tiles.

    With `limit` that many tiles of each patch are looked at; the truth of the rest is 255.
    """
    where = tiles(len(patches), patches.size, tile, limit)
    per_patch = len(where) // max(1, len(patches))
    stitcher = Stitcher(patches.size)
    for part in where.split(max(1, batch_size // per_patch) * per_patch):  # whole patches at a time
        batch = patches.cut(part[:, 0], part[:, 1], part[:, 2], tile)
        probability = model(prepare(batch)).float().softmax(1).cpu()  # (B, K, tile, tile)
        for (row, top, left), one in zip(part.tolist(), probability):
            stitcher.add(row, top, left, one)
        for row in part[::per_patch, 0].tolist():
            seen = stitcher.counts[row] > 0
            yield row, stitcher.take(row), patches.mask[row].long().cpu().where(seen, torch.tensor(IGNORE))


@dataclass
class Standardised:
    """Whole patches that are standardised already: s1 (N, 2, P, P), s2 (N, 13, P, P), without truth."""

    s1: Tensor
    s2: Tensor

    @property
    def size(self) -> int:
        """Side of a patch in pixels."""
        return self.s1.shape[-1]

    @property
    def mask(self) -> Tensor:
        """No truth: 255 everywhere."""
        return torch.full((len(self), self.size, self.size), IGNORE)

    def __len__(self) -> int:
        return len(self.s1)

    def cut(self, rows: Tensor, tops: Tensor, lefts: Tensor, side: int) -> Batch:
        """Squares out of the patches."""
        where = list(zip(rows.tolist(), tops.tolist(), lefts.tolist()))
        return {
            name: torch.stack([x[r, :, t : t + side, l : l + side] for r, t, l in where])
            for name, x in (("s1", self.s1), ("s2", self.s2))
        }


def probabilities(down: Any, patches: PatchSet, tile: int) -> Tensor:
    """Probabilities of whole patches from tiles that cover them: (N, 8, P, P).

    `down` is a model with its `prepare` (`train.finetune_models.Downstream`); patches are in physical units, or
    `Standardised`, which only go to its device.
    """
    device = down.prepare.device

    def move(batch: Batch) -> Batch:
        return {name: values.to(device) for name, values in batch.items()}

    prepare = move if isinstance(patches, Standardised) else down.prepare
    return torch.stack(
        [found.exp() for _, found, _ in predict_maps(down.model.eval(), prepare, patches, tile)]
    )
