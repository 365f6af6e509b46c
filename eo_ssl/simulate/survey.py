"""A survey of a labelled data set: fidelity and difficulty of many patches in one pass."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from chapters.a1 import (
    WATER,
    ClassSums,
    Texture,
    class_means,
    class_sums,
    median_texture,
    speckle,
    texture,
)
from eo_ssl.sensors import NUM_CLASSES
from eo_ssl.simulate.difficulty import band_statistics, majority

if TYPE_CHECKING:
    from eo_ssl.data.source import Source

LABELLED = ("train", "val", "test")
LARGEST_WATER = 0.02  # a patch with less water than this is land


@dataclass(frozen=True)
class Patch:
    """One labelled patch: s1 (2, H, W) dB, s2 (13, H, W) reflectance, label (H, W), region and split."""

    s1: np.ndarray
    s2: np.ndarray
    label: np.ndarray
    region: str
    split: str


@dataclass
class Survey:
    """What was measured: sums per class and region, texture of land, speckle on water, band statistics."""

    sums: dict[str, ClassSums] = field(default_factory=dict)
    textures: list[Texture] = field(default_factory=list)
    speckles: list[tuple[float, float]] = field(default_factory=list)
    features: list[np.ndarray] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)
    shares: list[np.ndarray] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)

    def add(self, patch: Patch) -> None:
        """Measure one more patch."""
        sums = class_sums(patch.s1, patch.s2, patch.label)
        self.sums[patch.region] = self.sums[patch.region] + sums if patch.region in self.sums else sums
        if (patch.label == WATER).mean() < LARGEST_WATER:
            self.textures.append(texture(patch.s1, patch.s2))
        self.speckles += speckle(patch.s1[0], patch.label)
        self.features.append(band_statistics(patch.s1, patch.s2))
        self.classes.append(majority(patch.label))
        counts = np.bincount(patch.label.ravel(), minlength=256)[:NUM_CLASSES]
        self.shares.append(counts / patch.label.size)
        self.splits.append(patch.split)

    @property
    def means(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean S1 (8, 2), mean S2 (8, 13) and number of regions per class."""
        return class_means(list(self.sums.values()))

    @property
    def texture(self) -> Texture:
        """Median texture of the land patches."""
        return median_texture(self.textures)

    @property
    def speckle(self) -> tuple[float, float]:
        """Median looks and median lag-1 autocorrelation of intensity on water."""
        looks, lag = np.median(self.speckles, axis=0)
        return float(looks), float(lag)

    def table(self, *splits: str) -> tuple[np.ndarray, np.ndarray]:
        """Band statistics (N, 30) and majority classes (N,) of the patches of some splits."""
        chosen = np.isin(self.splits, splits)
        return np.array(self.features)[chosen], np.array(self.classes)[chosen]


def survey(patches: Iterable[Patch]) -> Survey:
    """Measure every patch."""
    result = Survey()
    for patch in patches:
        result.add(patch)
    return result


def patches_of(source: "Source", per_region: int = 60, seed: int = 0) -> Iterator[Patch]:
    """Labelled patches of an open data set, at most `per_region` from each region, drawn by `seed`."""
    split = source.catalog["split"].to_numpy()
    region = source.catalog["region"].to_numpy()
    labelled = np.isin(split, LABELLED)
    rng = np.random.default_rng(seed)
    for name in sorted(set(region[labelled])):
        rows = rng.permutation(np.flatnonzero(labelled & (region == name)))[:per_region]
        for row in rows.tolist():
            images = source.read(row)
            label = source.mask(row, 0, 0, source.patch_size)
            yield Patch(images["s1"], images["s2"], label, str(name), str(split[row]))
