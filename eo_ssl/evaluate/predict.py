"""Predictions for whole patches: cut into tiles that cover them, never cropped at random."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from eo_ssl.sensors import IGNORE

Batch = dict[str, Tensor]
Model = Callable[[Batch], Tensor]  # from a batch as `PatchSet.cut` gives it to logits


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
    """Row, top and left of every tile, (T, 3) int64; with `limit` that many a patch, other corners for the next.

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


class TilePredictions(NamedTuple):
    """Logits and truth of tiles as samples of their own; `patch` says which patch each came from."""

    logits: Tensor  # (T, K)
    label: Tensor  # (T,)
    multilabel: Tensor  # (T, K)
    patch: Tensor  # (T,)


@torch.no_grad()
def predict_tiles(
    model: Model, patches: PatchSet, tile: int, limit: int = 0, batch_size: int = 128
) -> TilePredictions:
    """Classify every tile, or `limit` of each patch."""
    found = []
    for part in tiles(len(patches), patches.size, tile, limit).split(batch_size):
        batch = patches.cut(*part.T, tile)
        logits = model(batch).float().cpu()
        found.append((logits, batch["label"].cpu(), batch["multilabel"].cpu(), part[:, 0]))
    return TilePredictions(*map(torch.cat, zip(*found)))


@torch.no_grad()
def predict_maps(
    model: Model, patches: PatchSet, tile: int, limit: int = 0, batch_size: int = 32
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield row, log-probabilities (K, H, W) and truth (H, W) of each patch, stitched from its tiles.

    With `limit` that many tiles of each patch are looked at; the truth of the rest is 255.
    """
    where = tiles(len(patches), patches.size, tile, limit)
    each, size, nothing = len(where) // max(1, len(patches)), patches.size, torch.tensor(IGNORE)
    for part in where.split(max(1, batch_size // each) * each):  # whole patches at a time
        logits = model(patches.cut(*part.T, tile))  # (B, K, tile, tile)
        probability = logits.float().softmax(1).cpu()
        for places, found in zip(part.split(each), probability.split(each)):
            total, seen = found.new_zeros(found.shape[1], size, size), found.new_zeros(size, size)
            row = int(places[0, 0])
            for (_, top, left), one in zip(places.tolist(), found):
                total[:, top : top + tile, left : left + tile] += one
                seen[top : top + tile, left : left + tile] += 1
            mean = total / seen.clamp(min=1)  # of the probabilities where tiles overlap
            yield row, mean.clamp(min=1e-8).log(), patches.mask[row].long().cpu().where(seen > 0, nothing)


class Standardised:
    """Whole patches that are standardised already: s1 (N, 2, P, P), s2 (N, 13, P, P), without truth."""

    def __init__(self, s1: Tensor, s2: Tensor) -> None:
        self.s1, self.s2, self.size = s1, s2, s1.shape[-1]
        self.mask = torch.full((len(s1), self.size, self.size), IGNORE)

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

    `down` is a `train.downstream.Downstream`; patches are in physical units, or `Standardised`.
    """

    def forward(batch: Batch) -> Tensor:
        if isinstance(patches, Standardised):
            return down.model({name: values.to(down.device) for name, values in batch.items()})
        return down(batch)

    down.eval()
    maps = predict_maps(forward, patches, tile)
    return torch.stack([found.exp() for _, found, _ in maps])
