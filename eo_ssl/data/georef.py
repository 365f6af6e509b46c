"""Where patches lie: corners from the file headers, regions, grid positions and overlap groups."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from tqdm import tqdm

from eo_ssl import files
from eo_ssl.data.tiff import read_header

COLUMNS = ("epsg", "x", "y", "resolution", "size")
CELL = 5_000.0  # metres (0.05 degrees where the CRS counts in degrees)
REGION_CELLS = 4  # patches more than four cells (about 20 km) apart belong to different regions
_QUIET = 2000


def corners(root: Path, paths: list[str], key: str, workers: int | None = None) -> pd.DataFrame:
    """Upper-left corner, resolution, size and EPSG code of each file, in the order of `paths`.

    Only headers are read, in parallel threads, and kept in a small table under the cache folder; `key`
    names the state of the tree, so that a changed one is read again. Files that cannot be read or have
    no georeferencing get NaN and 0.
    """
    name = hashlib.sha256(f"{root.resolve()}\n{key}\n{len(paths)}".encode()).hexdigest()[:24]
    cache = files.cache_dir() / "georef" / f"{name}.parquet"
    table = _cached(cache, paths)
    if table is None:
        with ThreadPoolExecutor(workers or min(16, 4 * (os.cpu_count() or 1))) as pool:
            jobs = pool.map(_corner, (root / path for path in paths), chunksize=64)
            bar = tqdm(jobs, total=len(paths), desc="headers", disable=len(paths) < _QUIET)
            table = pd.DataFrame(list(bar), columns=list(COLUMNS))
        _keep(cache, table.assign(path=paths))
    return table


def _cached(cache: Path, paths: list[str]) -> pd.DataFrame | None:
    try:
        table = pd.read_parquet(cache)
    except (OSError, ValueError):
        return None
    if table["path"].tolist() != paths:
        return None
    return table[list(COLUMNS)]


def _keep(cache: Path, table: pd.DataFrame) -> None:
    try:
        with files.atomic_path(cache) as path:
            table.to_parquet(path)
    except OSError:
        pass  # a read-only cache folder costs time at the next start, nothing else


def _corner(path: Path) -> tuple[int, float, float, float, int]:
    try:
        header = read_header(path)
    except OSError:
        header = None
    if header is None:
        return _corner_by_gdal(path)
    return header.epsg, header.x, header.y, header.resolution, max(header.width, header.height)


def _corner_by_gdal(path: Path) -> tuple[int, float, float, float, int]:
    import rasterio

    try:
        with rasterio.open(path) as image:
            epsg = (image.crs.to_epsg() or 0) if image.crs else 0
            t, size = image.transform, max(image.width, image.height)
            known = image.crs is not None
            return (epsg, t.c, t.f, t.a, size) if known else (0, np.nan, np.nan, np.nan, size)
    except (rasterio.errors.RasterioError, OSError):
        return 0, np.nan, np.nan, np.nan, 0


def connected(xy: np.ndarray, reach: float) -> np.ndarray:
    """Component of each point (N, 2) where points closer than `reach` in both axes are joined."""
    pairs = cKDTree(xy).query_pairs(reach, p=np.inf, output_type="ndarray")
    ones = np.ones(len(pairs), dtype=np.int8)
    graph = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(len(xy), len(xy)))
    return connected_components(graph, directed=False)[1]


def regions(table: pd.DataFrame) -> pd.Series:
    """Name of the region of each patch, "" where the file has no georeferencing.

    Patches in one CRS that can be joined by steps of at most about 20 km form one region, named after
    the CRS and counted from west to east, for example "EPSG:32632-1".
    """
    names = pd.Series("", index=table.index, dtype=object)
    known = table["x"].notna() & (table["epsg"] > 0)
    for epsg, part in table[known].groupby("epsg"):
        cell = CELL if part["resolution"].median() > 0.1 else 0.05
        cells, inverse = np.unique(part[["x", "y"]].to_numpy() // cell, axis=0, return_inverse=True)
        label = connected(cells, REGION_CELLS)[inverse.ravel()]
        west = part["x"].groupby(label).min().rank().astype(int)
        names[part.index] = [f"EPSG:{epsg}-{west[k]}" for k in label]
    return names


def overlap_groups(table: pd.DataFrame, scene: pd.Series) -> pd.Series:
    """Overlap group of each patch: patches that share pixels, directly or through others, have the same one.

    Two patches share pixels if their corners differ by less than the patch extent in both axes. Where the
    position is unknown the whole scene is one group.
    """
    group = scene.astype(object).copy()
    extent = table["resolution"] * table["size"]
    known = table["x"].notna() & (table["epsg"] > 0) & (extent > 0)
    for (epsg, reach), part in table[known].groupby([table["epsg"], extent]):
        label = connected(part[["x", "y"]].to_numpy(), reach * (1 - 1e-6))
        first = scene[part.index].groupby(label).first()
        group[part.index] = [f"{first[k]}@{epsg}#{k}" for k in label]
    return group


def grid(table: pd.DataFrame, scene: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Row (north to south) and column (west to east) of each patch within its scene, -1 where unknown.

    The unit is the scene's stride: the smallest step between two patches that occurs in it.
    """
    rows, columns = np.full(len(table), -1), np.full(len(table), -1)
    known = table["x"].notna().to_numpy()
    position = np.arange(len(table))[known]
    for _, at in pd.Series(position).groupby(scene.to_numpy()[known]):
        x, y = table["x"].to_numpy()[at], table["y"].to_numpy()[at]
        stride = min(_step(x), _step(y))
        columns[at] = np.rint((x - x.min()) / stride)
        rows[at] = np.rint((y.max() - y) / stride)
    return rows, columns


def _step(values: np.ndarray) -> float:
    steps = np.diff(np.unique(np.round(values, 3)))
    return float(steps.min()) if steps.size else np.inf
