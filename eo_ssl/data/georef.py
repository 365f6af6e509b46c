"""Where patches lie: corners from the file headers, regions, grid positions, overlap groups and spatial blocks."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from tqdm import tqdm

from eo_ssl import files
from eo_ssl.data.geotiff import Header, read_header
from eo_ssl.errors import DataError
from eo_ssl.parallel import cores

COLUMNS = Header._fields
CELL = 5_000.0  # metres (0.05 degrees where the CRS counts in degrees)
REGION_CELLS = 4  # patches more than four cells (about 20 km) apart belong to different regions
BLOCK_METRES = 5_120.0  # four patches of 1.28 km, or two of SEN12MS size
METRES_PER_DEGREE = 111_320.0
_STAMP = ("path", "bytes", "time")


def headers(root: Path, stamps: dict[str, tuple[int, int]], workers: int | None = None) -> pd.DataFrame:
    """EPSG code, upper-left corner, resolution, width and height of each file, indexed by path.

    `stamps` gives size and modification time of each path below `root`. Headers are read in parallel threads and kept
    in a table under the cache folder with the stamp of their file, so that a changed file is read again and no other.
    Files without georeferencing get NaN and EPSG 0, those that cannot be read a width of 0 as well.
    """
    name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:24]
    cache = files.cache_dir() / "georef" / f"{name}.parquet"
    table = pd.DataFrame([(path, *stamp) for path, stamp in stamps.items()], columns=list(_STAMP))
    try:
        table = table.merge(pd.read_parquet(cache), how="left", on=list(_STAMP))
    except (OSError, ValueError, KeyError):  # nothing cached, or something else
        table = table.assign(**dict.fromkeys(COLUMNS, np.nan))
    missing = table.index[table["width"].isna()]
    if len(missing):
        with ThreadPoolExecutor(workers or min(16, 4 * cores())) as pool:
            jobs = pool.map(_header, (root / path for path in table["path"][missing]))
            table.loc[missing, list(COLUMNS)] = list(tqdm(jobs, "headers", len(missing), disable=None))
        with suppress(OSError), files.atomic_path(cache) as path:  # not to have it costs time, nothing else
            table[table["width"] > 0].to_parquet(path)
    return table.set_index("path")[list(COLUMNS)].astype({"epsg": int})


def _header(path: Path) -> Header:
    try:
        return read_header(path)
    except DataError:
        return Header(0, np.nan, np.nan, np.nan, 0, 0)


def contradiction(headers: dict[str, Header], size: float = 0) -> str:
    """Why the files of one patch, by sensor, do not make one, in words; "" where they do.

    All must be square, `size` pixels wide (if given), and show the same place to a tenth of a pixel. Files that cannot
    be read, and places that are not known, contradict nothing.
    """
    read = {sensor: header for sensor, header in headers.items() if header.width > 0}
    shapes = {sensor: f"{h.width:.0f} × {h.height:.0f}" for sensor, h in read.items()}
    if len(set(shapes.values())) > 1:
        return "sizes differ: " + ", ".join(f"{sensor} {shape}" for sensor, shape in shapes.items())
    for sensor, header in read.items():
        if header.width != header.height:
            return f"{shapes[sensor]} pixels; patches are square"
        if size and header.width != size:
            return f"{header.width:.0f} px wide, most patches {size:.0f}"
    placed = {sensor: h for sensor, h in read.items() if not np.isnan(h.x)}
    for h in placed.values():
        first = next(iter(placed.values()))
        near = max(abs(h.x - first.x), abs(h.y - first.y)) <= abs(first.resolution) / 10
        if (h.epsg, h.resolution) != (first.epsg, first.resolution) or not near:
            said = ", ".join(f"{s} EPSG:{h.epsg:.0f} at {h.x:.0f}, {h.y:.0f}" for s, h in placed.items())
            return f"files do not show the same place: {said}"
    return ""


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
    extent = table["resolution"] * table[["width", "height"]].max(axis=1)
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


def spatial_blocks(catalog: pd.DataFrame, patch_size: int, metres: float = BLOCK_METRES) -> np.ndarray:
    """Block of each patch: a square of `metres` within an area of patches that touch each other.

    Patches of one place share its weather, its fields and its mistakes: the bootstrap draws them together, or its
    intervals come out too short (Roberts et al. 2017, "Cross-validation strategies for data with temporal, spatial,
    hierarchical, or phylogenetic structure"). Squares are counted from the north-west corner of each area, so that an
    area no larger than `metres` is one block. A patch without georeferencing is in the block of its overlap group.

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
