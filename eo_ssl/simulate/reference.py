"""Real values the simulated set is held against, each with its source.

Optical rows are clear-sky means over areas of one class: EuroSAT (Helber et al. 2019, 20 patches a class) and five
tiles of TerraMesh (Blumenstiel et al. 2025, baseline offset removed). Radar rows are the WorldCover pixels of
WorldCereal (temporal means, 500 pixels worldwide) and the same TerraMesh tiles. Texture is the median over patches
of BigEarthNet v2 (Clasen et al. 2024). All were measured on small samples: anchors, not truth.
"""

import numpy as np

from chapters.a1 import Texture
from eo_ssl.sensors import S2_BANDS

# How far the simulated set may be from the reference, as the tests assert and the book shows.
S1_TOLERANCE, S2_TOLERANCE, TEXTURE_TOLERANCE = 1.5, 0.25, 0.12
LOOKS_RANGE, SPECKLE_RANGE = (4.0, 6.0), (0.6, 0.8)
VV_VH_RANGE, VH_NDVI_RANGE = (0.45, 0.75), (0.15, 0.60)
LOOKS_MEASURED, SPECKLE_MEASURED = 4.9, 0.70
# Hardly any light from the ground arrives in these bands, so they say nothing about a class.
_BLIND = ("B09", "B10")
COMPARED_BANDS = tuple(name for name in S2_BANDS if name not in _BLIND)

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
