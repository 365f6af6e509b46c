"""Measures of real and simulated patches, and the real values a simulated set is held against.

The same functions measure both. S1 is in dB, S2 in reflectance; every image is (bands, H, W).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from eo_ssl.sensors import CLASS_NAMES, S2_BANDS, band_index, to_linear

LAGS = (1, 2, 4, 16)
CIRRUS = 0.0040  # reflectance in B10 above which a pixel counts as cloud
_HAZE_BLIND = ("B09", "B10")  # hardly any light from the ground arrives: not compared per class


@dataclass(frozen=True)
class Texture:
    """Texture of one patch: autocorrelation of VV (dB) and B08 at `LAGS`, and two correlations between bands."""

    vv: tuple[float, ...]
    b08: tuple[float, ...]
    vv_vh: float
    vh_ndvi: float


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
    """Measure one patch; `bands` names the channels of `s2`."""
    red, near = s2[band_index(("B04", "B08"), bands)]
    ndvi = (near - red) / np.maximum(near + red, 1e-4)
    return Texture(
        tuple(autocorrelation(s1[0], lag) for lag in LAGS),
        tuple(autocorrelation(near, lag) for lag in LAGS),
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
    """Equivalent number of looks of a homogeneous area, mean² / variance of linear power."""
    power = to_linear(db)
    return float(power.mean() ** 2 / power.var())


def class_means(
    s1: np.ndarray, s2: np.ndarray, label: np.ndarray, fewest: int = 300
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Mean S1 (dB, 2) and S2 (reflectance, 13) per class of one L1C scene, over pure pixels without cirrus.

    Pure means two pixels or more from another class, as in the reference sets, which were sampled inside large
    areas. Classes with fewer than `fewest` such pixels are left out. `label` holds the eight classes, (H, W).
    """
    clear = s2[S2_BANDS.index("B10")] < CIRRUS
    found = {}
    for code in range(len(CLASS_NAMES)):
        mask = ndimage.binary_erosion(label == code, iterations=2) & clear
        if mask.sum() >= fewest:
            found[code] = (s1[:, mask].mean(axis=1), s2[:, mask].mean(axis=1))
    return found


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


# --- real values -----------------------------------------------------------------------------------------------

# Top-of-atmosphere reflectance x 1e4 of clear patches: B01 … B08, B8A, B09 … B12.
_EUROSAT = {
    "AnnualCrop": (1417, 1228, 1238, 1266, 1583, 2694, 3275, 3167, 3583, 913, 13, 2501, 1632),
    "Forest": (1121, 817, 670, 409, 706, 1988, 2582, 2529, 2915, 741, 9, 1263, 503),
    "HerbaceousVegetation": (1320, 1113, 1050, 1058, 1366, 2000, 2287, 2298, 2581, 1034, 18, 2341, 1437),
    "Industrial": (1660, 1479, 1404, 1417, 1549, 2010, 2243, 2123, 2388, 598, 12, 2102, 1545),
    "Pasture": (1260, 987, 943, 666, 1193, 2804, 3434, 3400, 3821, 1192, 13, 2028, 985),
    "PermanentCrop": (1388, 1208, 1244, 1316, 1617, 2485, 2902, 2817, 3196, 841, 14, 2720, 1757),
    "Residential": (1371, 1127, 1048, 972, 1244, 2086, 2443, 2358, 2655, 798, 13, 1993, 1332),
    "SeaLake": (1217, 948, 776, 505, 517, 399, 400, 331, 311, 95, 8, 112, 74),
}
_TERRAMESH = {
    "water": (1413, 1158, 946, 616, 685, 694, 714, 544, 667, 231, 9, 303, 158),
    "trees": (1232, 893, 705, 430, 726, 1834, 2275, 2242, 2561, 738, 10, 1033, 394),
    "crops": (1542, 1161, 973, 814, 1150, 1959, 2260, 2246, 2585, 790, 18, 1916, 1063),
    "built": (1360, 1053, 881, 835, 1027, 1533, 1772, 1796, 2021, 844, 17, 1745, 1159),
    "bare": (2198, 2330, 2479, 2828, 2917, 3109, 3357, 3233, 3598, 903, 15, 4183, 3559),
    "rangeland": (1379, 1182, 1176, 1407, 1662, 2162, 2470, 2424, 2824, 753, 58, 3213, 2218),
}
# Wetland over grass in the WorldCover table (both rows carry the same residual cloud), B01 taken as B02, B8A as B08.
_WETLAND_OVER_GRASS = (1.11, 1.11, 1.045, 0.962, 0.962, 0.951, 0.945, 0.933, 0.933, 1.0, 1.0, 0.889, 0.827)


def _mean(*rows: tuple[int, ...]) -> np.ndarray:
    return np.mean(rows, axis=0) / 1e4


_GRASS = _mean(_EUROSAT["HerbaceousVegetation"], _EUROSAT["Pasture"])
S2_REFERENCE: dict[str, np.ndarray] = {
    "Forest": _mean(_EUROSAT["Forest"], _TERRAMESH["trees"]),
    "Shrubland": _mean(_TERRAMESH["rangeland"]),
    "Grassland": _GRASS,
    "Wetlands": _GRASS * np.array(_WETLAND_OVER_GRASS),
    "Croplands": _mean(_EUROSAT["AnnualCrop"], _EUROSAT["PermanentCrop"], _TERRAMESH["crops"]),
    "Urban": _mean(_EUROSAT["Residential"], _EUROSAT["Industrial"], _TERRAMESH["built"]),
    "Barren": _mean(_TERRAMESH["bare"]),
    "Water": _mean(_EUROSAT["SeaLake"], _TERRAMESH["water"]),
}
# Backscatter in dB (VV, VH): mean of the WorldCover row and the TerraMesh row where both exist (grass and shrub
# share TerraMesh's rangeland; wetland has WorldCover only; water also the sea patches of BigEarthNet).
S1_REFERENCE: dict[str, tuple[float, float]] = {
    "Forest": (-8.45, -14.4),
    "Shrubland": (-10.75, -16.55),
    "Grassland": (-11.55, -17.7),
    "Wetlands": (-10.2, -17.4),
    "Croplands": (-10.75, -17.95),
    "Urban": (-9.35, -16.25),
    "Barren": (-13.45, -19.7),
    "Water": (-18.4, -25.8),
}
TEXTURE_REFERENCE = Texture((0.83, 0.60, 0.33, 0.09), (0.94, np.nan, 0.69, 0.29), 0.61, 0.36)
COMPARED_BANDS = tuple(name for name in S2_BANDS if name not in _HAZE_BLIND)
