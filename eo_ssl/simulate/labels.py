"""The two label maps: the fine one that people drew at 10 m, and the coarse one of MODIS at 500 m."""

import numpy as np
from scipy import ndimage

from eo_ssl.simulate.landscape import BARREN, CROP, FOREST, GRASS, SHRUB, URBAN, WATER, WETLAND, Landscape

# Codes of the simplified IGBP legend of DFC2020, in the order of the eight classes: no Savanna (3), no Snow (8).
DFC_CODE = np.array([1, 2, 4, 5, 6, 7, 9, 10], dtype=np.uint8)
MODIS_PIXEL = 46.33

# IGBP code -> LCCS land cover, land use and surface hydrology (legends of MCD12Q1, collection 6).
_LCCS = np.zeros((18, 3), dtype=np.uint8)
_LCCS[1:18] = [
    (11, 10, 10), (12, 10, 10), (13, 10, 10), (14, 10, 10), (15, 10, 10), (41, 40, 40), (43, 40, 40), (21, 20, 20),
    (22, 20, 20), (31, 30, 30), (31, 30, 50), (31, 36, 30), (1, 9, 1), (42, 25, 30), (2, 2, 2), (1, 1, 1), (3, 3, 3),
]  # fmt: skip


def coarse_labels(land: Landscape) -> np.ndarray:
    """IGBP and the three LCCS legends on a 500 m grid, repeated at 10 m, (4, n, n) uint8.

    The rules of the IGBP legend judge the shares in and a little around each cell; in one of eight these are misjudged.
    """
    n = land.spec.padded
    rng = land.spec.rng(27)
    y, x = np.mgrid[0:n, 0:n].astype(np.float32)
    # The MODIS grid is sinusoidal: on a UTM map its columns lean.
    lean = np.float32(rng.uniform(-0.3, 0.3))
    row = ((y + rng.uniform(0, MODIS_PIXEL)) / MODIS_PIXEL).astype(np.int64)
    col = np.floor((x + lean * y + rng.uniform(0, MODIS_PIXEL)) / MODIS_PIXEL).astype(np.int64)
    col -= col.min()
    rows, cols = int(row.max()) + 1, int(col.max()) + 1
    cell = row * cols + col
    count = [np.bincount(cell[land.cover == c], minlength=rows * cols) for c in range(8)]
    share = ndimage.gaussian_filter(np.stack(count).reshape(8, rows, cols).astype(float), (0, 0.45, 0.45))
    share /= np.maximum(share.sum(0), 1e-9)
    share *= np.exp(rng.normal(0, 0.25, share.shape))
    wrong = rng.random((rows, cols)) < 0.125
    share = np.where(wrong, share * np.exp(rng.normal(0, 1.2, share.shape)), share)
    share /= np.maximum(share.sum(0), 1e-9)  # (8, rows, cols)
    region, tree, crop = land.spec.region, share[FOREST], share[CROP]
    natural = share[SHRUB] + share[GRASS] + tree
    chance = land.spec.luck(*np.indices(tree.shape), 51)
    wood = np.where(chance < 0.45, 1 if region.conifer > 0.35 else 4, 5)
    if region.climate == "tropical":
        wood = np.where(chance < 0.8, 2, 4)
    rules = (
        (share[WATER] > 0.5, 17),
        (share[URBAN] > 0.32, 13),
        (share[WETLAND] > 0.45, 11),
        (share[BARREN] > 0.6, 16),
        (tree > 0.6, wood),
        (crop > 0.6, 12),
        ((crop > 0.35) & (natural > 0.25), 14),
        (tree > 0.32, 8),
        ((tree > 0.12) & (share[SHRUB] + share[GRASS] > 0.4), 9),
        (share[SHRUB] > 0.45, np.where(chance < 0.2 + 0.4 * region.vigour, 6, 7)),
        (crop > 0.4, 12),
        (share[BARREN] > 0.4, 16),
        (share[WATER] > 0.4, 17),
    )
    conditions, codes = zip(*rules)
    igbp = np.select(conditions, codes, 10).astype(np.uint8)[row, col]
    return np.concatenate([igbp[None], np.moveaxis(_LCCS[igbp], -1, 0)]).astype(np.uint8)
