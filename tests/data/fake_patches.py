"""Tiny GeoTIFF sets in the exact layouts of SEN12MS and DFC2020, with values a test can predict."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import from_origin

SIZE = 16
IGBP = np.array([1, 6, 10, 11, 12, 13, 16, 17])  # one code per class of the eight
DFC = np.array([1, 2, 4, 5, 6, 7, 9, 10])


@dataclass(frozen=True)
class Patch:
    """Where one patch goes: file name pattern with {} for the sensor, place on the ground, class."""

    pattern: str
    epsg: int
    x: float
    y: float
    number: int
    dfc: bool


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


def layout_b(cities=(("autumn", "Mumbai"), ("spring", "BlackForest"), ("winter", "MexicoCity")), each=4):
    """DFC2020 layout B: season and city in the name."""
    return [
        Patch(
            f"ROIs0000_{season}/{{0}}_{city}/ROIs0000_{season}_{{0}}_{city}_p{i + 7}.tif",
            32600 + 10 + k, 5e5 + i * SIZE * 10, 5e6, i + 10 * k, True,
        )
        for k, (season, city) in enumerate(cities)
        for i in range(each)
    ]  # fmt: skip


def images(patch, size=SIZE, seed=0):
    """Arrays of one patch: s1 dB, s2 digital numbers, lc (4 bands), dfc."""
    rng = np.random.default_rng([seed, patch.number, int(patch.x) % 1000, patch.epsg])
    kind = patch.number % 8
    label = np.full((size, size), kind)
    label[: size // 4] = (kind + 1) % 8
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


def make(root, patches, size=SIZE, seed=0, **options):
    """Write the files of all patches below `root` and return it."""
    for patch in patches:
        for sensor, array in images(patch, size, seed).items():
            write(Path(root) / patch.pattern.format(sensor), array, patch.epsg, patch.x, patch.y, **options)
    return Path(root)


def world(root, **options):
    """All kinds side by side: two pretraining seasons of two scenes each, and layout A with regions."""
    patches = []
    for k, season in enumerate(("ROIs1158_spring", "ROIs1868_summer")):
        for scene in (8, 9):
            patches += sen12ms(season, scene, epsg=32601 + 10 * k + scene)
    regions = ((32632, 5e5, 5e6), (32735, 3e5, 7e6), (32750, 4e5, 6e6))
    patches += layout_a("validation", regions)
    patches += layout_a("test", ((32640, 5e5, 5e6), (32755, 5e5, 5e6)))
    return make(root, patches, **options)
