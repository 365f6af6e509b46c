"""A labelled data source in memory: four classes with their own levels in both sensors, in three regions."""

import numpy as np
import pandas as pd
from toy_pairs import Toy

from eo_ssl.data.source import class_counts, majority_of

PER_SPLIT = {"train": 24, "val": 8, "test": 12}
CLASSES = (0, 2, 5, 7)


class ToyLabels(Toy):
    """44 patches of 16 px, half of one class and half of the next; splits differ by region."""

    patch_size = 16

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
        self.gaps, ids = gaps, [f"patch{i}" for i in range(n)]
        if gaps:
            self.s1[::3, :, 3, 4] = np.nan
        regions = [f"region of {name}" for name in split]
        self.catalog = pd.DataFrame(
            {"id": ids, "s1": ids, "s2": ids, "group": ids, "region": regions, "split": split}
        )

    def majority(self, rows: np.ndarray) -> np.ndarray:
        return np.array([majority_of(class_counts(self.mask(row, 0, 0, self.patch_size))) for row in rows])

    def mask(self, row: int, top: int, left: int, size: int, coarse: bool = False) -> np.ndarray:
        return self.masks[row, top : top + size, left : left + size]
