"""Reads the header of a plain TIFF file in one disk access, and its pixels where they are not compressed.

GDAL needs about half a millisecond to open a patch and builds a block cache for one window; for
180,662 patches that is minutes per sensor. This module understands classic little- or big-endian TIFF
(TIFF 6.0; GeoTIFF 1.1 keys for the CRS) as far as the patches need it and returns None for anything
else, which the caller then gives to rasterio.
"""

import os
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from eo_ssl.errors import DataError

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_CODES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d"}
_KINDS = {1: "u", 2: "i", 3: "f"}
_FIRST_READ = 16384
WIDTH, HEIGHT, BITS, COMPRESSION, STRIPS, SAMPLES, ROWS, COUNTS, PLANAR = (
    256, 257, 258, 259, 273, 277, 278, 279, 284,
)  # fmt: skip
TILE_WIDTH, SAMPLE_FORMAT, PIXEL_SCALE, TIEPOINT, TRANSFORM, GEO_KEYS, METADATA, NODATA = (
    322, 339, 33550, 33922, 34264, 34735, 42112, 42113,
)  # fmt: skip
_PROJECTED, _GEOGRAPHIC = 3072, 2048


@dataclass(frozen=True, slots=True)
class Header:
    """What a patch file says of itself; lengths in pixels, `x`, `y` the upper-left corner in CRS units."""

    width: int
    height: int
    count: int
    dtype: str
    compressed: bool
    epsg: int  # 0 if the file names no EPSG code
    x: float  # NaN if not georeferenced
    y: float
    resolution: float
    nodata: float | None
    metadata: str
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    rows_per_strip: int
    planar: bool
    tiled: bool


def read_header(path: str | os.PathLike[str]) -> Header | None:
    """Parse the first image of a TIFF file; None if it is not a TIFF this module understands.

    Raises OSError only where the file cannot be opened or read.
    """
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            return _parse(file, file.read(_FIRST_READ), size)
        except (struct.error, ValueError, KeyError, IndexError, OverflowError):
            return None


def _parse(file: Any, head: bytes, size: int) -> Header | None:
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(head[:4])
    if order is None:
        return None
    at = struct.unpack_from(order + "I", head, 4)[0]
    (entries,) = struct.unpack(order + "H", _bytes(file, head, at, 2))
    table = _bytes(file, head, at + 2, 12 * entries)
    tags = {}
    for i in range(entries):
        tag, kind, count = struct.unpack_from(order + "HHI", table, 12 * i)
        if kind not in _SIZES or count * _SIZES[kind] > size:
            continue
        length = count * _SIZES[kind]
        raw = table[12 * i + 8 : 12 * i + 8 + length]
        if length > 4:
            raw = _bytes(file, head, struct.unpack_from(order + "I", table, 12 * i + 8)[0], length)
        tags[tag] = _values(order, kind, count, raw)
    return _header(order, tags)


def _bytes(file: Any, head: bytes, at: int, length: int) -> bytes:
    if at + length <= len(head):
        return head[at : at + length]
    data = _read_at(file, length, at)
    if len(data) != length:
        raise ValueError("the file ends inside its header")
    return data


def _values(order: str, kind: int, count: int, raw: bytes) -> Any:
    if kind == 2:
        return raw.rstrip(b"\0").decode("latin-1")
    if kind not in _CODES:
        return raw
    return struct.unpack(f"{order}{count}{_CODES[kind]}", raw)


def _header(order: str, tags: dict[int, Any]) -> Header | None:
    bits = set(tags[BITS])
    kinds = set(tags.get(SAMPLE_FORMAT, (1,)))
    if len(bits) != 1 or len(kinds) != 1 or not kinds <= set(_KINDS):
        return None
    x, y, resolution = _place(tags)
    nodata = tags.get(NODATA)
    dtype = np.dtype(f"{order}{_KINDS[kinds.pop()]}{bits.pop() // 8}")
    return Header(
        width=tags[WIDTH][0],
        height=tags[HEIGHT][0],
        count=tags.get(SAMPLES, (1,))[0],
        dtype=dtype.str,
        compressed=tags.get(COMPRESSION, (1,))[0] != 1,
        epsg=_epsg(tags.get(GEO_KEYS, ())),
        x=x,
        y=y,
        resolution=resolution,
        nodata=float(nodata.strip()) if nodata else None,
        metadata=tags.get(METADATA, ""),
        offsets=tags.get(STRIPS, ()),
        sizes=tags.get(COUNTS, ()),
        rows_per_strip=min(tags.get(ROWS, tags[HEIGHT])[0], tags[HEIGHT][0]),
        planar=tags.get(PLANAR, (1,))[0] == 2,
        tiled=TILE_WIDTH in tags,
    )


def _place(tags: dict[int, Any]) -> tuple[float, float, float]:
    scale, tie, matrix = tags.get(PIXEL_SCALE), tags.get(TIEPOINT), tags.get(TRANSFORM)
    if scale and tie and len(tie) >= 6:
        return tie[3] - tie[0] * scale[0], tie[4] + tie[1] * scale[1], scale[0]
    if matrix and len(matrix) == 16 and matrix[1] == matrix[4] == 0:
        return matrix[3], matrix[7], matrix[0]
    return float("nan"), float("nan"), float("nan")


def _epsg(keys: tuple[int, ...]) -> int:
    found = {keys[i]: keys[i + 3] for i in range(4, len(keys) - 3, 4) if keys[i + 1] == 0}
    code = found.get(_PROJECTED, found.get(_GEOGRAPHIC, 0))
    return code if code != 32767 else 0  # 32767 is "user-defined"


def read_plain(
    path: str | os.PathLike[str], header: Header, window: tuple[int, int, int] | None
) -> np.ndarray | None:
    """Pixels (C, H, W) of a window (top, left, size) of an uncompressed file, read without GDAL.

    Strips of the rows wanted are read in one piece where they lie one after the other. None if the file is
    compressed or tiled; raises `DataError` if it ends before its pixels do or the window does not fit.
    """
    if header.compressed or header.tiled or not header.offsets:
        return None
    dtype = np.dtype(header.dtype)
    top, left, height, width = 0, 0, header.height, header.width
    if window is not None:
        top, left, height, width = window[0], window[1], window[2], window[2]
    if top < 0 or left < 0 or top + height > header.height or left + width > header.width:
        raise DataError(f"{path}: {header.height} × {header.width} pixels, smaller than the window {window}")
    planes, samples = (header.count, 1) if header.planar else (1, header.count)
    line = header.width * samples * dtype.itemsize
    per_plane = -(-header.height // header.rows_per_strip)
    if len(header.offsets) != planes * per_plane or len(header.sizes) != len(header.offsets):
        return None
    first, last = top // header.rows_per_strip, (top + height - 1) // header.rows_per_strip
    skip = top - first * header.rows_per_strip
    parts = []
    with open(path, "rb", buffering=0) as file:
        for plane in range(planes):
            strips = range(plane * per_plane + first, plane * per_plane + last + 1)
            raw = _strips(file, header, strips)
            rows = np.frombuffer(raw, dtype)[skip * line // dtype.itemsize :]
            if rows.size < height * line // dtype.itemsize:
                raise DataError(f"{path}: the file ends before its pixels do (truncated)")
            rows = rows[: height * line // dtype.itemsize].reshape(height, header.width, samples)
            parts.append(rows[:, left : left + width])
    data = np.concatenate(parts, axis=2) if planes > 1 else parts[0]
    return np.ascontiguousarray(data.transpose(2, 0, 1)).astype(dtype.newbyteorder("="), copy=False)


def _strips(file: Any, header: Header, strips: range) -> bytes:
    start, stop = header.offsets[strips[0]], header.offsets[strips[-1]] + header.sizes[strips[-1]]
    if stop - start == sum(header.sizes[i] for i in strips):
        return _read_at(file, stop - start, start)
    return b"".join(_read_at(file, header.sizes[i], header.offsets[i]) for i in strips)


def _read_at(file: Any, length: int, at: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(file.fileno(), length, at)
    file.seek(at)
    return file.read(length)
