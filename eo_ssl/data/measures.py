"""Small measurements on patches: indices, masks from the optical image, looks of speckle, band statistics."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from eo_ssl.data.samples import Pair


def normalised_difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(a − b)/(a + b), 0 where both are 0; in [−1, 1] for reflectances.

    >>> normalised_difference(np.array([0.5, 0.0]), np.array([0.1, 0.0])).round(3).tolist()
    [0.667, 0.0]
    """
    total = np.asarray(a, dtype=float) + b
    return np.divide(a - b, total, out=np.zeros_like(total), where=total != 0)


def ndvi(pair: Pair) -> np.ndarray:
    """Vegetation index (B08 − B04)/(B08 + B04) of a pair, (H, W)."""
    return normalised_difference(pair.band("B08"), pair.band("B04"))


def open_water(pair: Pair, margin: int = 4) -> np.ndarray:
    """Pixels (H, W) bool that Sentinel-2 sees as water, at least `margin` pixels from any shore.

    Chosen from the optical image alone, so that what the radar measures there stays an independent sample.
    """
    # Water swallows infrared light; snow and cloud, dark in part of it, are bright in green.
    water = (pair.band("B08") < 0.07) & (pair.band("B11") < 0.04) & (pair.band("B03") < 0.15)
    return ndimage.binary_erosion(water, iterations=margin, border_value=0)


def cloud(pair: Pair) -> np.ndarray:
    """Pixels (H, W) bool that look like thick cloud: bright in blue *and* in the short-wave infrared.

    Snow is bright in blue but dark in the short-wave infrared; roofs can pass, so this is for pictures only.
    """
    bright = (pair.band("B02") > 0.3) & (pair.band("B11") > 0.2)
    return ndimage.binary_opening(bright, iterations=2)


def snow(pair: Pair) -> np.ndarray:
    """Pixels (H, W) bool with NDSI = (B03 − B11)/(B03 + B11) above 0.4 that are bright in green (Hall et al. 1995)."""
    return (normalised_difference(pair.band("B03"), pair.band("B11")) > 0.4) & (pair.band("B03") > 0.25)


def uniform_windows(
    pairs: Sequence[Pair], size: int = 16, count: int = 12
) -> list[tuple[Pair, slice, slice]]:
    """The windows that look most uniform to Sentinel-2: least variation in 10 m bands.

    At most two a pair, not overlapping. Chosen from the optical image alone, so that the radar values inside
    are an independent sample: a window chosen for quiet radar would make speckle look weaker than it is.
    """
    found = []
    for pair in pairs:
        varies = sum(_variation(pair.band(b), size) for b in ("B02", "B03", "B04", "B08"))  # (h, w)
        for _ in range(2):
            row, column = (int(i) for i in np.unravel_index(np.argmin(varies), varies.shape))
            window = pair, slice(row, row + size), slice(column, column + size)
            found.append((float(varies[row, column]), window))
            varies[max(row - size, 0) : row + size, max(column - size, 0) : column + size] = np.inf
    best = sorted((f for f in found if np.isfinite(f[0])), key=lambda f: f[0])
    return [window for _, window in best[:count]]


def _variation(band: np.ndarray, size: int) -> np.ndarray:
    """Variance over squared mean of each size × size window, by its upper left corner."""
    band = band.astype(float)
    inside = tuple(slice(0, n - size + 1) for n in band.shape)
    mean, square = (
        ndimage.uniform_filter(x, size, origin=-(size // 2), mode="nearest")[inside] for x in (band, band**2)
    )
    return (square - mean**2) / np.maximum(mean, 1e-6) ** 2


def block_mean(image: np.ndarray, side: int) -> np.ndarray:
    """Mean over side × side blocks; what does not fill a block at the lower and right edge is left out.

    >>> block_mean(np.array([[1.0, 3.0], [5.0, 7.0]]), 2).tolist()
    [[4.0]]
    """
    h, w = (n // side * side for n in image.shape)
    return image[:h, :w].reshape(h // side, side, w // side, side).mean((1, 3))


def looks(power: np.ndarray) -> float:
    """Equivalent number of looks of a uniform area, mean²/variance of *linear power* (not dB).

    >>> rng = np.random.default_rng(0)
    >>> round(looks(rng.gamma(5, 1 / 5, (400, 400))), 1)
    5.0
    """
    return float(np.mean(power) ** 2 / np.var(power))


def autocorrelation(image: np.ndarray, lag: int = 1) -> float:
    """Correlation of an (H, W) image with itself `lag` pixels away, the mean of both directions.

    >>> stripes = np.tile([[0.0, 1.0]], (4, 8))
    >>> round(autocorrelation(stripes, 2), 2)
    1.0
    """
    centred = image - image.mean()
    variance = np.mean(centred**2)
    across = np.mean(centred[:, lag:] * centred[:, :-lag])
    down = np.mean(centred[lag:] * centred[:-lag])
    return float((across + down) / 2 / variance) if variance else 1.0


def band_statistics(s1: np.ndarray, s2: np.ndarray) -> np.ndarray:
    """Mean and standard deviation of each of the 15 bands of a patch, (30,); S1 in dB, S2 in reflectance.

    Pixels that are no data (NaN) in any band do not count.
    """
    bands = np.concatenate([s1, s2]).reshape(len(s1) + len(s2), -1).astype(np.float64)  # (15, pixels)
    valid = np.isfinite(bands).all(axis=0)
    bands = bands if valid.all() else bands[:, valid]
    return np.concatenate([bands.mean(axis=1), bands.std(axis=1)])
