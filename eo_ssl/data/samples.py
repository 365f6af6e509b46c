"""A little real data: Sentinel-1 and Sentinel-2 of the same places, fetched once, verified, cached.

`bigearthnet_pairs()` 6 georeferenced pairs, `benv2_pairs()` 24 pairs (some cloudy, some snowy), `l1c_scene()`
one whole 19 km scene with all 13 bands. Whose they are and how to cite them: `data/samples.md`.
Where they cannot be had, `simulated_pairs()` makes stand-ins of the same form from the simulated data set.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from eo_ssl.data import bigearthnet
from eo_ssl.data.pair import Pair, Scene
from eo_ssl.data.fetch import ARCHIVES, BENV2, SCENE, available, fetch, folder
from eo_ssl.errors import DataError
from eo_ssl.files import read_json
from eo_ssl.sensors import CLASS_NAMES, DN_PER_REFLECTANCE, S1_BANDS, S2, S2_BANDS, S2_BANDS_L2A

__all__ = [
    "ARCHIVES",
    "Pair",
    "Scene",
    "available",
    "benv2_pairs",
    "bigearthnet_pairs",
    "fetch",
    "folder",
    "l1c_scene",
    "pairs_or_simulated",
    "simulated_pairs",
]

# As the data set's own table lists them (s1_s2_name_country_season.csv.bz2 in the archive).
_PLACES = {
    "S2A_MSIL2A_20170613T101031_87_48": ("Austria", "Summer"),
    "S2A_MSIL2A_20170617T113321_36_85": ("Ireland", "Summer"),
    "S2A_MSIL2A_20170617T113321_4_55": ("Ireland", "Summer"),
    "S2A_MSIL2A_20171221T112501_56_35": ("Portugal", "Winter"),
    "S2B_MSIL2A_20170924T93020_69_24": ("Finland", "Fall"),
    "S2B_MSIL2A_20180204T94161_57_38": ("Finland", "Winter"),
}


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: cannot be read ({error}); delete this folder and run `eo-ssl data fetch`")


def _read(path: Path) -> tuple[np.ndarray, str, tuple[float, ...]]:
    """First band, CRS and affine transform of a GeoTIFF, whatever its extension."""
    import rasterio

    try:
        with rasterio.open(path, driver="GTiff") as file:
            return file.read(1), str(file.crs), tuple(file.transform)[:6]
    except (rasterio.errors.RasterioError, OSError) as error:
        raise _damaged(path, error) from error


def bigearthnet_pairs() -> list[Pair]:
    """The 6 georeferenced BigEarthNet v1 pairs: 120 × 120 px at 10 m, 12 L2A bands, labels in 19 classes."""
    root = fetch(["bigearthnet"])["bigearthnet"]
    radar = sorted((root / "BigEarthNet-S1-Example").glob("*/"))
    if len(radar) != 6:
        raise _damaged(root, DataError(f"{len(radar)} Sentinel-1 patches instead of 6"))
    return sorted((_v1_pair(patch, root / "BigEarthNet-S2-Example") for patch in radar), key=lambda p: p.name)


def _v1_pair(radar: Path, optical_root: Path) -> Pair:
    name = read_json(radar / f"{radar.name}_labels_metadata.json")["corresponding_s2_patch"]
    optical = optical_root / name
    labels = bigearthnet.nineteen(tuple(read_json(optical / f"{name}_labels_metadata.json")["labels"]))
    (vv, crs, transform), (vh, *_) = (_read(radar / f"{radar.name}_{band}.tif") for band in S1_BANDS)
    bands = {path.stem.rpartition("_")[2]: _read(path)[0] for path in sorted(optical.glob("*.tif"))}
    country, season = _PLACES.get(name, ("", ""))
    return Pair(
        name=name,
        s1=np.stack([vv, vh]).astype(np.float32),  # (2, H, W)
        s2=bigearthnet.stack_bands(bands, vv.shape, name),
        s2_bands=S2_BANDS_L2A,
        labels=labels,
        eight=bigearthnet.eight(labels),
        date=bigearthnet.acquired(name),
        s1_date=bigearthnet.acquired(radar.name),
        country=country,
        season=season,
        source="BigEarthNet v1",
        crs=crs,
        transform=transform,
    )


def benv2_pairs() -> list[Pair]:
    """The 24 BigEarthNet v2 pairs, 120 × 120 px, with labels and flags for cloud and snow."""
    import lmdb
    import pandas as pd

    root = fetch(["benv2"])["benv2"] / BENV2
    try:
        tables = [pd.read_parquet(path) for path in sorted(root.glob("*.parquet"))]
        table = pd.concat(tables).drop_duplicates("patch_id").sort_values("patch_id")
        with (
            lmdb.open(str(root / "BigEarthNet-V2-LMDB"), readonly=True, lock=False) as store,
            store.begin() as view,
        ):
            return [_v2_pair(row, view) for row in table.itertuples()]
    except (lmdb.Error, OSError, ValueError) as error:
        raise _damaged(root, error) from error


def _v2_pair(row: Any, view: Any) -> Pair:
    radar, optical = (_tensors(view, name) for name in (row.s1_name, row.patch_id))
    labels = tuple(row.labels)
    return Pair(
        name=row.patch_id,
        s1=np.stack([radar[band] for band in S1_BANDS]),  # (2, H, W)
        s2=bigearthnet.stack_bands(optical, radar["VV"].shape, row.patch_id),
        s2_bands=S2_BANDS_L2A,
        labels=labels,
        eight=bigearthnet.eight(labels),
        date=bigearthnet.acquired(row.patch_id),
        s1_date=bigearthnet.acquired(row.s1_name),
        country=row.country,
        source="BigEarthNet v2",
        cloud=bool(row.contains_cloud_or_shadow),
        snow=bool(row.contains_seasonal_snow),
    )


def _tensors(view: Any, name: str) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    content = view.get(name.encode())
    if content is None:
        raise DataError(
            f"BigEarthNet v2 sample: no entry {name}; delete {folder()} and run `eo-ssl data fetch`"
        )
    try:
        return load(bytes(content))
    except SafetensorError as error:
        raise DataError(f"BigEarthNet v2 sample {name}: {error}") from error


def l1c_scene() -> Scene:
    """The Sentinel-2 L1C scene, all 13 bands on the 10 m grid of B02 (about 19 × 19 km, EPSG:32618)."""
    root = fetch(["l1c"])["l1c"] / SCENE
    grid, crs, transform = _read(root / "s2_B02.jp2")
    stack = np.empty((len(S2), *grid.shape), dtype=np.float32)  # (13, H, W)
    for i, name in enumerate(S2_BANDS):
        band, _, place = _read(root / f"s2_{name}.jp2")
        # The coarser grids start up to a pixel further out: the offset keeps every band in its true place.
        offset = ((transform[5] - place[5]) / place[4], (transform[2] - place[2]) / place[0])
        stack[i] = bigearthnet.to_grid(band, grid.shape, transform[0] / place[0], offset)
    stack /= DN_PER_REFLECTANCE
    return Scene("Eastern Shore of Virginia", stack, S2_BANDS, crs, transform, "Sentinel-2 L1C")


def pairs_or_simulated(source: Callable[[], Any]) -> tuple[list[Pair], str]:
    """All 30 real pairs and ""; without them, simulated stand-ins and a sentence that says why."""
    try:
        return bigearthnet_pairs() + benv2_pairs(), ""
    except DataError as error:
        return simulated_pairs(source(), 12), (
            f"**The real patches are not here** ({error}). What follows uses *simulated* patches instead; "
            "passages about particular places, clouds and snow are left out."
        )


def simulated_pairs(source: Any, count: int = 6, seed: int = 0) -> list[Pair]:
    """Stand-ins from the data set of the run: 13 bands, with labels where it has them."""
    from eo_ssl.data.dataset import PatchDataset

    split = source.catalog["split"].to_numpy()
    labelled = bool((split == "train").any())
    rows = np.flatnonzero(split == "train") if labelled else np.arange(len(split))
    rows = np.random.default_rng(seed).permutation(rows)[:count].tolist()
    data = PatchDataset(source, rows, crop=source.patch_size, mode="centre", labels=labelled)
    return [_simulated(data[i], str(source.catalog["id"].iloc[row])) for i, row in enumerate(rows)]


def _simulated(item: dict[str, Any], name: str) -> Pair:
    present = item["multilabel"].numpy().copy() if "multilabel" in item else None
    labels = () if present is None else tuple(c for c, there in zip(CLASS_NAMES, present) if there)
    s1, s2 = item["s1"].numpy().copy(), item["s2"].numpy().copy()
    return Pair(name, s1, s2, S2_BANDS, labels, present, None, None, "Simulated", "simulated")
