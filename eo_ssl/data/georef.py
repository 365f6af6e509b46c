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

CELL = 5_000.0  # metres
REGION_CELLS = 4  # patches more than four cells (about 20 km) apart belong to different regions
BLOCK_METRES = 5_120.0  # four patches of 1.28 km, or two of SEN12MS size
METRES_PER_DEGREE = 111_320.0
DEGREES = 0.1  # a CRS in which a pixel is smaller counts in degrees, not in metres
_COLUMNS, _STAMP = list(Header._fields), ["path", "bytes", "time"]


def headers(root: Path, stamps: dict[str, tuple[int, int]]) -> pd.DataFrame:
    """EPSG code, upper-left corner, resolution, width and height of each file, indexed by path.

    `stamps`: size and modification time of each path below `root`. Headers are kept in the cache folder with the stamp
    of their file, so that only a changed file is read again. Files without georeferencing get NaN and EPSG 0, those
    that cannot be read a width of 0 as well.
    """
    name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:24]
    cache = files.cache_dir() / "georef" / f"{name}.parquet"
    table = pd.DataFrame([(path, *stamp) for path, stamp in stamps.items()], columns=_STAMP)
    try:
        table = table.merge(pd.read_parquet(cache), how="left", on=_STAMP)
    except (OSError, ValueError, KeyError):  # nothing cached, or something else
        table[_COLUMNS] = np.nan
    missing = table.index[table["width"].isna()]
    if len(missing):
        with ThreadPoolExecutor(min(16, 4 * cores())) as pool:
            jobs = pool.map(_header, (root / path for path in table["path"][missing]))
            table.loc[missing, _COLUMNS] = list(tqdm(jobs, "headers", len(missing), disable=None))
        with suppress(OSError), files.atomic_path(cache) as path:  # not to have it costs time, nothing else
            table[table["width"] > 0].to_parquet(path)
    return table.set_index("path")[_COLUMNS].astype({"epsg": int})


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
    if placed:
        first = next(iter(placed.values()))
        epsg, x, y, resolution = np.ptp([header[:4] for header in placed.values()], axis=0)
        if epsg or max(x, y, resolution * first.width) > abs(first.resolution) / 10:
            said = ", ".join(f"{s} EPSG:{h.epsg:.0f} at {h.x:.0f}, {h.y:.0f}" for s, h in placed.items())
            return f"files do not show the same place: {said}"
    return ""


def connected(xy: np.ndarray, reach: float) -> np.ndarray:
    """Component of each point (N, 2) where points closer than `reach` in both axes are joined."""
    pairs = cKDTree(xy).query_pairs(reach, p=np.inf, output_type="ndarray")
    graph = coo_array((np.ones(len(pairs), np.int8), pairs.T), shape=(len(xy), len(xy)))
    return connected_components(graph, directed=False)[1]


def regions(table: pd.DataFrame) -> pd.Series:
    """Region of each patch, "" where the file has no georeferencing.

    Patches in one CRS joined by steps of at most about 20 km are one, counted from west to east: "EPSG:32632-1".
    """
    names = pd.Series("", index=table.index, dtype=object)
    known = table["x"].notna() & (table["epsg"] > 0)
    for epsg, part in table[known].groupby("epsg"):
        cell = CELL if part["resolution"].median() > DEGREES else 0.05
        cells, inverse = np.unique(part[["x", "y"]].to_numpy() // cell, axis=0, return_inverse=True)
        label = connected(cells, REGION_CELLS)[inverse.ravel()]
        west = part["x"].groupby(label).min().rank().astype(int)
        names[part.index] = [f"EPSG:{epsg}-{west[k]}" for k in label]
    return names


def overlap_groups(table: pd.DataFrame, scene: pd.Series) -> pd.Series:
    """Overlap group of each patch: those that share pixels, directly or through others, have the same one.

    Two share pixels if their corners differ by less than the patch extent in both axes. Where the position is unknown
    the whole scene is one group.
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
    """Row (to the south) and column (to the east) of each patch in its scene, in its smallest steps; -1 if unknown."""
    rows, columns = np.full(len(table), -1), np.full(len(table), -1)
    position = np.flatnonzero(table["x"].notna())
    for _, at in pd.Series(position).groupby(scene.to_numpy()[position]):
        x, y = table["x"].to_numpy()[at], table["y"].to_numpy()[at]
        steps = np.concatenate([np.diff(np.unique(np.round(axis, 3))) for axis in (x, y)])
        stride = steps.min(initial=np.inf)
        columns[at] = np.rint((x - x.min()) / stride)
        rows[at] = np.rint((y.max() - y) / stride)
    return rows, columns


def spatial_blocks(catalog: pd.DataFrame, patch_size: int, metres: float = BLOCK_METRES) -> np.ndarray:
    """Block of each patch: a square of `metres` within an area of patches that touch each other.

    The bootstrap draws the patches of a block together, or its intervals come out too short (Roberts et al. 2017,
    "Cross-validation strategies for data with temporal, spatial, hierarchical, or phylogenetic structure"). Squares are
    counted from the north-west corner of each area. A patch without georeferencing is in the block of its overlap group,
    one of ben-ge in that of its MGRS tile.
    Shape: catalog of N rows -> (N,) str.
    """
    block = "group " + catalog["group"].astype(str).to_numpy(dtype=object)
    if "x" not in catalog:
        return block.astype(str)
    known = catalog["x"].notna() & (catalog["epsg"] > 0) & (catalog["resolution"] > 0)
    for (epsg, resolution), part in catalog[known].groupby(["epsg", "resolution"]):
        side = metres if resolution > DEGREES else metres / METRES_PER_DEGREE
        area = connected(part[["x", "y"]].to_numpy(float), resolution * patch_size * (1 + 1e-6))
        corner = part[["x", "y"]].astype(float) * [1, -1]  # east and south
        offset = corner - corner.groupby(area).transform("min")
        squares = np.floor(offset / side + 1e-6).astype(int).to_numpy()
        names = [f"{epsg}/{a}/{east}/{south}" for a, (east, south) in zip(area, squares)]
        block[catalog.index.get_indexer(part.index)] = names
    if "lon" in catalog:  # ben-ge: single patches far apart, those of one tile seen through the same air
        block = np.where(catalog["lon"].notna(), "tile " + catalog["region"].astype(str), block)
    return block.astype(str)
