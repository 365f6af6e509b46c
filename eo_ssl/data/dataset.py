"""Torch data set over GeoTIFF files or a packed store: crops in, ready batches out."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from eo_ssl.data import catalog as catalogs
from eo_ssl.data.buffers import Buffers
from eo_ssl.data.loader import Loader, make_loader
from eo_ssl.data.source import Affine, Source, class_counts, majority_of
from eo_ssl.data.statistics import Statistics
from eo_ssl.data.store import StoreSource, is_store
from eo_ssl.data.tiff_source import TiffSource
from eo_ssl.errors import ConfigError, DataError
from eo_ssl.files import cache_dir, read_json
from eo_ssl.sensors import S1_BANDS, S2_BANDS

__all__ = ["Loader", "PatchDataset", "Source", "make_loader", "open_source"]

COVERAGE = 0.1  # a class is in the multi-label target if it covers at least this share of the crop
MODES = ("random", "centre", "tile")


def open_source(
    path: str | Path,
    seed: int = 0,
    holdout: str | Path | None = None,
    s1_scale: float | None = None,
    s2_offset: int | None = None,
    packed: bool | None = None,
) -> Source:
    """Open a data root (GeoTIFF files) or a packed store, with splits assigned by `seed` and `holdout`.

    `s1_scale` is the value of one step of integer S1 files in dB; `s2_offset` (0 or 1000) is what was
    added to the S2 digital numbers, if the files do not say so themselves. A simulated set is packed the
    first time it is opened, into `.store` inside its folder, because training reads every patch many
    times; `packed=False` reads the GeoTIFF files, `packed=True` packs any root. Raises `DataError` if
    there is nothing to open.
    """
    path = Path(path)
    if is_store(path):
        return StoreSource(path, seed, holdout, s2_offset)
    found = catalogs.find(path)
    if packed or (packed is None and found.attrs["simulated"]):
        return StoreSource(_store_of(path, found, s1_scale, s2_offset), seed, holdout)
    return TiffSource(path, found, seed, holdout, s1_scale, s2_offset)


def _store_of(root: Path, found: pd.DataFrame, s1_scale: float | None, s2_offset: int | None) -> Path:
    """The store of a root, packed first if it is missing or the folder has changed since."""
    from eo_ssl.data.pack import pack

    out = root / ".store" if os.access(root, os.W_OK) else cache_dir() / "stores" / found.attrs["state"][:24]
    plain = s1_scale is None and s2_offset is None
    if plain and is_store(out) and read_json(out / "store.json")["data"].get("state") == found.attrs["state"]:
        return out
    return pack(
        root, out, 1, s1_scale=s1_scale, s2_offset=s2_offset, catalog=found, threads=os.cpu_count() or 1
    )


class PatchDataset(Dataset):
    """Crops of patches with labels; a batch comes as one dict, already stacked.

    `rows` are positions in `source.catalog`. Modes: "random" (one crop per row, a pure function of seed,
    epoch and index), "centre" (one crop) and "tile" (crops that together cover the patch; `len` counts
    crops).

    A sample: s1 (2, H, W) float32 in dB, s2 (13, H, W) float32 reflectance, index () int64 (row in the
    catalog), group () int64 (overlap group); with `labels` mask (H, W) int64 (255 = ignore), label ()
    int64 (majority class of the crop, 255 if none) and multilabel (8,) float32 (class covers at least
    10 %). Invalid pixels are NaN in the images, and `valid` (H, W) bool marks the others; it is there only
    if a batch has invalid pixels, and `Normalise` fills them. With `statistics` the images come standardised
    and filled, in one pass that is faster than two. Memory of batches nobody holds is used again.
    """

    def __init__(
        self,
        source: Source,
        rows: Sequence[int],
        crop: int,
        mode: str = "random",
        labels: bool = False,
        seed: int = 0,
        statistics: Statistics | None = None,
        coarse: bool = False,
    ) -> None:
        size = source.patch_size
        if mode not in MODES:
            raise ConfigError(f"crop mode {mode!r}: choose one of {', '.join(MODES)}")
        if not 0 < crop <= size:
            raise ConfigError(f"crop {crop}: the patches are {size} px wide; choose 1 to {size}")
        self.source, self.crop, self.mode, self.labels, self.seed = source, crop, mode, labels, seed
        self.rows = np.asarray(rows, dtype=np.int64)
        if self.rows.size and not 0 <= self.rows.min() <= self.rows.max() < len(source.catalog):
            raise ConfigError(f"rows up to {self.rows.max()}: the catalog has {len(source.catalog)}")
        self.epoch, self.coarse, self.statistics = 0, coarse, statistics
        self._affine = Affine.standardise(statistics) if statistics else Affine.physical()
        starts = [*range(0, size - crop, crop), size - crop]
        self._tiles = (
            [(y, x) for y in starts for x in starts] if mode == "tile" else [((size - crop) // 2,) * 2]
        )
        self._group = np.unique(source.catalog["group"].astype(str), return_inverse=True)[1]
        self._buffers = Buffers()

    def __len__(self) -> int:
        return len(self.rows) * len(self._tiles)

    def set_epoch(self, epoch: int) -> None:
        """Choose the random crops of an epoch."""
        self.epoch = epoch

    def place(self, index: int) -> tuple[int, int, int]:
        """Row, top and left of the crop with this index."""
        row, tile = divmod(index, len(self._tiles))
        if self.mode == "random":
            span = self.source.patch_size - self.crop + 1
            draw = _mix(self.seed, self.epoch, index)
            top, left = (draw >> 32) * span >> 32, (draw & 0xFFFFFFFF) * span >> 32
        else:
            top, left = self._tiles[tile]
        return int(self.rows[row]), top, left

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index}: the data set has {len(self)} crops")
        batch = self.__getitems__([index])
        if not len(batch["index"]):
            raise DataError(
                f"{self.source.catalog['id'][self.place(index)[0]]}: less than 90 % of it is valid"
            )
        return {key: value[0] for key, value in batch.items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        places = [self.place(int(i)) for i in indices]
        n, c = len(places), self.crop
        s1 = self._buffers.take((n, len(S1_BANDS), c, c))
        s2 = self._buffers.take((n, len(S2_BANDS), c, c))
        valid, keep = self._fill(places, s1, s2)
        rows = np.array([row for row, _, _ in places], dtype=np.int64)
        batch = {"s1": torch.from_numpy(s1), "s2": torch.from_numpy(s2)}
        if valid is not None:
            batch["valid"] = torch.from_numpy(valid)
            if self.statistics:
                batch = {k: v.nan_to_num_(nan=0.0) if k in ("s1", "s2") else v for k, v in batch.items()}
        if self.labels:
            batch |= self._labels(places)
        batch |= {"index": torch.from_numpy(rows), "group": torch.from_numpy(self._group[rows])}
        if not keep.all():
            batch = {key: value[torch.from_numpy(keep)] for key, value in batch.items()}
        return batch

    def _fill(
        self, places: list[tuple[int, int, int]], s1: np.ndarray, s2: np.ndarray
    ) -> tuple[np.ndarray | None, np.ndarray]:
        """Read all crops; returns masks of valid pixels (B, H, W), if any, and which samples to keep (B,)."""
        valid, keep = None, np.ones(len(places), bool)
        for k, (row, top, left) in enumerate(places):
            mask = self.source.fill(row, top, left, s1[k], s2[k], self._affine)
            if mask is not None:
                if valid is None:
                    valid = np.ones((len(places), self.crop, self.crop), bool)
                valid[k] = mask
                keep[k] = self.source.usable(row)
        return valid, keep

    def _labels(self, places: list[tuple[int, int, int]]) -> dict[str, Tensor]:
        mask = np.stack([self.source.mask(*place, self.crop, self.coarse) for place in places])
        counts = np.stack([class_counts(m) for m in mask])  # (B, 8)
        label = np.array([majority_of(c) for c in counts], dtype=np.int64)
        multilabel = (counts >= COVERAGE * self.crop**2).astype(np.float32)
        return {
            "mask": torch.from_numpy(mask.astype(np.int64)),
            "label": torch.from_numpy(label),
            "multilabel": torch.from_numpy(multilabel),
        }


def _mix(*values: int) -> int:
    """64 well mixed bits from small integers (SplitMix64, Steele et al. 2014)."""
    state = 0
    for value in values:
        state = (state + (value & 0xFFFFFFFFFFFFFFFF) + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state
