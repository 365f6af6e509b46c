"""A data set as the trainers see it: a catalog with splits, statistics, and windows of patches as arrays."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from eo_ssl.data import layouts, splits
from eo_ssl.data.statistics import Statistics
from eo_ssl.errors import DataError
from eo_ssl.sensors import IGNORE, NUM_CLASSES, S1_BANDS, S2_BANDS

LEAST_VALID = 0.9  # patches with a smaller share of valid pixels are left out


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
        one, zero = np.ones((1, 1, 1), np.float32), np.zeros((1, 1, 1), np.float32)
        ones = [np.repeat(one, len(bands), 0) for bands in (S1_BANDS, S2_BANDS)]
        zeros = [np.repeat(zero, len(bands), 0) for bands in (S1_BANDS, S2_BANDS)]
        return cls(ones[0], zeros[0], ones[1], zeros[1])

    @classmethod
    def standardise(cls, statistics: Statistics) -> "Affine":
        """(x − mean) / sd."""
        parts = []
        for key in ("s1", "s2"):
            mean = np.array(getattr(statistics, f"{key}_mean"))
            std = np.array(getattr(statistics, f"{key}_std"))
            parts += [(1 / std).astype(np.float32), (-mean / std).astype(np.float32)]
        return cls(*(part.reshape(-1, 1, 1) for part in parts))


class Source(ABC):
    """Patches of one data set, from GeoTIFF files or from a packed store.

    `catalog` is the DataFrame of `eo_ssl.data.catalog.find` with splits assigned; a row is named by its
    position. Patches that cannot be used have an empty split, and `left_out` says why (id → reason).
    """

    kind: str

    def __init__(self, path: Path, catalog: pd.DataFrame, seed: int, holdout: str | Path | None) -> None:
        self.path = path
        self.left_out: dict[str, str] = self._unusable(catalog)
        usable = ~catalog["id"].isin(list(self.left_out))
        assigned = splits.assign(catalog[usable], seed, holdout)
        self.catalog = catalog.assign(split=assigned["split"].reindex(catalog.index, fill_value=""))
        self.catalog.attrs = {**catalog.attrs, **assigned.attrs, "left_out": self.left_out}
        self.name = str(catalog.attrs.get("name", path.name))
        self.version = str(catalog.attrs.get("version", ""))
        self.notes: list[str] = assigned.attrs["notes"]

    def _unusable(self, catalog: pd.DataFrame) -> dict[str, str]:
        reasons = {}
        for sensor in ("s1", "s2"):
            reasons |= dict.fromkeys(catalog["id"][catalog[sensor] == ""], f"no {sensor} file")
        unlabelled = (catalog["dataset"] == "dfc2020") & (catalog["dfc"] == "")
        reasons |= dict.fromkeys(catalog["id"][unlabelled], "no dfc file")
        known = catalog["id"].isin(layouts.KNOWN_BROKEN)
        return reasons | dict.fromkeys(catalog["id"][known], "known to hold NaN")

    @property
    @abstractmethod
    def patch_size(self) -> int:
        """Width and height of the patches in pixels."""

    @abstractmethod
    def fill(
        self, row: int, top: int, left: int, s1: np.ndarray, s2: np.ndarray, affine: Affine
    ) -> np.ndarray | None:
        """Read a window into s1 (2, H, W) and s2 (13, H, W) float32; its size is that of the arrays.

        Returns the mask of valid pixels (H, W) bool, or None if all are; invalid ones are NaN in the arrays.
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
    def _statistics(self, rows: np.ndarray) -> Statistics: ...

    @abstractmethod
    def _majority(self, rows: np.ndarray) -> np.ndarray: ...

    def rows(self, *names: str) -> np.ndarray:
        """Positions in the catalog of the rows of one or more splits, int64."""
        return np.flatnonzero(self.catalog["split"].isin(names).to_numpy())

    def stats(self, split: str = "pretrain") -> Statistics:
        """Mean and standard deviation per band over one training split.

        Raises `DataError` for a split that is not training data, and where the split is empty.
        """
        if split not in ("pretrain", "train"):
            raise DataError(
                f"statistics of split {split!r}: only training data may be used (pretrain or train)"
            )
        rows = self.rows(split)
        if not len(rows):
            raise DataError(f"{self.path}: no patches in split {split!r}")
        return self._statistics(rows)

    def majority(self, rows: np.ndarray | list[int]) -> np.ndarray:
        """Majority class of each patch over its whole label map, int64 (N,); 255 where no pixel has one."""
        return self._majority(np.asarray(rows, dtype=np.int64))

    def read(self, row: int) -> dict[str, np.ndarray]:
        """One whole patch in physical units: s1 (2, H, W) dB, s2 (13, H, W) reflectance, valid (H, W)."""
        size = self.patch_size
        s1 = np.empty((len(S1_BANDS), size, size), np.float32)
        s2 = np.empty((len(S2_BANDS), size, size), np.float32)
        valid = self.fill(row, 0, 0, s1, s2, Affine.physical())
        return {"s1": s1, "s2": s2, "valid": np.ones((size, size), bool) if valid is None else valid}


def class_counts(mask: np.ndarray) -> np.ndarray:
    """Pixels of each of the eight classes in a label map, int64 (8,)."""
    return np.bincount(mask.ravel(), minlength=256)[:NUM_CLASSES]


def majority_of(counts: np.ndarray) -> int:
    """The most frequent class, 255 if there is none.

    >>> majority_of(np.array([0, 5, 2])), majority_of(np.array([0, 0]))
    (1, 255)
    """
    return int(counts.argmax()) if counts.any() else IGNORE
