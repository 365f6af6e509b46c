"""Tiny GeoTIFF sets in the exact layouts of SEN12MS, DFC2020 and ben-ge, with values a test can predict."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import from_origin

from eo_ssl.sensors import S1_BANDS, S2, S2_BANDS, S2_BANDS_L2A

SIZE = 16
RESOLUTION = {band.name: band.resolution for band in S2}
IGBP = np.array([1, 6, 10, 11, 12, 13, 16, 17])  # one code per class of the eight
DFC = np.array([1, 2, 4, 5, 6, 7, 9, 10])
WORLDCOVER = np.array([10, 20, 30, 90, 40, 50, 60, 80])
# MGRS tile, EPSG code, longitude and latitude of its south-western corner: a few degrees apart.
TILES = [(f"{30 + k % 6}T{a}{b}", 32630 + k % 6, 6.0 * (k % 6) - 3.0, 40.0 + k // 6) for k, (a, b) in
         enumerate((a, b) for a in "ABCD" for b in "KLM")]  # fmt: skip
METRES = 111_320.0  # per degree of latitude


@dataclass(frozen=True)
class Patch:
    """Where one patch goes: file name pattern with {} for the sensor, place on the ground, class."""

    pattern: str
    epsg: int
    x: float
    y: float
    number: int
    dfc: bool

    @property
    def id(self):
        return Path(self.pattern).stem.replace("_{0}", "")


def sen12ms(season="ROIs1158_spring", scene=8, numbers=(30, 31, 32, 34), epsg=32632, x=5e5, y=5e6, across=2):
    """Patches of one scene with 50 % overlap, row by row, `across` a row."""
    step = SIZE * 10 / 2
    return [
        Patch(
            f"{season}/{{0}}_{scene}/{season}_{{0}}_{scene}_p{n}.tif",
            epsg, x + i % across * step, y - i // across * step, n, False,
        )
        for i, n in enumerate(numbers)
    ]  # fmt: skip


def layout_a(split="validation", regions=((32632, 5e5, 5e6), (32735, 3e5, 7e6)), each=4):
    """DFC2020 layout A: the file says scene 0 and nothing of the region; patches do not overlap."""
    folder = {"validation": "validation", "test": "0"}[split]
    return [
        Patch(
            f"ROIs0000_{split}/{{0}}_{folder}/ROIs0000_{split}_{{0}}_0_p{r * each + i}.tif",
            epsg, x + i * SIZE * 10, y, r * each + i, True,
        )
        for r, (epsg, x, y) in enumerate(regions)
        for i in range(each)
    ]  # fmt: skip


def layout_b():
    """DFC2020 layout B: season and city in the name."""
    cities = (("autumn", "Mumbai"), ("spring", "BlackForest"), ("winter", "MexicoCity"))
    return [
        Patch(
            f"ROIs0000_{season}/{{0}}_{city}/ROIs0000_{season}_{{0}}_{city}_p{i + 7}.tif",
            32600 + 10 + k, 5e5 + i * SIZE * 10, 5e6, i + 10 * k, True,
        )
        for k, (season, city) in enumerate(cities)
        for i in range(4)
    ]  # fmt: skip


def classes(number, size=SIZE):
    """Label map of the patch with this number in the eight classes: two of them, the second in the upper quarter."""
    label = np.full((size, size), number % 8)
    label[: size // 4] = (number + 1) % 8
    return label


def images(patch, size=SIZE):
    """Arrays of one patch: s1 dB, s2 digital numbers, lc (4 bands), dfc."""
    rng = np.random.default_rng([0, patch.number, int(patch.x) % 1000, patch.epsg])
    label = classes(patch.number, size)
    s2 = rng.integers(800, 3000, (13, size, size), dtype=np.uint16)
    s2[10] = rng.integers(5, 20, (size, size))  # B10 sees no ground
    s1 = np.stack([rng.normal(mean, 3, (size, size)) for mean in (-11, -18)]).astype(np.float32)
    lc = np.stack([IGBP[label], *(np.full((size, size), 10 * k) for k in (1, 2, 3))]).astype(np.uint8)
    return {"s1": s1, "s2": s2, "lc": lc} | ({"dfc": DFC[label][None].astype(np.uint8)} if patch.dfc else {})


def write(path, array, epsg=32632, x=5e5, y=5e6, pixel=10, tags=None, **options):
    """One GeoTIFF; `epsg=None` leaves out the georeferencing. `options` of rasterio, or what a file says of its bands."""
    said = {name: options.pop(name) for name in ("descriptions", "scales", "offsets") if name in options}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    place = {} if epsg is None else {"crs": CRS.from_epsg(epsg), "transform": from_origin(x, y, pixel, pixel)}
    bands, height, width = array.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": bands, "dtype": array.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile, **place, **options) as file:
            file.write(array)
            if tags:
                file.update_tags(**tags)
            for name, value in said.items():
                setattr(file, name, value)
    return path


def two_scenes():
    """Eight patches in two UTM zones."""
    return sen12ms() + sen12ms(scene=9, epsg=32633)


def put(root, patch, sensor, array, **place):
    """Write one file of a patch; `place` (`epsg`, `x`, `y`) where it is not that of the patch."""
    place = {"epsg": patch.epsg, "x": patch.x, "y": patch.y} | place
    return write(Path(root) / patch.pattern.format(sensor), array, **place)


def make(root, patches):
    """Write the files of all patches below `root` and return it."""
    for patch in patches:
        for sensor, array in images(patch).items():
            put(root, patch, sensor, array)
    return Path(root)


def world(root):
    """All kinds side by side: two pretraining seasons of two scenes each, and layout A with regions."""
    patches = []
    for k, season in enumerate(("ROIs1158_spring", "ROIs1868_summer")):
        for scene in (8, 9):
            patches += sen12ms(season, scene, epsg=32601 + 10 * k + scene)
    regions = ((32632, 5e5, 5e6), (32735, 3e5, 7e6), (32750, 4e5, 6e6))
    patches += layout_a("validation", regions)
    patches += layout_a("test", ((32640, 5e5, 5e6), (32755, 5e5, 5e6)))
    return make(root, patches)


def on_tile(number):
    """The patch of ben-ge with this number: 2 km apart in turns in the twelve tiles, every fifth row further east."""
    _, epsg, _, lat = TILES[number % len(TILES)]
    east, north = divmod(number // len(TILES), 5)
    return Patch("", epsg, 4e5 + 2000.0 * east, METRES * lat + 2000.0 * north, number, True)


def ben_ge(root, count=24, top="ben-ge-800"):
    """The unpacked archive of ben-ge-800, patches of 24 px, with or without its `top` folder; returns `root`."""
    base = root / top
    rows = []
    for number in range(count):
        patch = on_tile(number)
        arrays, place = images(patch, 24), {"epsg": patch.epsg, "x": patch.x, "y": patch.y}
        tile, _, lon, lat = TILES[number % len(TILES)]
        optical = f"S2B_MSIL2A_20170814T100029_{number}_{number % 7}"
        radar = f"S1A_IW_GRDH_1SDV_20170814T050029_{tile}_{number}_{number % 7}"
        for band, image in zip(S1_BANDS, arrays["s1"]):
            write(base / "sentinel-1" / radar / f"{radar}_{band}.tif", image[None], **place)
        for band in S2_BANDS_L2A:
            step = RESOLUTION[band] // 10
            coarse = arrays["s2"][S2_BANDS.index(band), None, ::step, ::step]
            path = base / "sentinel-2" / optical / f"{optical}_{band}.tif"
            write(path, coarse, **place, pixel=RESOLUTION[band])
        cover = WORLDCOVER[classes(number, 24)][None].astype(np.uint8)
        write(base / "esaworldcover" / f"{optical}_esaworldcover.tif", cover, **place)
        lat = patch.y / METRES
        lon += (patch.x - 4e5) / METRES / np.cos(np.radians(lat))
        rows.append({"patch_id": optical, "patch_id_s1": radar, "lon": lon, "lat": lat})
    pd.DataFrame(rows).to_csv(base / "ben-ge-800_meta.csv", index=False)
    return root


def copernicus(root):
    """DFC2020 as Copernicus-Bench packs it: flat folders, 12 patches without places on Earth, three lists."""
    base = root / "dfc2020_s1s2"
    for number in range(12):
        for sensor, array in images(on_tile(number), 24).items():
            if sensor != "lc":
                write(base / sensor / f"ROIs0000_test_{sensor}_0_p{number}.tif", array, epsg=None)
    for k, part in enumerate(("train", "val", "test")):
        lines = [f"ROIs0000_test_dfc_0_p{number}.tif\n" for number in range(k, 12, 3)]
        (base / f"dfc-{part}-new.csv").write_text("".join(lines))
    return root
