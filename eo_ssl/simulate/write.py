"""GeoTIFF files of one scene: UTM, 10 m, compressed, each in place at once or not at all."""

import os
import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np
import rasterio
from rasterio import Affine
from rasterio.crs import CRS

from eo_ssl.simulate.world import SceneSpec

# Deflate is in every GDAL build; level 1 and a predictor give most of the gain at a third of the time.
_OPTIONS = {"driver": "GTiff", "compress": "deflate", "zlevel": 1, "interleave": "band"}
_PREDICTOR = {"s1": 3, "s2": 2, "lc": 1, "dfc": 1}


@lru_cache(maxsize=64)
def _crs(epsg: int) -> CRS:
    return CRS.from_epsg(epsg)


def write_scene(root: Path, spec: SceneSpec, images: dict[str, np.ndarray]) -> None:
    """Cut the images, (bands, size, size) by sensor, into patches and write them below `root`."""
    for sensor, image in images.items():
        (root / spec.path(sensor, 0)).parent.mkdir(parents=True, exist_ok=True)
        for patch in range(spec.grid**2):
            row, col = divmod(patch, spec.grid)
            y, x = row * spec.stride, col * spec.stride
            window = image[:, y : y + spec.patch, x : x + spec.patch]
            west, north = spec.easting + 10.0 * x, spec.northing - 10.0 * y
            _write(root / spec.path(sensor, patch), window, spec.region.epsg, west, north, _PREDICTOR[sensor])


def _write(target: Path, image: np.ndarray, epsg: int, west: float, north: float, predictor: int) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    bands, height, width = image.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(
            temporary, "w", width=width, height=height, count=bands, dtype=image.dtype, crs=_crs(epsg),
            transform=Affine(10.0, 0.0, west, 0.0, -10.0, north), predictor=predictor, blockysize=height, **_OPTIONS,
        ) as file:  # fmt: skip
            file.write(image)
    os.replace(temporary, target)
