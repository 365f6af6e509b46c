"""Reads one patch from its GeoTIFF files and refuses what is not as expected, naming the file.

Files made of strips, plain or deflated, are decoded directly; everything else is read with rasterio.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from eo_ssl.data.strips import Window, read_strips
from eo_ssl.data.tiff import read_header
from eo_ssl.data.tiff_metadata import described, s2_offset
from eo_ssl.errors import DataError
from eo_ssl.sensors import S1_BANDS, S2_BANDS

S1_RANGE = (-120.0, 60.0)  # dB; no Sentinel-1 pixel lies outside
_GDAL = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_CACHEMAX": 64, "GTIFF_IGNORE_READ_ERRORS": "NO"}
MOST_VALUES = 2**28


class PatchError(DataError):
    """A file that is not what it should be; `kind` says in one word what is wrong."""

    def __init__(self, message: str, kind: str = "unreadable") -> None:
        super().__init__(message)
        self.kind = kind


def read_s1(path: str | Path, window: Window = None, scale: float | None = None) -> np.ndarray:
    """Backscatter (2, H, W) float32 in dB; no-data and non-finite pixels become NaN.

    float32 and float64 files hold dB. Integer files hold dB / scale, where the scale is the argument, or
    what the file itself declares (scale and offset), or 1. Raises `DataError` for other types, for another
    number of bands, and for values no Sentinel-1 image has (a scaled file whose scale nobody named).
    """
    data, meta = _read(Path(path), window)
    _expect_bands(path, data, (len(S1_BANDS),), "S1 (VV, VH)")
    if data.dtype.kind not in "fi":
        raise PatchError(
            f"{path}: S1 as {data.dtype}; expected float32, float64, int16 or int32 in dB", "type"
        )
    nodata = None if meta["nodata"] is None else data == meta["nodata"]
    declared = scale is None and data.dtype.kind == "i"
    image = data.astype(np.float32)
    if data.dtype.kind == "i":
        image = image * np.float32(meta["scale"] if declared else scale or 1.0)
        image = image + np.float32(meta["offset"]) if declared else image
    if nodata is not None:
        image[nodata] = np.nan
    image[~np.isfinite(image)] = np.nan
    low, high = np.nanmin(image, initial=0), np.nanmax(image, initial=0)
    if low < S1_RANGE[0] or high > S1_RANGE[1]:
        hint = " (integers: give the scale, for example 0.01)" if data.dtype.kind == "i" else ""
        raise PatchError(f"{path}: S1 from {low:.0f} to {high:.0f}, which is not decibels{hint}", "range")
    return image


def read_s2(path: str | Path, window: Window = None) -> tuple[np.ndarray, int]:
    """Digital numbers (13, H, W) uint16 and the offset the file declares (0 or 1000).

    Files whose band descriptions are band names are sorted by name, and a missing B10 becomes 0; 13 bands
    without names are taken in the order B01…B08, B8A, B09…B12. The offset of processing baseline 04.00 and
    later is read from the tags RADIO_ADD_OFFSET, BOA_ADD_OFFSET or PROCESSING_BASELINE, never guessed.
    """
    data, meta = _read(Path(path), window)
    _expect_bands(path, data, (len(S2_BANDS), len(S2_BANDS) - 1), "S2")
    if data.dtype.kind not in "ui":
        raise PatchError(f"{path}: S2 as {data.dtype}; expected uint16 digital numbers", "type")
    if data.dtype != np.uint16:
        if data.min() < 0 or data.max() > 65535:
            raise PatchError(f"{path}: S2 from {data.min()} to {data.max()}; expected 0 to 65535", "range")
        data = data.astype(np.uint16)
    if meta["nodata"] not in (None, 0):
        data = np.where((data == meta["nodata"]).all(0), np.uint16(0), data)
    return _by_name(path, data, meta["bands"]), meta["s2_offset"]


def read_labels(path: str | Path, window: Window = None) -> np.ndarray:
    """First band (H, W) uint8 of a label map (`lc`: IGBP, `dfc`: DFC-10 codes)."""
    data, _ = _read(Path(path), window)
    _expect_bands(path, data, (1, 4), "a label map")
    if data.dtype.kind not in "ui":
        raise PatchError(f"{path}: label map as {data.dtype}; expected integer codes", "type")
    labels = data[0]
    if labels.size and (labels.min() < 0 or labels.max() > 255):
        raise PatchError(f"{path}: label codes from {labels.min()} to {labels.max()}", "labels")
    return labels.astype(np.uint8)


def _expect_bands(path: str | Path, data: np.ndarray, counts: tuple[int, ...], what: str) -> None:
    if data.shape[0] not in counts:
        expected = " or ".join(map(str, counts))
        raise PatchError(f"{path}: {data.shape[0]} bands where {what} has {expected}", "bands")


def _by_name(path: str | Path, data: np.ndarray, names: list[str]) -> np.ndarray:
    if names == list(S2_BANDS) or (not any(names) and len(data) == len(S2_BANDS)):
        return data
    known = {name: i for i, name in enumerate(names) if name in S2_BANDS}
    if len(known) == len(data) and set(S2_BANDS) - set(known) <= {"B10"}:
        result = np.zeros((len(S2_BANDS), *data.shape[1:]), data.dtype)
        for k, name in enumerate(S2_BANDS):
            if name in known:
                result[k] = data[known[name]]
        return result
    if len(data) == len(S2_BANDS) and not known:
        return data  # descriptions, but not band names
    named = ", ".join(filter(None, names)) or "nothing"
    raise PatchError(f"{path}: {len(data)} bands named {named}; cannot tell which they are", "bands")


def _read(path: Path, window: Window) -> tuple[np.ndarray, dict[str, Any]]:
    """All bands of a window (C, H, W) in the file's own type, and what the file says about them."""
    try:
        header = read_header(path)
        if header is not None and not all(header.sizes):  # GDAL would read them as zeros
            raise PatchError(f"{path}: parts of the image were never written")
        data = None if header is None else read_strips(path, header, window)
    except OSError as error:
        raise PatchError(f"{path}: cannot be read ({error.strerror or error})") from error
    if header is not None and data is not None:
        try:
            return data, described(header.nodata, header.metadata)
        except ValueError as error:
            raise PatchError(f"{path}: its metadata cannot be read ({error})") from error
    return _read_gdal(path, window)


def _read_gdal(path: Path, window: Window) -> tuple[np.ndarray, dict[str, Any]]:
    import rasterio

    try:
        with rasterio.Env(**_GDAL), rasterio.open(path, sharing=False) as image:
            _expect_sane(path, image.count, image.height, image.width)
            area = None if window is None else rasterio.windows.Window(window[1], window[0], *[window[2]] * 2)
            data = image.read(window=area)
            meta = {
                "nodata": image.nodata,
                "scale": image.scales[0],
                "offset": image.offsets[0],
                "bands": [name or "" for name in image.descriptions],
                "s2_offset": s2_offset(image.tags()),
            }
    except DataError:
        raise
    except Exception as error:  # GDAL meets broken bytes with many kinds of errors; all mean the same here
        raise PatchError(f"{path}: not a readable GeoTIFF ({_one_line(error)})") from error
    if window is not None and data.shape[1:] != (window[2], window[2]):
        raise PatchError(f"{path}: smaller than the window {window}", "size")
    return data, meta


def _expect_sane(path: Path, count: int, height: int, width: int) -> None:
    if count * height * width > MOST_VALUES:
        raise PatchError(
            f"{path}: {count} bands of {height} × {width} pixels; a patch is far smaller", "size"
        )


def _one_line(error: Exception) -> str:
    return " ".join(str(error.__cause__ or error).split())[:200]


def place(path: str | Path) -> tuple[int, float, float, float] | None:
    """EPSG code (0 if the CRS has none), upper-left x and y in CRS units, and pixel size; None if unknown."""
    import rasterio

    try:
        header = read_header(path)
        if header is not None and (header.epsg or math.isnan(header.x)):
            return (header.epsg, header.x, header.y, header.resolution) if header.epsg else None
        with rasterio.Env(**_GDAL), rasterio.open(path, sharing=False) as image:
            t = image.transform
            return None if image.crs is None else (image.crs.to_epsg() or 0, t.c, t.f, t.a)
    except (OSError, rasterio.errors.RasterioError) as error:
        raise PatchError(f"{path}: cannot be read ({error})") from error
