"""Torch data set over GeoTIFF files or a packed store: crops in, ready batches out."""

import hashlib
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from eo_ssl.data import ben_ge
from eo_ssl.data import catalog as catalogs
from eo_ssl.data.fetch import root_of
from eo_ssl.data.source import Affine, Source, TiffSource
from eo_ssl.data.statistics import Statistics
from eo_ssl.data.store import StoreSource, is_store, pack, read_info
from eo_ssl.errors import ConfigError, DataError
from eo_ssl.files import cache_dir
from eo_ssl.parallel import cores
from eo_ssl.sensors import IGNORE, NUM_CLASSES, S1_BANDS, S2_BANDS

COVERAGE = 0.1  # a class belongs to a crop when it covers at least this share of it (Schmitt & Wu 2021)
MODES = ("random", "centre")


def open_source(path: str | Path, seed: int = 0, packed: bool | None = None) -> Source:
    """Open a data root (GeoTIFF files) or a packed store, with splits assigned by `seed`.

    A data set of `eo_ssl.data.fetch.SETS` may be called by its name. What the files do not say of themselves the card of
    the root says (`eo_ssl.data.catalog.Card`). A simulated set and ben-ge are packed the first time they are opened, into
    `.store` inside the folder, because training reads every patch many times; `packed=False` reads the GeoTIFF files,
    `packed=True` packs any root. Raises `DataError` if there is nothing to open.
    """
    path = root_of(path)
    if is_store(path):
        return StoreSource(path, seed)
    found = catalogs.find(path)
    slow = found.attrs["simulated"] or (found["dataset"] == ben_ge.NAME).any()
    if packed or (packed is None and slow):
        return StoreSource(_store_of(path, found), seed)
    return TiffSource(path, found, seed)


def _store_of(root: Path, found: pd.DataFrame) -> Path:
    """The store of a root, packed first where it is missing or the files have changed since."""
    own = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:24]
    beside, cached = root / ".store", cache_dir() / "stores" / own
    for out in (beside, cached):
        with suppress(DataError):  # none is there yet, or one of another version
            if read_info(out)["data"]["state"] == found.attrs["state"]:
                return out
    out = beside if os.access(root, os.W_OK) else cached
    with ThreadPoolExecutor(cores()) as pool:
        return pack(root, out, pool, found)


@dataclass(eq=False, repr=False)
class PatchDataset(Dataset):
    """Crops of patches with labels; a batch comes as one dict, already stacked.

    `rows` are positions in `source.catalog`, one crop each: "random" (a pure function of seed, epoch and index) or
    "centre".

    A sample: s1 (2, H, W) float32 in dB, s2 (13, H, W) float32 reflectance, index () int64 (row in the catalog); with
    `labels` mask (H, W) int64 (255 = ignore), label () int64 and multilabel (8,) float32 (see `crop_labels`).
    Invalid pixels are NaN in the images, and `valid` (H, W) bool marks the others; it is there only if a batch has
    invalid pixels, and `Normalise` fills them. With `statistics` the images come standardised and filled, and S2
    is taken to the product level of the statistics. Raises `ConfigError` for a mode or crop that cannot be.
    """

    source: Source
    rows: Sequence[int]
    crop: int
    mode: str = "random"
    labels: bool = False
    seed: int = 0
    statistics: Statistics | None = None
    epoch: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        size, crop = self.source.patch_size, self.crop
        if self.mode not in MODES:
            raise ConfigError(f"crop mode {self.mode!r}: choose one of {', '.join(MODES)}")
        if not 0 < crop <= size:
            raise ConfigError(f"crop {crop}: the patches are {size} px wide; choose 1 to {size}")
        self.rows = np.asarray(self.rows, dtype=np.int64)
        known = self.statistics
        self._affine = Affine.standardise(known, self.source.level) if known else Affine.physical()

    def __len__(self) -> int:
        return len(self.rows)

    def set_epoch(self, epoch: int) -> None:
        """Choose the random crops of an epoch."""
        self.epoch = epoch

    def place(self, index: int) -> tuple[int, int, int]:
        """Row, top and left of the crop with this index."""
        row, spare = int(self.rows[index]), self.source.patch_size - self.crop
        if self.mode == "centre":
            return row, spare // 2, spare // 2
        draw = _mix(self.seed, self.epoch, index)
        return row, (draw >> 32) * (spare + 1) >> 32, (draw & 0xFFFFFFFF) * (spare + 1) >> 32

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index}: the data set has {len(self)} crops")
        batch = self.__getitems__([index])
        if not len(batch["index"]):
            name = self.source.catalog["id"][self.place(index)[0]]
            raise DataError(f"{name}: less than 90 % of it is valid")
        return {key: value[0] for key, value in batch.items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        places = [self.place(int(i)) for i in indices]
        images = read_windows(self.source, places, self.crop, self._affine)
        batch = {key: torch.from_numpy(value) for key, value in images.items()}
        if "valid" in batch and self.statistics:
            for key in ("s1", "s2"):
                batch[key].nan_to_num_(nan=0.0)
        if self.labels:
            masks = np.stack([self.source.mask(*place, self.crop) for place in places])
            batch["mask"] = torch.from_numpy(masks).long()
            batch["label"], batch["multilabel"] = crop_labels(batch["mask"])
        batch["index"] = torch.tensor([row for row, _, _ in places])
        keep = torch.tensor([self.source.usable(row) for row, _, _ in places])
        return batch if keep.all() else {key: value[keep] for key, value in batch.items()}


def crop_labels(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Majority class (255 where nothing is labelled, ties to the lower code) and the classes that cover ≥ 10 %.

    Shape: mask (B, H, W) with 255 for unlabelled -> (B,) int64, (B, 8) float32.
    """
    classes = torch.arange(NUM_CLASSES, device=mask.device)[None, :, None]
    counts = (mask.flatten(1)[:, None] == classes).sum(2)  # (B, 8)
    label = torch.where(counts.sum(1) > 0, counts.argmax(1), IGNORE)
    return label, (counts >= COVERAGE * mask[0].numel()).float()


def read_windows(
    source: Source, places: Sequence[tuple[int, int, int]], side: int, affine: Affine
) -> dict[str, np.ndarray]:
    """Square windows of a source, each at (row, top, left): s1 (B, 2, side, side), s2 (B, 13, side, side) float32.

    "valid" (B, side, side) bool is there only if some pixel is invalid, which is NaN in the images.
    """
    s1, s2 = (np.empty((len(places), len(b), side, side), np.float32) for b in (S1_BANDS, S2_BANDS))
    masks = [source.fill(*place, s1[k], s2[k], affine) for k, place in enumerate(places)]
    if all(mask is None for mask in masks):
        return {"s1": s1, "s2": s2}
    valid = np.stack([np.ones((side, side), bool) if mask is None else mask for mask in masks])
    return {"s1": s1, "s2": s2, "valid": valid}


def _mix(*values: int) -> int:
    """64 well mixed bits from small integers (SplitMix64, Steele et al. 2014)."""
    state = 0
    for value in values:
        state = (state + (value & 0xFFFFFFFFFFFFFFFF) + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state


@dataclass(eq=False)
class Loader:
    """Batches of a `PatchDataset` in an order that is a pure function of (seed, epoch); see `set_epoch`.

    `batch_size` is per rank. Of each global batch of batch_size · world_size crops, rank r takes the r-th contiguous
    part, so that the ranks together see the batches one process with the larger batch would. `workers` threads
    prefetch (reading and converting release the interpreter lock, and nothing is copied between processes); with 0
    the caller reads.
    """

    dataset: Any
    batch_size: int
    shuffle: bool
    drop_last: bool = False
    seed: int = 0
    workers: int = 0
    rank: int = 0
    world_size: int = 1
    epoch: int = field(default=0, init=False)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order and the random crops of an epoch."""
        self.epoch = epoch
        self.dataset.set_epoch(epoch)

    def __len__(self) -> int:
        step, n = self.batch_size * self.world_size, len(self.dataset)
        return n // step if self.drop_last else -(-n // step)

    def batches(self) -> list[list[int]]:
        """Indices of each batch of this rank, in order."""
        order = np.arange(len(self.dataset))
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch, 10]).permutation(len(order))
        step = self.batch_size * self.world_size
        whole = [order[i * step : (i + 1) * step] for i in range(len(self))]
        shares = [np.array_split(batch, self.world_size)[self.rank].tolist() for batch in whole]
        return [share for share in shares if share]

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        read, batches = self.dataset.__getitems__, iter(self.batches())
        if self.workers == 0:
            yield from map(read, batches)
            return
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="loader")
        try:
            waiting = deque(pool.submit(read, batch) for batch in islice(batches, 2 * self.workers))
            while waiting:
                ready = waiting.popleft().result()
                waiting.extend(pool.submit(read, batch) for batch in islice(batches, 1))
                yield ready
        finally:
            pool.shutdown(cancel_futures=True)
