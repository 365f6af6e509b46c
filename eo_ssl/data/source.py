"""A data set as the trainers see it: a catalog with splits, statistics, and windows of patches as arrays."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from eo_ssl import files, sensors
from eo_ssl.data import geotiff, splits
from eo_ssl.data.catalog import KNOWN_BROKEN, SENSORS, Card
from eo_ssl.data.statistics import NO_SUMS, Statistics, band_sums
from eo_ssl.errors import DataError
from eo_ssl.sensors import B10, DN_PER_REFLECTANCE, IGNORE, NUM_CLASSES, S1_BANDS, S2_BANDS, level_change

LEAST_VALID = 0.9  # patches with a smaller share of valid pixels are left out
STATISTICS_PATCHES = 4000  # read from files, enough for means to three digits; a store counts every patch
THREADS = 4


@dataclass(frozen=True)
class Affine:
    """value · scale + shift per band, folded into the conversion from disk units; (C, 1, 1) float32."""

    s1_scale: np.ndarray
    s1_shift: np.ndarray
    s2_scale: np.ndarray
    s2_shift: np.ndarray

    @classmethod
    def physical(cls) -> "Affine":
        """Leave dB and reflectance as they are."""
        shapes = [(len(bands), 1, 1) for bands in (S1_BANDS, S2_BANDS)]
        return cls(*(make(shape, np.float32) for shape in shapes for make in (np.ones, np.zeros)))

    @classmethod
    def standardise(cls, statistics: Statistics, level: str = "L1C") -> "Affine":
        """(x − mean) / sd, where S2 of another product `level` than that of the statistics is converted first.

        A band that the change of level leaves without a value (B10) becomes the mean, 0.
        """
        known = ((statistics.s1_mean, statistics.s1_std), (statistics.s2_mean, statistics.s2_std))
        (mean1, std1), (mean2, std2) = map(np.array, known)
        scale, shift = level_change(level, statistics.level)
        parts = (1 / std1, -mean1 / std1, scale / std2, (shift - mean2) / std2)
        return cls(*(np.nan_to_num(part)[:, None, None].astype(np.float32) for part in parts))


class Source(ABC):
    """Patches of one data set, from GeoTIFF files or from a packed store.

    `catalog` is the DataFrame of `eo_ssl.data.catalog.find` with splits assigned; a row is named by its position.
    Patches that cannot be used have an empty split, and `left_out` says why (id → reason).
    """

    def __init__(self, path: Path, catalog: pd.DataFrame, seed: int, holdout: str | Path | None) -> None:
        self.path = path
        reasons = unusable(catalog)
        valid = catalog.get("valid", pd.Series(1.0, catalog.index))  # a store knows it before reading
        low = valid < LEAST_VALID
        self._unusable = {row.id: f"{row.valid:.0%} valid" for row in catalog[low].itertuples()} | reasons
        # Drawn from the same rows whether it is known yet or not how much of each is valid.
        assigned = splits.assign(catalog[~catalog["id"].isin(list(reasons))], seed, holdout)
        split = assigned["split"].reindex(catalog.index, fill_value="")
        self.catalog = catalog.assign(split=split.mask(low, ""))
        self.catalog.attrs = {**catalog.attrs, **assigned.attrs}
        self.name, self.version = catalog.attrs["name"], catalog.attrs["version"]
        self.level: str = catalog.attrs.get("level", "L1C")
        self.notes: list[str] = assigned.attrs["notes"]

    @property
    def left_out(self) -> dict[str, str]:
        """Patches that are not used and why."""
        return self._unusable

    def report(self) -> str:
        """How the patches were split and what was left out and why, in lines for people."""
        counts = self.catalog["split"].value_counts()
        parts = [f"{counts[name]:,} {name}" for name in splits.NAMES if name in counts]
        lines = [f"{self.name} {self.version}".strip() + f": {', '.join(parts) or 'nothing to use'}"]
        lines += [f"note: {note}" for note in self.notes]
        left_out = pd.Series(self.left_out, dtype=object)
        for reason, count in left_out.value_counts().head(8).items():
            more = f" and {count - 1:,} more" if count > 1 else ""
            lines.append(f"left out: {left_out.index[left_out == reason][0]}{more}: {reason}")
        return "\n".join(lines)

    @property
    @abstractmethod
    def patch_size(self) -> int:
        """Width and height of the patches in pixels."""

    @abstractmethod
    def fill(
        self, row: int, top: int, left: int, s1: np.ndarray, s2: np.ndarray, affine: Affine
    ) -> np.ndarray | None:
        """Read a window into s1 (2, H, W) and s2 (13, H, W) float32, invalid pixels as NaN; its size is theirs.

        Returns the mask of valid pixels (H, W) bool, or None if all are.
        """

    @abstractmethod
    def mask(self, row: int, top: int, left: int, size: int, coarse: bool = False) -> np.ndarray:
        """Eight-class label map (size, size) uint8, 255 = ignore, of a window.

        The fine map (`dfc`) where there is one, otherwise, or with `coarse`, the MODIS map (`lc`).
        """

    def usable(self, row: int) -> bool:
        """False if the patch turned out to be less than 90 % valid when it was read."""
        return True

    @abstractmethod
    def majority(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Majority class of each patch over its whole label map, int64 (N,); 255 where no pixel has one."""

    @abstractmethod
    def _statistics(self, rows: np.ndarray) -> Statistics:
        """Mean and standard deviation over the patches of some rows."""

    def unmap(self) -> None:  # noqa: B027
        """Let go of what is mapped into memory, which counts for this process once it was read; reading maps it again."""

    def stats(self, split: str = "pretrain") -> Statistics:
        """Mean and standard deviation per band over a training split; `DataError` for another or an empty one."""
        if split not in ("pretrain", "train"):
            raise DataError(f"statistics of {split!r}: only training data may be used (pretrain or train)")
        rows = self.rows(split)
        if not len(rows):
            raise DataError(f"{self.path}: no patches in split {split!r}")
        return replace(self._statistics(rows), level=self.level)

    def rows(self, *names: str) -> np.ndarray:
        """Positions in the catalog of the rows of one or more splits, int64.

        Where no patch is for pretraining alone, "pretrain" are the training patches, "pretrain_val" those of validation.
        """
        split = self.catalog["split"]
        return np.flatnonzero(split.isin(names) | splits.for_pretraining(split).isin(names))

    def read(self, row: int) -> dict[str, np.ndarray]:
        """One whole patch in physical units: s1 (2, H, W) dB, s2 (13, H, W) reflectance, valid (H, W)."""
        size = self.patch_size
        s1, s2 = (np.empty((len(bands), size, size), np.float32) for bands in (S1_BANDS, S2_BANDS))
        valid = self.fill(row, 0, 0, s1, s2, Affine.physical())
        return {"s1": s1, "s2": s2, "valid": np.ones((size, size), bool) if valid is None else valid}


def unusable(catalog: pd.DataFrame) -> dict[str, str]:
    """Why patches cannot be used, by id, as far as their names and headers say it."""
    reasons = catalog["reason"].mask(catalog["id"].isin(KNOWN_BROKEN), "known to hold NaN")
    for sensor, wanted in (("dfc", catalog["dataset"] != "sen12ms"), ("s2", True), ("s1", True)):
        reasons = reasons.mask((catalog[sensor] == "") & wanted, f"no {sensor} file")
    return dict(zip(catalog["id"][reasons != ""], reasons[reasons != ""]))


class TiffSource(Source):
    """GeoTIFF files below a root, read in place: whole the first time, to know how much is valid, then by window."""

    def __init__(self, path: Path, catalog: pd.DataFrame, seed: int = 0) -> None:
        self.card: Card = catalog.attrs["card"]
        super().__init__(path, catalog, seed, self.card.holdout_below(path))
        self._patches = self.catalog[["id", "scene", *SENSORS]].to_dict("records")
        self._shares: dict[int, float] = {}  # share of valid pixels of the rows that were read

    @property
    def left_out(self) -> dict[str, str]:
        low = {row: share for row, share in list(self._shares.items()) if share < LEAST_VALID}
        return self._unusable | {self._patches[row]["id"]: f"{share:.0%} valid" for row, share in low.items()}

    @cached_property
    def patch_size(self) -> int:
        patch = next((p for p in self._patches if p["s2"] and p["id"] not in self._unusable), None)
        if patch is None:
            raise DataError(f"{self.path}: no complete patch; see `eo-ssl data check {self.path}`")
        return int(geotiff.read_header(self.path / patch["s2"]).width)

    def fill(
        self, row: int, top: int, left: int, s1: np.ndarray, s2: np.ndarray, affine: Affine
    ) -> np.ndarray | None:
        size = s1.shape[-1]
        window = None if row not in self._shares or size == self.patch_size else (top, left, size)
        db, numbers, offset = read_pair(self.path, self._patches[row], self.card, self.patch_size, window)
        if window is None:
            valid = valid_pixels(db, numbers)
            self._shares[row] = 1.0 if valid is None else float(valid.mean())
            part = (slice(None), slice(top, top + size), slice(left, left + size))
            db, numbers = db[part], numbers[part]
        np.multiply(db, affine.s1_scale, out=s1)
        s1 += affine.s1_shift
        to_reflectance(numbers, offset, affine.s2_scale, affine.s2_shift, s2)
        valid = valid_pixels(db, numbers) if self._shares[row] < 1 else None
        if valid is not None:
            s2[:, ~numbers.any(0)] = np.nan
        return valid

    def mask(self, row: int, top: int, left: int, size: int, coarse: bool = False) -> np.ndarray:
        sensor = "lc" if coarse or not self._patches[row]["dfc"] else "dfc"
        path = self._patches[row][sensor]
        if not path:
            return np.full((size, size), IGNORE, np.uint8)
        table = sensors.DFC10_TO_EIGHT if sensor == "dfc" else sensors.IGBP_TO_EIGHT
        return table[geotiff.read_labels(self.path / path, (top, left, size))]

    def usable(self, row: int) -> bool:
        if row not in self._shares:
            self.read(row)
        return self._shares[row] >= LEAST_VALID

    def _statistics(self, rows: np.ndarray) -> Statistics:
        rows = splits.evenly(rows, STATISTICS_PATCHES)
        state = [str(self.path.resolve()), self.catalog.attrs["state"], self.card.units(), rows.tolist()]
        key = hashlib.sha256(json.dumps(state).encode()).hexdigest()[:24]
        cache = files.cache_dir() / "statistics" / f"{key}.json"
        if cache.is_file():
            known = files.read_json(cache)
            self._shares |= {int(row): share for row, share in known["shares"].items()}
            return Statistics.from_dict(known["statistics"])

        def sums(row: int) -> np.ndarray:
            patch = self.read(row)
            return band_sums(patch["s1"], patch["s2"]) if self.usable(row) else NO_SUMS

        result = Statistics.from_sums(sum(self._each(sums, rows, "statistics"), NO_SUMS), str(self.path))
        shares = {str(row): self._shares[row] for row in rows.tolist() if self._shares[row] < 1}
        with suppress(OSError):  # a cache that cannot be written costs time at the next start, nothing else
            files.write_json(cache, {"statistics": result.to_dict(), "shares": shares})
        return result

    def majority(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        def of(row: int) -> int:
            return majority_of(class_counts(self.mask(row, 0, 0, self.patch_size)))

        return np.array(self._each(of, rows, "labels"), dtype=np.int64)

    def _each(self, function: Callable[[int], Any], rows: Sequence[int] | np.ndarray, what: str) -> list[Any]:
        """The function of every row, read by several threads."""
        with ThreadPoolExecutor(THREADS) as pool:
            return list(tqdm(pool.map(function, map(int, rows)), what, len(rows), disable=None))


def read_pair(
    root: Path, patch: dict[str, str], card: Card, size: int, window: geotiff.Window = None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Both images of a patch (a row of the catalog): dB (2, H, W), digital numbers (13, H, W) and their offset.

    Raises `DataError` if a file is missing, cannot be read, or is not `size` pixels wide and high.
    """
    for sensor in ("s1", "s2"):
        if not patch[sensor]:
            raise DataError(f"{patch['id']}: no {sensor} file")
    db = geotiff.read_s1(root / patch["s1"], window, card.s1_scale, card.s1_unit)
    numbers, declared = geotiff.read_s2(root / patch["s2"], window, card.s2_bands)
    if window is None:
        geotiff.expect_size(root / patch["s1"], db, size)
        geotiff.expect_size(root / patch["s2"], numbers, size)
    return db, numbers, card.offset(patch, declared)


def to_reflectance(
    numbers: np.ndarray, offset: float, scale: np.ndarray, shift: np.ndarray, out: np.ndarray | None = None
) -> np.ndarray:
    """(number − offset) / 10,000 · scale + shift; a B10 that is 0 throughout is missing and has no offset.

    Shape: numbers (13, H, W), scale and shift (13, 1, 1) → (13, H, W) float32.
    """
    per_number = scale / np.float32(DN_PER_REFLECTANCE)
    added = np.full((len(S2_BANDS), 1, 1), offset, np.float32)
    added[B10] *= bool(offset and numbers[B10].any())
    out = np.multiply(numbers, per_number, out=out, dtype=np.float32)
    out += shift - added * per_number
    return out


def valid_pixels(db: np.ndarray, numbers: np.ndarray) -> np.ndarray | None:
    """Mask (H, W) of pixels with radar (no NaN) and optical data (not 0 in all bands); None if all are."""
    valid = np.isfinite(db).all(0) & numbers.any(0)
    return None if valid.all() else valid


def class_counts(mask: np.ndarray) -> np.ndarray:
    """Pixels of each of the eight classes in a label map, int64 (8,)."""
    return np.bincount(mask.ravel(), minlength=256)[:NUM_CLASSES]


def majority_of(counts: np.ndarray) -> int:
    """The most frequent class, 255 if there is none.

    >>> majority_of(np.array([0, 5, 2])), majority_of(np.array([0, 0]))
    (1, 255)
    """
    return int(counts.argmax()) if counts.any() else IGNORE
