"""A labelled data source in memory: four classes with their own levels in both sensors, in three regions."""

from pathlib import Path

import numpy as np
import pandas as pd

from eo_ssl.data.source import Affine
from eo_ssl.data.statistics import Statistics, Sums

PER_SPLIT = {"train": 24, "val": 8, "test": 12}
CLASSES = (0, 2, 5, 7)


class ToyLabels:
    """44 patches of 16 px, half of one class and half of the next; splits differ by region."""

    patch_size = 16
    path = Path("toy")

    def __init__(self, seed: int = 0, gaps: bool = False) -> None:
        rng = np.random.default_rng(seed)
        split = np.repeat(list(PER_SPLIT), list(PER_SPLIT.values()))
        n = len(split)
        first = np.array(CLASSES)[np.arange(n) % 4]
        second = np.array(CLASSES)[(np.arange(n) + 1) % 4]
        self.masks = np.repeat(first[:, None, None], 16, 1).repeat(16, 2).astype(np.uint8)  # (N, 16, 16)
        self.masks[:, 10:] = second[:, None, None]
        self.masks[:, 0, 0] = 255
        level = self.masks.astype(np.float32)[:, None] / 8  # (N, 1, 16, 16)
        self.s1 = -20 + 8 * level * np.ones((1, 2, 1, 1), np.float32) + rng.normal(size=(n, 2, 16, 16))
        self.s2 = 0.1 + 0.3 * level * np.linspace(-1, 1, 13)[None, :, None, None]
        self.s2 += 0.02 * rng.normal(size=self.s2.shape)
        if gaps:
            self.s1[::3, :, 3, 4] = np.nan
        self.catalog = pd.DataFrame(
            {
                "id": [f"patch{i}" for i in range(n)],
                "group": [f"patch{i}" for i in range(n)],
                "region": [f"region of {name}" for name in split],
                "split": split,
            }
        )

    def fill(
        self, row: int, top: int, left: int, s1: np.ndarray, s2: np.ndarray, affine: Affine
    ) -> np.ndarray | None:
        window = (slice(None), slice(top, top + s1.shape[1]), slice(left, left + s1.shape[2]))
        s1[:] = self.s1[row][window] * affine.s1_scale + affine.s1_shift
        s2[:] = self.s2[row][window] * affine.s2_scale + affine.s2_shift
        valid = np.isfinite(s1).all(0)
        return None if valid.all() else valid

    def mask(self, row: int, top: int, left: int, size: int, coarse: bool = False) -> np.ndarray:
        return self.masks[row, top : top + size, left : left + size]

    def usable(self, row: int) -> bool:
        return True

    def stats(self, split: str = "pretrain") -> Statistics:
        rows = np.flatnonzero(self.catalog["split"] == "train")
        return sum((Sums.of(self.s1[i], self.s2[i]) for i in rows), Sums.zero()).statistics()
