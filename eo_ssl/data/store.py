"""The packed store: one memory-mapped file per scene, read by row ranges.

    store.json               format, bands, units, patch size, data set, checksums of all shards
    catalog.parquet          the catalog, plus shard, slot, share of valid pixels and majority class
    shards/<scene>.images    (N, H, 15, W) 16 bit: per line VV, VH as int16, then B01…B12 as uint16
    shards/<scene>.labels    (N, H, 2, W) uint8: per line the DFC-10 code (0 if none) and the IGBP code
    shards/<scene>.sums.npy  (N, 3, 15) float64: count, sum and sum of squares of valid pixels
    shards/<scene>.json      what the shard was made from, and its checksums

Bands are interleaved by line, so the rows of a crop with all bands and both sensors are one contiguous piece.

Exactness: S2 and labels are stored as they are. S1 is rounded to 0.005 dB (error at most 0.0025 dB, a
thousandth of the speckle), −163.8 to 163.8 dB, and NaN stays NaN.
"""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eo_ssl import files
from eo_ssl.data.source import LEAST_VALID, Affine, Source
from eo_ssl.data.statistics import Statistics, Sums
from eo_ssl.errors import DataError
from eo_ssl.sensors import DFC10_TO_EIGHT, DN_PER_REFLECTANCE, IGBP_TO_EIGHT, S1_BANDS, S2_BANDS

FORMAT = "eo_ssl store"
VERSION = 1
STEP = 0.005  # dB
INVALID = -32768
LIMIT = 32767
CHANNELS = len(S1_BANDS) + len(S2_BANDS)
_RADAR = len(S1_BANDS)


def quantise(db: np.ndarray) -> np.ndarray:
    """Backscatter in dB to int16 steps of 0.005 dB; NaN and infinities become the invalid code.

    >>> quantise(np.array([-12.3456, np.nan])).tolist()
    [-2469, -32768]
    """
    steps = np.rint(np.clip(np.nan_to_num(db, nan=0.0), -STEP * LIMIT, STEP * LIMIT) / STEP)
    return np.where(np.isfinite(db), steps, INVALID).astype(np.int16)


def is_store(path: str | Path) -> bool:
    """True if the folder is a finished store."""
    return (Path(path) / "store.json").is_file()


class StoreSource(Source):
    """A packed store, opened read-only; files are mapped when first used."""

    kind = "store"

    def __init__(
        self, path: Path, seed: int = 0, holdout: str | Path | None = None, s2_offset: int | None = None
    ) -> None:
        self.info = _read_info(path)
        catalog = pd.read_parquet(path / "catalog.parquet")
        catalog.attrs = {**self.info["data"], "root": str(path)}
        super().__init__(path, catalog, seed, holdout)
        self._shard = catalog["shard"].to_numpy()
        self._slot = catalog["slot"].to_numpy()
        self._fine = (catalog["dfc"] != "").to_numpy()
        self._holes = (catalog["valid"] < 1).to_numpy()
        offset = catalog["s2_offset"].to_numpy()
        self._offset = offset if s2_offset is None else np.full(len(catalog), s2_offset)
        self._maps: dict[tuple[str, str], np.ndarray] = {}
        self._local = threading.local()

    def _unusable(self, catalog: pd.DataFrame) -> dict[str, str]:
        low = catalog[catalog["valid"] < LEAST_VALID]
        shares = {i: f"{share:.0%} valid" for i, share in zip(low["id"], low["valid"])}
        return super()._unusable(catalog) | shares

    @property
    def patch_size(self) -> int:
        return int(self.info["patch_size"])

    def _map(self, shard: str, part: str) -> np.ndarray:
        found = self._maps.get((shard, part))
        if found is None:
            found = self._maps[shard, part] = open_part(self.path, shard, part, self.patch_size)
        return found

    def fill(
        self, row: int, top: int, left: int, s1: np.ndarray, s2: np.ndarray, affine: Affine
    ) -> np.ndarray | None:
        size = s1.shape[-1]
        lines = self._map(self._shard[row], "images")[self._slot[row], top : top + size]
        raw = self._scratch(size)  # copying first, then converting contiguous values, is the fastest way
        raw[...] = lines[:, :, left : left + size].transpose(1, 0, 2)  # (H, 15, W) → (15, H, W)
        radar, numbers = raw[:_RADAR].view(np.int16), raw[_RADAR:]
        np.multiply(radar, affine.s1_scale * np.float32(STEP), out=s1)
        s1 += affine.s1_shift
        scale = affine.s2_scale * np.float32(1 / DN_PER_REFLECTANCE)
        np.multiply(numbers, scale, out=s2)
        offset = self._offset[row]
        s2 += affine.s2_shift - np.float32(offset) * scale if offset else affine.s2_shift
        return self._holes_in(radar, numbers, s1, s2) if self._holes[row] else None

    def _holes_in(
        self, radar: np.ndarray, numbers: np.ndarray, s1: np.ndarray, s2: np.ndarray
    ) -> np.ndarray | None:
        s1[radar == INVALID] = np.nan
        optical = numbers.any(0)
        s2[:, ~optical] = np.nan
        valid = (radar != INVALID).all(0) & optical
        return None if valid.all() else valid

    def _scratch(self, size: int) -> np.ndarray:
        held = getattr(self._local, "raw", None)
        if held is None or held.shape[-1] != size:
            held = self._local.raw = np.empty((CHANNELS, size, size), np.uint16)
        return held

    def mask(self, row: int, top: int, left: int, size: int, coarse: bool = False) -> np.ndarray:
        fine = self._fine[row] and not coarse
        lines = self._map(self._shard[row], "labels")[self._slot[row], top : top + size]
        return (DFC10_TO_EIGHT if fine else IGBP_TO_EIGHT)[lines[:, 0 if fine else 1, left : left + size]]

    def _statistics(self, rows: np.ndarray) -> Statistics:
        total = np.zeros((3, CHANNELS))
        for shard, part in pd.Series(self._slot[rows]).groupby(self._shard[rows]):
            total += np.load(self.path / "shards" / f"{shard}.sums.npy")[part.to_numpy()].sum(0)
        return Sums(*total).statistics()

    def _majority(self, rows: np.ndarray) -> np.ndarray:
        return self.catalog["majority"].to_numpy()[rows].astype(np.int64)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}, "_local": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._local = threading.local()


def open_part(path: Path, shard: str, part: str, size: int) -> np.ndarray:
    """Map the images (N, H, 15, W) or labels (N, H, 2, W) of a shard; `DataError` if the size is wrong."""
    bands, dtype = (CHANNELS, np.uint16) if part == "images" else (2, np.uint8)
    file = path / "shards" / f"{shard}.{part}"
    try:
        flat = np.memmap(file, dtype=dtype, mode="r")
        return np.asarray(flat).reshape(-1, size, bands, size)
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: missing or damaged ({error}); pack the data again") from error


def _read_info(path: Path) -> dict[str, Any]:
    info = files.read_json(path / "store.json")
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        raise DataError(f"{path}: store.json does not describe a packed store")
    if info.get("version") != VERSION:
        raise DataError(
            f"{path}: store version {info.get('version')}, this program reads {VERSION}; pack again"
        )
    return info
