"""Spatial blocks: neighbouring patches are not independent evidence, so the bootstrap draws them together.

Patches of one place share its weather, its fields and its mistakes. Intervals that draw them one by one
count the same evidence several times and come out too short (Roberts et al. 2017, "Cross-validation
strategies for data with temporal, spatial, hierarchical, or phylogenetic structure").
"""

import numpy as np
import pandas as pd

from eo_ssl.data.georef import connected

BLOCK_METRES = 5_120.0  # four patches of 1.28 km, or two of SEN12MS size
METRES_PER_DEGREE = 111_320.0


def spatial_blocks(catalog: pd.DataFrame, patch_size: int, metres: float = BLOCK_METRES) -> np.ndarray:
    """Block of each patch: a square of `metres` within an area of patches that touch each other.

    Squares are counted from the north-west corner of each area, so that an area no larger than `metres` is
    one block. A patch without georeferencing is in the block of its overlap group.

    Shape: catalog of N rows -> (N,) str.
    """
    block = "group " + catalog["group"].astype(str).to_numpy(dtype=object)
    if not {"x", "y", "epsg", "resolution"} <= set(catalog.columns):
        return block.astype(str)
    for (epsg, resolution), part in catalog[catalog["x"].notna()].groupby(["epsg", "resolution"]):
        if epsg <= 0 or resolution <= 0:
            continue
        xy = part[["x", "y"]].to_numpy(float)
        extent = resolution * patch_size
        side = metres if resolution > 0.1 else metres / METRES_PER_DEGREE  # the CRS counts in degrees
        area = connected(xy, extent * (1 + 1e-6))
        east = xy[:, 0] - _smallest(xy[:, 0], area)
        south = -xy[:, 1] - _smallest(-xy[:, 1], area)
        names = zip(area, np.floor(east / side + 1e-6), np.floor(south / side + 1e-6))
        block[catalog.index.get_indexer(part.index)] = [f"{epsg}/{a}/{e:.0f}/{s:.0f}" for a, e, s in names]
    return block.astype(str)


def _smallest(values: np.ndarray, area: np.ndarray) -> np.ndarray:
    """For each patch the smallest value in its area."""
    return pd.Series(values).groupby(area).transform("min").to_numpy()
