"""Reads the header of a GeoTIFF file in one disk access.

GDAL needs about half a millisecond to open a patch; for 180,662 patches that is minutes per sensor. This
module understands classic little- or big-endian TIFF (TIFF 6.0; GeoTIFF 1.1 keys for the CRS) as far as
the patches need it and returns None for anything else, which the caller then gives to rasterio.
"""

import os
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 11: 4, 12: 8}
_CODES = {1: "B", 3: "H", 4: "I", 11: "f", 12: "d"}
_KINDS = {1: "u", 2: "i", 3: "f"}
_FIRST_READ = 16384
WIDTH, HEIGHT, BITS, COMPRESSION, STRIPS, SAMPLES, ROWS, COUNTS = 256, 257, 258, 259, 273, 277, 278, 279
PLANAR, PREDICTOR, TILE_WIDTH, TILES, TILE_COUNTS, SAMPLE_FORMAT = 284, 317, 322, 324, 325, 339
PIXEL_SCALE, TIEPOINT, TRANSFORM, GEO_KEYS, METADATA, NODATA = 33550, 33922, 34264, 34735, 42112, 42113
_PROJECTED, _GEOGRAPHIC = 3072, 2048
_REALS = {PIXEL_SCALE, TIEPOINT, TRANSFORM}
_TEXTS = {METADATA, NODATA}
_WHOLES = {
    WIDTH, HEIGHT, BITS, COMPRESSION, STRIPS, SAMPLES, ROWS, COUNTS, PLANAR, PREDICTOR, TILE_WIDTH, TILES,
    TILE_COUNTS, SAMPLE_FORMAT, GEO_KEYS,
}  # fmt: skip
_DTYPES = {"u1", "u2", "u4", "i1", "i2", "i4", "f4", "f8"}


@dataclass(frozen=True, slots=True)
class Header:
    """What a patch file says of itself; lengths in pixels, `x`, `y` the upper-left corner in CRS units."""

    width: int
    height: int
    count: int
    dtype: str
    compression: int
    predictor: int
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
        if tag not in _REALS | _TEXTS | _WHOLES:
            continue
        if kind not in _kinds(tag) or not 0 < count * _SIZES[kind] <= size:
            raise ValueError(f"tag {tag} has an impossible type or length")
        length = count * _SIZES[kind]
        raw = table[12 * i + 8 : 12 * i + 8 + length]
        if length > 4:
            raw = _bytes(file, head, struct.unpack_from(order + "I", table, 12 * i + 8)[0], length)
        tags[tag] = _values(order, kind, count, raw)
    return _header(order, tags)


def _bytes(file: Any, head: bytes, at: int, length: int) -> bytes:
    if at + length <= len(head):
        return head[at : at + length]
    data = read_at(file, length, at)
    if len(data) != length:
        raise ValueError("the file ends inside its header")
    return data


def _kinds(tag: int) -> set[int]:
    """Codes of the types a tag may have: text, real or unsigned whole numbers."""
    return {2} if tag in _TEXTS else {11, 12} if tag in _REALS else {1, 3, 4}


def _values(order: str, kind: int, count: int, raw: bytes) -> Any:
    if kind == 2:
        return raw.rstrip(b"\0").decode("latin-1")
    return struct.unpack(f"{order}{count}{_CODES[kind]}", raw)


def _header(order: str, tags: dict[int, Any]) -> Header | None:
    if not (tags[WIDTH][0] and tags[HEIGHT][0] and tags.get(SAMPLES, (1,))[0] and tags.get(ROWS, (1,))[0]):
        return None
    bits = set(tags[BITS])
    kinds = set(tags.get(SAMPLE_FORMAT, (1,)))
    if len(bits) != 1 or len(kinds) != 1:
        return None
    value = f"{_KINDS[kinds.pop()]}{bits.pop() // 8}"
    if value not in _DTYPES:
        return None
    x, y, resolution = _place(tags)
    nodata = tags.get(NODATA)
    return Header(
        width=tags[WIDTH][0],
        height=tags[HEIGHT][0],
        count=tags.get(SAMPLES, (1,))[0],
        dtype=np.dtype(order + value).str,
        compression=tags.get(COMPRESSION, (1,))[0],
        predictor=tags.get(PREDICTOR, (1,))[0],
        epsg=_epsg(tags.get(GEO_KEYS, ())),
        x=x,
        y=y,
        resolution=resolution,
        nodata=float(nodata.strip()) if nodata else None,
        metadata=tags.get(METADATA, ""),
        offsets=tags.get(STRIPS, tags.get(TILES, ())),
        sizes=tags.get(COUNTS, tags.get(TILE_COUNTS, ())),
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


def read_at(file: Any, length: int, at: int) -> bytes:
    """`length` bytes from position `at`, fewer at the end of the file."""
    if hasattr(os, "pread"):
        return os.pread(file.fileno(), length, at)
    file.seek(at)
    return file.read(length)
