"""Measures of patches, the same for real and for simulated ones.

S1 is in dB, S2 in reflectance, labels are the eight classes (255 = ignore); images are (bands, H, W).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from eo_ssl.sensors import NUM_CLASSES, S2_BANDS, band_index, to_linear

LAGS = (1, 2, 4, 16)
CIRRUS = 0.0040  # reflectance in B10 above which a pixel counts as cloud
WATER = 7
_WINDOW = 32  # edge in pixels of the homogeneous areas in which speckle is measured
_FEWEST = 300  # pixels of a class that make a region's mean


@dataclass(frozen=True)
class Texture:
    """Texture of one patch: autocorrelation of VV (dB) and B08 at `LAGS`, and two correlations between bands."""

    vv: tuple[float, ...]
    b08: tuple[float, ...]
    vv_vh: float
    vh_ndvi: float


@dataclass(frozen=True)
class ClassSums:
    """Pixels, sum of S1 (dB) and sum of S2 per class: (8,), (8, 2) and (8, 13)."""

    count: np.ndarray
    s1: np.ndarray
    s2: np.ndarray

    def __add__(self, other: "ClassSums") -> "ClassSums":
        return ClassSums(self.count + other.count, self.s1 + other.s1, self.s2 + other.s2)


def autocorrelation(image: np.ndarray, lag: int) -> float:
    """Correlation of an (H, W) image with itself `lag` pixels away, the mean of both directions.

    >>> stripes = np.tile([[0.0, 1.0]], (4, 8))
    >>> round(autocorrelation(stripes, 2), 2)
    1.0
    """
    centred = image - image.mean()
    variance = np.mean(centred**2)
    if variance == 0:
        return 1.0
    across = np.mean(centred[:, lag:] * centred[:, :-lag])
    down = np.mean(centred[lag:] * centred[:-lag])
    return float((across + down) / 2 / variance)


def texture(s1: np.ndarray, s2: np.ndarray, bands: tuple[str, ...] = S2_BANDS) -> Texture:
    """Measure one patch of land; `bands` names the channels of `s2`."""
    red, near = s2[band_index(("B04", "B08"), bands)]
    ndvi = (near - red) / np.maximum(near + red, 1e-4)
    lags = [lag for lag in LAGS if lag < near.shape[0] // 2]
    return Texture(
        tuple(autocorrelation(s1[0], lag) for lag in lags),
        tuple(autocorrelation(near, lag) for lag in lags),
        _correlation(s1[0], s1[1]),
        _correlation(s1[1], ndvi),
    )


def median_texture(patches: Iterable[Texture]) -> Texture:
    """Median of each measure over patches."""
    rows = list(patches)
    return Texture(
        tuple(np.median([row.vv for row in rows], axis=0).tolist()),
        tuple(np.median([row.b08 for row in rows], axis=0).tolist()),
        float(np.median([row.vv_vh for row in rows])),
        float(np.median([row.vh_ndvi for row in rows])),
    )


def looks(db: np.ndarray) -> float:
    """Equivalent number of looks of a homogeneous area, mean² / variance of linear power.

    >>> rng = np.random.default_rng(0)
    >>> round(looks(10 * np.log10(rng.gamma(5, 1 / 5, (400, 400)))), 1)
    5.0
    """
    power = to_linear(db)
    return float(power.mean() ** 2 / power.var())


def speckle(vv: np.ndarray, label: np.ndarray) -> list[tuple[float, float]]:
    """Looks, and lag-1 autocorrelation of intensity, in each window that holds nothing but water."""
    # Two pixels off the shore: the land next to it reaches that far into the image.
    water = ndimage.binary_erosion(label == WATER, iterations=2, border_value=1)
    found = []
    for y in range(0, vv.shape[0] - _WINDOW + 1, _WINDOW):
        for x in range(0, vv.shape[1] - _WINDOW + 1, _WINDOW):
            window = slice(y, y + _WINDOW), slice(x, x + _WINDOW)
            if water[window].all():
                found.append((looks(vv[window]), autocorrelation(to_linear(vv[window]), 1)))
    return found


def class_sums(s1: np.ndarray, s2: np.ndarray, label: np.ndarray) -> ClassSums:
    """Sums over pure pixels without cirrus.

    Pure means more than two pixels from another class, as in the reference sets, which were sampled inside
    large areas of one class.
    """
    clear = s2[S2_BANDS.index("B10")] < CIRRUS
    sums = ClassSums(
        np.zeros(NUM_CLASSES), np.zeros((NUM_CLASSES, 2)), np.zeros((NUM_CLASSES, len(S2_BANDS)))
    )
    for code in np.unique(label[label < NUM_CLASSES]):
        mask = ndimage.binary_erosion(label == code, iterations=2) & clear
        sums.count[code] = mask.sum()
        sums.s1[code] = s1[:, mask].sum(axis=1, dtype=np.float64)
        sums.s2[code] = s2[:, mask].sum(axis=1, dtype=np.float64)
    return sums


def class_means(regions: Sequence[ClassSums]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean S1 (8, 2), mean S2 (8, 13) and number of regions (8,): every region with enough pixels counts once."""
    s1, s2, number = (
        np.full((NUM_CLASSES, 2), np.nan),
        np.full((NUM_CLASSES, 13), np.nan),
        np.zeros(NUM_CLASSES),
    )
    for code in range(NUM_CLASSES):
        chosen = [r for r in regions if r.count[code] >= _FEWEST]
        number[code] = len(chosen)
        if chosen:
            s1[code] = np.mean([r.s1[code] / r.count[code] for r in chosen], axis=0)
            s2[code] = np.mean([r.s2[code] / r.count[code] for r in chosen], axis=0)
    return s1, s2, number


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
