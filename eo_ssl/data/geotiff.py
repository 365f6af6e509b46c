"""Reads one patch from its GeoTIFF files with rasterio and refuses what is not as expected, naming the file.

What a file says of itself counts for all three kinds alike: names of bands, no-data value, scale and offset. A folder
with one file a band, each at its own resolution, is read like one file with all bands on the finest grid.
"""

import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
from rasterio.enums import Compression, Interleaving
from rasterio.errors import NotGeoreferencedWarning
from scipy import ndimage

from eo_ssl import sensors
from eo_ssl.errors import DataError
from eo_ssl.sensors import DN_PER_REFLECTANCE, IGNORE, S1_BANDS, S2_BANDS

Window = tuple[int, int, int] | None  # top, left, size
S1_RANGE = (-120.0, 60.0)  # dB; no Sentinel-1 pixel lies outside
_GDAL = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_CACHEMAX": 64, "GTIFF_IGNORE_READ_ERRORS": "NO"}
MOST_VALUES = 2**28  # of a broken header more would be asked for than there is memory
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)  # `check` says it by file


class PatchError(DataError):
    """A file that is not what it should be; `kind` says in one word what is wrong."""

    def __init__(self, message: str, kind: str = "unreadable") -> None:
        super().__init__(message)
        self.kind = kind


class Header(NamedTuple):
    """EPSG code (0 if none), upper-left corner and pixel size in CRS units (NaN if unknown), size in pixels."""

    epsg: int
    x: float
    y: float
    resolution: float
    width: float
    height: float


class Image(NamedTuple):
    """Pixels (C, H, W) in the file's own type, and what the file says of them."""

    data: np.ndarray
    nodata: float | None
    scales: np.ndarray  # (C, 1, 1) float32: value = number · scale + offset
    offsets: np.ndarray
    names: list[str]
    tags: dict[str, str]

    @property
    def scaled(self) -> bool:
        """Whether the file declares a scale or an offset."""
        return bool((self.scales != 1).any() or (self.offsets != 0).any())


def read_s1(path: Path, window: Window = None, scale: float | None = None, unit: str = "dB") -> np.ndarray:
    """Backscatter (2, H, W) float32 in dB, VV then VH by name; invalid pixels become NaN.

    Float files hold dB, or with `unit` "power" linear σ⁰. Integer files hold dB / scale, where the scale is the
    argument, or what the file itself declares (scale and offset of each band), or 1. Invalid are no-data and non-finite
    pixels, and the exact 0 in both bands that fills borders. Raises `PatchError` for other types, bands and values.
    """
    image = _read(path, window, (2,), "S1 (VV, VH)")
    if image.data.dtype not in ("float32", "float64", "int16", "int32"):
        raise PatchError(f"{path}: S1 as {image.data.dtype}; expected float or int16, int32 in dB", "type")
    whole = image.data.dtype.kind == "i"
    db = image.data.astype(np.float32)
    if whole and scale is not None:
        db = db * np.float32(scale)
    elif image.scaled:
        db = db * image.scales + image.offsets
    invalid = ~np.isfinite(image.data) | (image.data == 0).all(0)
    db[invalid if image.nodata is None else invalid | (image.data == image.nodata)] = np.nan
    if unit == "power":
        db = sensors.to_db(db)
    low, high = np.nanmin(db, initial=0), np.nanmax(db, initial=-np.inf)
    if low < S1_RANGE[0] or high > S1_RANGE[1]:
        hint = ' (integers: give the scale, for example "s1_scale": 0.01 in dataset.json)' if whole else ""
        raise PatchError(f"{path}: S1 from {low:.0f} to {high:.0f}, which is not decibels{hint}", "range")
    if low == 0 <= high:
        why = 'S1 without a negative value, which is power; give "s1_unit": "power" in dataset.json'
        raise PatchError(f"{path}: {why}", "power")
    return _ordered(path, db, list(map(sensors.s1_band, image.names)), S1_BANDS)


def read_s2(path: Path, window: Window = None, bands: tuple[str, ...] = ()) -> tuple[np.ndarray, int]:
    """Digital numbers (13, H, W) uint16, 0 in all bands where a pixel is no data, and the offset the file declares.

    Bands are sorted by their names in any spelling, a missing B10 becomes 0. Without names they are taken in the order
    `bands`, or if that is empty and there are 13, in the order B01…B08, B8A, B09…B12. The offset of processing baseline
    04.00 and later is read from the tags RADIO_ADD_OFFSET, BOA_ADD_OFFSET or PROCESSING_BASELINE or from the scale and
    offset of the bands, never guessed. Raises `PatchError` for anything else.
    """
    image = _read(path, window, (13, 12), "S2")
    data = image.data
    if data.dtype.kind not in "ui" or data.dtype == np.uint8:
        kind = "a picture" if data.dtype == np.uint8 else "no digital numbers"
        raise PatchError(f"{path}: S2 as {data.dtype}, {kind}; expected uint16 digital numbers", "type")
    if image.nodata:  # 0 needs no translation
        data = np.where((data == image.nodata).any(0), data.dtype.type(0), data)
    if data.min(initial=0) < 0 or data.max(initial=0) > 65535:
        raise PatchError(f"{path}: S2 from {data.min()} to {data.max()}; expected 0 to 65535", "range")
    names = list(map(sensors.s2_band, image.names))
    names = names if any(names) else list(bands)
    numbers = _ordered(path, data.astype(np.uint16, copy=False), names, S2_BANDS)
    return numbers, declared_offset(path, image.scales, image.offsets, image.tags)


def declared_offset(path: Path, scales: np.ndarray, offsets: np.ndarray, tags: dict[str, str]) -> int:
    """The offset added to every S2 digital number, as the product's own metadata state it."""
    scaled = (np.asarray(scales) != 1).any() or np.any(offsets)
    if scaled and not np.allclose(np.multiply(scales, DN_PER_REFLECTANCE), 1, rtol=1e-3):
        raise PatchError(f"{path}: S2 declares scales {np.unique(scales)}; expected 0.0001", "range")
    tags = {name.upper(): value for name, value in tags.items()}
    try:
        for name in ("RADIO_ADD_OFFSET", "BOA_ADD_OFFSET"):
            if name in tags:
                return -round(float(tags[name]))
        if tags.get("PROCESSING_BASELINE"):
            return sensors.baseline_offset(tags["PROCESSING_BASELINE"])
    except ValueError as error:
        raise PatchError(f'{path}: {error}; give "s2_offset" in dataset.json', "S2 offset") from error
    added = np.unique(np.rint(-np.divide(offsets, scales)))
    if len(added) > 1:
        raise PatchError(f"{path}: S2 declares offsets {added}; expected one for all bands", "S2 offset")
    return int(added[0])


def read_labels(path: Path, window: Window = None) -> np.ndarray:
    """First band (H, W) uint8 of a label map (`lc`: IGBP, `dfc`: DFC-10 codes); no-data pixels become 255.

    The codes of an ESA WorldCover map, known by its name, are translated to those of DFC-10.
    """
    image = _read(path, window, (1, 4), "a label map")
    if image.data.dtype.kind not in "ui" or image.scaled:
        raise PatchError(f"{path}: label map as {image.data.dtype}; expected plain integer codes", "type")
    codes = image.data[0].astype(np.int64)
    codes[codes == image.nodata] = IGNORE
    if codes.min(initial=0) < 0 or codes.max(initial=0) > 255:
        raise PatchError(f"{path}: label codes from {codes.min()} to {codes.max()}", "labels")
    codes = codes.astype(np.uint8)
    return sensors.WORLDCOVER_TO_DFC10[codes] if path.stem.endswith("_esaworldcover") else codes


def to_grid(
    band: np.ndarray, shape: tuple[int, int], step: float, offset: tuple[float, float] = (0.0, 0.0)
) -> np.ndarray:
    """Resample a coarser band to the 10 m grid, bilinearly between pixel *centres*: (h, w) → `shape`, float32.

    `step` is the target pixel in source pixels (0.5 for 20 m → 10 m, 1/6 for 60 m), `offset` the upper left corner of
    the target in source pixels. Bilinear, because copying (nearest neighbour) draws block edges that a network would
    read as texture, and cubic overshoots next to bright roofs and water. It adds no detail.

    >>> to_grid(np.array([[0.0, 1.0]]), (2, 4), 0.5).tolist()
    [[0.0, 0.25, 0.75, 1.0], [0.0, 0.25, 0.75, 1.0]]
    """
    band = band.astype(np.float32)
    if step == 1 and offset == (0.0, 0.0):
        return band
    start = [o + step / 2 - 0.5 for o in offset]  # centre of the first target pixel, in source pixel centres
    return ndimage.affine_transform(band, [step, step], start, shape, order=1, mode="nearest")


def read_header(path: Path) -> Header:
    """Where a file lies and how large it is, without its pixels; raises `PatchError` if it is no GeoTIFF."""
    if path.is_dir():  # one of the bands on the finest grid speaks for all
        bands = _bands(path)
        path = bands.get("B02") or bands.get("VV") or path
    with _opened(path) as image:
        t, crs = image.transform, image.crs
        place = (0, np.nan, np.nan, np.nan) if crs is None else (crs.to_epsg() or 0, t.c, t.f, t.a)
        return Header(*place, image.width, image.height)


def expect_size(path: Path, image: np.ndarray, size: int) -> None:
    """Raise `PatchError` unless an image (..., H, W) is `size` pixels wide and high."""
    height, width = image.shape[-2:]
    if (height, width) != (size, size):
        raise PatchError(f"{path}: {height} × {width} pixels, the other patches {size} × {size}", "size")


@contextmanager
def _opened(path: Path) -> Iterator[rasterio.DatasetReader]:
    """GDAL meets broken bytes with many kinds of errors, while opening and while reading; all mean the same here."""
    try:
        with rasterio.Env(**_GDAL), rasterio.open(path, driver="GTiff", sharing=False) as image:
            yield image
    except DataError:
        raise
    except Exception as error:
        why = " ".join(str(error.__cause__ or error).split())[:200]
        raise PatchError(f"{path}: not a readable GeoTIFF ({why})") from error


def _bands(folder: Path) -> dict[str, Path]:
    """The files of a folder by the band that their names end in: "S2A_…_90_11_B8A.tif" is B8A."""
    ends = {path: path.stem.rpartition("_")[2] for path in sorted(folder.glob("*.tif"))}
    return {
        band: path for path, end in ends.items() if (band := sensors.s2_band(end) or sensors.s1_band(end))
    }


def _read_folder(folder: Path, window: Window, bands: tuple[str, ...]) -> Image:
    """The bands of a folder, resampled to 10 m; digital numbers are rounded. B10 may be missing."""
    paths = _bands(folder)
    if missing := [band for band in bands if band not in paths and band != "B10"]:
        raise PatchError(
            f"{folder}: no file for band {', '.join(missing)}; unpack the archive again", "bands"
        )
    images = {band: _read(paths[band], None, (1,), "a band") for band in bands if band in paths}
    size = max(max(image.data.shape) for image in images.values())
    resolution = {band.name: band.resolution for band in sensors.S2}
    stack = np.empty((len(images), size, size), next(iter(images.values())).data.dtype)
    for band, image, plane in zip(images, images.values(), stack):
        step = 10 / resolution.get(band, 10)
        expect_size(paths[band], image.data, round(size * step))
        fine = to_grid(image.data[0], (size, size), step)
        plane[:] = np.rint(fine) if stack.dtype.kind in "ui" else fine
    if window is not None:
        top, left, side = window
        stack = stack[:, top : top + side, left : left + side]
    return next(iter(images.values()))._replace(data=stack, names=list(images))


def _read(path: Path, window: Window, counts: tuple[int, ...], what: str) -> Image:
    """All bands of a window, as many as one of `counts`, and what the file says about them."""
    if path.is_dir():
        return _read_folder(path, window, S1_BANDS if counts == (2,) else S2_BANDS)
    with _opened(path) as image:
        shape = (image.count, image.height, image.width)
        if np.prod(shape, dtype=float) > MOST_VALUES:
            raise PatchError(f"{path}: {' × '.join(map(str, shape))} values, far too many", "size")
        data = image.read(
            window=window and rasterio.windows.Window(window[1], window[0], window[2], window[2])
        )
        if window is None:
            _expect_sound(path, image)
        scales, offsets = (np.array(x, np.float32)[:, None, None] for x in (image.scales, image.offsets))
        names = [name or "" for name in image.descriptions]
        found = Image(data, image.nodata, scales, offsets, names, image.tags())
    if window is not None and data.shape[1:] != (window[2], window[2]):
        raise PatchError(f"{path}: smaller than the window {window}", "size")
    if len(data) not in counts:
        expected = " or ".join(map(str, counts))
        raise PatchError(f"{path}: {len(data)} bands where {what} has {expected}", "bands")
    return found


def require_sound(path: Path) -> None:
    """Raise `PatchError` for a GeoTIFF with parts that were never written, or that are damaged."""
    with _opened(path) as image:
        _expect_sound(path, image)


def _expect_sound(path: Path, image: rasterio.DatasetReader) -> None:
    """Raise for what GDAL reads without a word: blocks never written, and damage that a checksum would tell."""
    rows, columns = (-(-length // block) for length, block in zip(image.shape, image.block_shapes[0]))
    bands = image.indexes if image.interleaving == Interleaving.band else [1]
    with open(path, "rb") as file:
        for band, x, y in product(bands, range(columns), range(rows)):
            offset = image.get_tag_item(f"BLOCK_OFFSET_{x}_{y}", "TIFF", bidx=band)
            if offset is None:
                raise PatchError(f"{path}: parts of the image were never written")
            if image.compression == Compression.deflate:
                file.seek(int(offset))
                size = int(image.get_tag_item(f"BLOCK_SIZE_{x}_{y}", "TIFF", bidx=band))
                zlib.decompress(file.read(size))  # compares it with the checksum at its end


def _ordered(path: Path, data: np.ndarray, names: list[str], bands: tuple[str, ...]) -> np.ndarray:
    """The bands of a file in the order of `bands`, by name if it has names; a missing B10 is 0."""
    if len(data) == len(bands) and not any(names):
        return data
    known = {name: i for i, name in enumerate(names) if name in bands}
    if len(known) != len(data) or set(bands) - set(known) - {"B10"}:
        named = ", ".join(filter(None, names)) or "nothing"
        hint = 'give "s2_bands" in dataset.json' if "B01" in bands else f"expected {', '.join(bands)}"
        message = f"{len(data)} bands named {named}; cannot tell which they are ({hint})"
        raise PatchError(f"{path}: {message}", "bands")
    return np.stack([data[known[b]] if b in known else np.zeros_like(data[0]) for b in bands])
