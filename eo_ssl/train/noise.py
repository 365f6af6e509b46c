"""Data that cost nothing to read: noise in the form of patches, to measure what else takes time."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from eo_ssl.data.source import Affine
from eo_ssl.data.statistics import Statistics
from eo_ssl.sensors import NUM_CLASSES, S1_BANDS, S2_BANDS
from eo_ssl.train.finetune_data import Patches

NOISE = Statistics((0.0,) * 2, (1.0,) * 2, (0.0,) * 13, (1.0,) * 13)


class NoiseSource:
    """As many patches as one likes, all cut from one noisy image: a data set that costs no reading."""

    path = Path("noise")

    def __init__(self, patches: int, patch_size: int) -> None:
        self.patch_size = patch_size
        rng = np.random.default_rng(0)
        self.image = rng.normal(size=(len(S1_BANDS) + len(S2_BANDS), patch_size, patch_size)).astype(
            np.float32
        )
        scene = np.arange(patches) // 8
        frame = pd.DataFrame({"scene": scene, "group": scene, "row": 0, "col": np.arange(patches) % 8})
        held = np.arange(patches) >= patches - 4
        self.catalog = frame.assign(
            id="noise", split=np.where(held, "pretrain_val", "pretrain"), s1="s1", s2="s2"
        )

    def fill(self, row: int, top: int, left: int, s1: np.ndarray, s2: np.ndarray, affine: Affine) -> None:
        """A window of the one image."""
        window = self.image[:, top : top + s1.shape[-1], left : left + s1.shape[-1]]
        np.multiply(window[: len(s1)], affine.s1_scale, out=s1)
        np.multiply(window[len(s1) :], affine.s2_scale, out=s2)

    def usable(self, row: int) -> bool:
        """Always."""
        return True

    def stats(self, split: str = "pretrain") -> Statistics:
        """Mean 0, deviation 1."""
        return NOISE


def two_samples(side: int) -> dict[str, Tensor]:
    """Two samples of noise."""
    return {"s1": torch.randn(2, len(S1_BANDS), side, side), "s2": torch.randn(2, len(S2_BANDS), side, side)}


def noise_patches(side: int) -> Patches:
    """Eight labelled patches of noise."""
    images = (torch.randn(8, n, side, side).half() for n in (len(S1_BANDS), len(S2_BANDS)))
    mask = torch.randint(NUM_CLASSES, (8, side, side), dtype=torch.uint8)
    return Patches(*images, mask, list(range(8)), np.arange(8))
