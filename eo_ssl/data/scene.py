"""A whole georeferenced scene, Sentinel-2 with or without Sentinel-1, read by window on one grid of 10 m."""

import math
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from eo_ssl import sensors
from eo_ssl.data import geotiff
from eo_ssl.errors import DataError
from eo_ssl.sensors import DN_PER_REFLECTANCE, S1_BANDS, S2_BANDS

_GDAL = {"GDAL_CACHEMAX": 128, "GTIFF_IGNORE_READ_ERRORS": "NO"}
_RASTERS = (".tif", ".tiff", ".jp2")
_PRODUCT = re.compile(r"S2[A-D]_MSI(?:L1C|L2A)_\d{8}T\d{6}_N\d{4}_R\d{3}_T\w{5}")
Bands = dict[str, tuple[Any, int]]  # by name: an open image, and the number of the band in it


class Scene:
    """The bands of a scene on the grid of its finest Sentinel-2 band: checked when opened, read by window.

    `s2` and `s1` (None: no radar) name a file whose bands are named in any spelling, or a folder with a file for each
    band; 13 bands without names are B01…B12 in order. Radar is σ⁰ in dB on any grid. The product `level` and the `offset`
    of the digital numbers are what the files say (tags, or the name of the product) unless they are given.

    Raises `DataError` where bands, grid, values or place do not fit what the models of this package read.
    """

    def __init__(self, s2: Path, s1: Path | None = None, level: str = "", offset: int | None = None) -> None:
        self.paths = {"s2": s2} if s1 is None else {"s2": s2, "s1": s1}
        with ExitStack() as self._files:
            self._files.enter_context(rasterio.Env(**_GDAL))
            optical = self._find(s2, S2_BANDS, sensors.s2_band, "uint16")
            self.grid = min((image for image, _ in optical.values()), key=lambda image: image.res[0])
            self._require_place(s2)
            product = re.search(r"MSI(L1C|L2A)", str(Path(self.grid.name).resolve()))
            self.level = level or (product[1] if product else "L1C" if "B10" in optical else "L2A")
            self.offset = _offset(self.grid) if offset is None else offset
            self._bands = {"s2": self._on_grid(optical, 0)}
            if s1 is not None:
                radar = self._find(s1, S1_BANDS, sensors.s1_band, "float32")
                self._require_overlap(s1, radar["VV"][0])
                self._bands["s1"] = self._on_grid(radar, math.nan)
            self._files = self._files.pop_all()  # all is well: they stay open

    def __enter__(self) -> "Scene":
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def _find(self, path: Path, bands: tuple[str, ...], name_of: Callable[[str], str], kind: str) -> Bands:
        """Where each band is; of several files of one band the finest."""
        files = [path]
        if path.is_dir():  # MSK_…: masks of a product, named after bands
            inside = (p for p in sorted(path.rglob("*")) if p.suffix.lower() in _RASTERS)
            files = [p for p in inside if not p.name.startswith("MSK_")]
            products = {name[0] for p in files if (name := _PRODUCT.search(str(p.resolve())))}
            if len(products) > 1:
                raise DataError(f"{path}: holds {' and '.join(sorted(products))}; give the folder of one")
        found: Bands = {}
        seen: list[str] = []
        for file in files:
            with _naming(file):
                image = rasterio.open(file, sharing=False)
            self._files.enter_context(image)
            names = [name or "" for name in image.descriptions]
            if path.is_dir():
                names = [next(filter(name_of, re.split(r"[_.-]", file.stem)), file.name)]
            elif not any(names) and image.count == len(bands):
                names = list(bands)
            seen += filter(None, names)
            for number, name in enumerate(map(name_of, names), 1):
                if name in bands and (name not in found or image.res[0] < found[name][0].res[0]):
                    found[name] = image, number
        if missing := [name for name in bands if name not in found and name != "B10"]:
            there = f"{len(files)} files" if path.is_dir() else f"{image.count} bands"
            called = f"named {', '.join(seen)[:200]}" if seen else "without names"
            hint = "name the bands in the descriptions of the file, or give a folder with a file for each"
            raise DataError(f"{path}: {there} {called}; {', '.join(missing)} not found: {hint}")
        types = {image.dtypes[number - 1] for image, number in found.values()}
        if types - {kind, kind.replace("32", "64")}:
            raise DataError(f"{path}: pixels are {', '.join(sorted(types))}; expected {kind}")
        return found

    def _require_place(self, path: Path) -> None:
        """Raise `DataError` unless pixels are squares of 10 m in a projected reference system."""
        crs, sides = self.grid.crs, self.grid.res
        if crs is None:
            raise DataError(
                f"{path}: no coordinate reference system: a map of it would lie nowhere; assign one"
            )
        fix = "warp it first, for example: gdalwarp -t_srs EPSG:32633 -tr 10 10 -r bilinear"
        if not crs.is_projected:
            raise DataError(f"{path}: {crs} is geographic, in degrees, and the models count in metres; {fix}")
        if max(abs(side - 10) for side in sides) > 0.5:
            size = " × ".join(f"{side:g}" for side in sides)
            raise DataError(f"{path}: pixels of {size}, the models were trained on 10 × 10 m; {fix}")

    def _require_overlap(self, path: Path, radar: Any) -> None:
        """Raise `DataError` unless the radar image has a place and covers some of the scene."""
        if radar.crs is None:
            raise DataError(f"{path}: no coordinate reference system: it cannot be laid over S2; assign one")
        west, south, east, north = transform_bounds(radar.crs, self.grid.crs, *radar.bounds)
        left, bottom, right, top = self.grid.bounds
        if not (west < right and left < east and south < top and bottom < north):
            raise DataError(f"{path}: does not overlap {self.paths['s2']}; give radar of the same place")

    def _on_grid(self, bands: Bands, nodata: float) -> Bands:
        """The same, resampled as they are read: bilinearly between the centres of valid pixels."""
        grid, warped = self.grid, {}
        where = {"crs": grid.crs, "transform": grid.transform, "width": grid.width, "height": grid.height}
        for image in dict.fromkeys(image for image, _ in bands.values()):
            how: dict[str, Any] = {"resampling": Resampling.bilinear, "UNIFIED_SRC_NODATA": "YES"}
            how |= {"src_nodata": 0 if image.nodata is None else image.nodata, "nodata": nodata}
            warped[image] = self._files.enter_context(WarpedVRT(image, **where, **how))
        return {name: (warped[image], number) for name, (image, number) in bands.items()}

    def _pixels(self, sensor: str, order: tuple[str, ...], window: Window) -> np.ndarray:
        """A window of all bands in order, (C, h, w) float32; NaN for a band that is not there."""
        bands = self._bands[sensor]
        found = np.full((len(order), window.height, window.width), np.nan, np.float32)
        for image in dict.fromkeys(image for image, _ in bands.values()):
            mine = {order.index(name): number for name, (where, number) in bands.items() if where is image}
            with _naming(self.paths[sensor]):
                found[[*mine]] = image.read([*mine.values()], window=window)
        return found

    def read(self, top: int, left: int, height: int, width: int) -> dict[str, np.ndarray]:
        """A window: s2 (13, h, w) reflectance, s1 (2, h, w) dB, valid (h, w), beyond the scene its mirror image.

        A pixel that one sensor does not show is NaN and not valid. Raises `DataError` for what cannot be read, and for
        radar that is not in decibels.
        """
        high, wide = self.grid.shape
        (y0, y1), (x0, x1) = (max(top, 0), min(top + height, high)), (max(left, 0), min(left + width, wide))
        window = Window(x0, y0, x1 - x0, y1 - y0)
        numbers = self._pixels("s2", S2_BANDS, window)
        valid = (np.nan_to_num(numbers) != 0).any(0)
        found = {"s2": (numbers - np.float32(self.offset)) / np.float32(DN_PER_REFLECTANCE), "valid": valid}
        if "s1" in self._bands:
            found["s1"] = db = self._pixels("s1", S1_BANDS, window)
            low, most = np.nanmin(db, initial=np.inf), np.nanmax(db, initial=-np.inf)
            if low < geotiff.S1_RANGE[0] or 0 <= low < np.inf:
                why = f"{low:.3g} to {most:.3g} are not decibels; give 10·log10(σ⁰)"
                raise DataError(f"{self.paths['s1']}: values from {why}")
            valid &= np.isfinite(db).all(0)
        found["s2"][:, ~valid] = np.nan
        beyond = ((y0 - top, top + height - y1), (x0 - left, left + width - x1))
        return {k: np.pad(x, ((0, 0),) * (x.ndim - 2) + beyond, "symmetric") for k, x in found.items()}


def _offset(image: Any) -> int:
    """What was added to the digital numbers, as tags say it, or the baseline in the name of the product."""
    path = Path(image.name)
    said = geotiff.declared_offset(path, image.scales, image.offsets, image.tags())
    baseline = re.search(r"_(N\d{4})_", str(path.resolve()))
    return said or (sensors.baseline_offset(baseline[1]) if baseline else 0)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Whatever GDAL raises while it reads becomes one line."""
    try:
        yield
    except (RasterioError, OSError) as error:
        why = " ".join(str(error.__cause__ or error).split())[:200]
        raise DataError(f"{path}: cannot be read ({why}); fetch or write this file again") from error
