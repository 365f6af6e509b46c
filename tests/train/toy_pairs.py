"""A data source in memory: radar and optical noise that share a pattern, so that pairs can be told apart."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from eo_ssl.data.source import Affine
from eo_ssl.data.statistics import Statistics, band_sums

SCENES, PER_SCENE = 10, 8


class Toy:
    """What a data source does, with s1 (N, 2, H, W), s2 (N, 13, H, W) and a catalogue in memory."""

    path = Path("toy")
    level = "L1C"
    notes: tuple[str, ...] = ()
    left_out: ClassVar[dict[str, str]] = {}
    gaps = False  # whether it tells of NaN
    unusable: tuple[int, ...] = ()

    def fill(
        self, row: int, top: int, left: int, s1: np.ndarray, s2: np.ndarray, affine: Affine
    ) -> np.ndarray | None:
        window = (slice(None), slice(top, top + s1.shape[1]), slice(left, left + s1.shape[2]))
        s1[:] = self.s1[row][window] * affine.s1_scale + affine.s1_shift
        s2[:] = self.s2[row][window] * affine.s2_scale + affine.s2_shift
        valid = np.isfinite(s1).all(0)
        return valid if self.gaps and not valid.all() else None

    def rows(self, *names: str) -> np.ndarray:
        return np.flatnonzero(self.catalog["split"].isin(names))

    def usable(self, row: int) -> bool:
        return row not in self.unusable

    def stats(self, split: str = "pretrain") -> Statistics:
        rows = np.flatnonzero(self.catalog["split"] == split)
        return Statistics.from_sums(sum(band_sums(self.s1[i], self.s2[i]) for i in rows))


class ToySource(Toy):
    """80 patches of 24 px in ten scenes of 4 × 2 overlapping patches; the last two scenes are held out."""

    patch_size = 24

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        n = SCENES * PER_SCENE
        scene = np.repeat(np.arange(SCENES), PER_SCENE)
        pattern = rng.normal(size=(n, 3, 1, 1)) + rng.normal(size=(n, 3, 24, 24)) * 0.2
        mix1, mix2 = rng.normal(size=(2, 3)), rng.normal(size=(13, 3))
        self.s1 = np.einsum("cp,nphw->nchw", mix1, pattern).astype(np.float32) * 3 - 12
        self.s2 = np.einsum("cp,nphw->nchw", mix2, pattern).astype(np.float32) * 0.05 + 0.2
        names = [f"scene{s}" for s in scene]
        row, col = np.tile(np.repeat(np.arange(2), 4), SCENES), np.tile(np.arange(4), 2 * SCENES)
        split = np.where(scene < SCENES - 2, "pretrain", "pretrain_val")
        self.catalog = pd.DataFrame(
            {"id": [f"patch{i}" for i in range(n)], "scene": names, "group": names, "row": row, "col": col}
        ).assign(split=split, s1="a.tif", s2="b.tif", lc="c.tif", dfc="")
        self.catalog.attrs = {"name": "toy", "version": "0", "root": "toy"}
