"""Pixels of TIFF files made of strips, plain or deflated, without the detour through GDAL's block cache.

Only the strips, and within a deflated strip only the lines, that a window needs are decoded. Predictors
2 (differences of integers) and 3 (byte planes of floats) are those of TIFF 6.0 and Adobe's technical
note 3. Any other file gives None, and the caller takes rasterio.
"""

import os
import sys
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from eo_ssl.data.tiff import Header, read_at
from eo_ssl.errors import DataError

try:  # the same stream, decoded about twice as fast
    from isal import isal_zlib as _zlib
except ImportError:
    _zlib = zlib

Window = tuple[int, int, int] | None  # top, left, size
NONE, DEFLATE = (1,), (8, 32946)


def read_strips(path: str | os.PathLike[str], header: Header, window: Window) -> np.ndarray | None:
    """Pixels (C, H, W) of a window in native byte order; None if the file needs another reader.

    Raises `DataError` if the file ends before its pixels do, a strip does not decode, or the window does
    not fit into the image.
    """
    planes, samples = (header.count, 1) if header.planar else (1, header.count)
    per_plane = -(-header.height // max(header.rows_per_strip, 1))
    known = header.compression in NONE + DEFLATE and header.predictor in (1, 2, 3)
    if not known or header.tiled or len(header.offsets) != planes * per_plane != 0:
        return None
    if len(header.sizes) != len(header.offsets):
        return None
    top, left, height, width = window_of(path, header, window)
    decode = _decoder(header, samples, left, width)
    parts = []
    with open(path, "rb", buffering=0) as file:
        for plane in range(planes):
            lines = _lines(file, path, header, plane * per_plane, top, height, samples)
            parts.append(decode(lines))  # (H, W, samples)
    data = np.concatenate(parts, axis=2) if planes > 1 else parts[0]
    return np.ascontiguousarray(data.transpose(2, 0, 1))


def window_of(path: str | os.PathLike[str], header: Header, window: Window) -> tuple[int, int, int, int]:
    """Top, left, height and width of a window, checked against the image."""
    if window is None:
        return 0, 0, header.height, header.width
    top, left, size = window
    if top < 0 or left < 0 or top + size > header.height or left + size > header.width:
        raise DataError(f"{path}: {header.height} × {header.width} pixels, too small for the window {window}")
    return top, left, size, size


def _lines(
    file: Any, path: Any, header: Header, first_strip: int, top: int, height: int, samples: int
) -> np.ndarray:
    """Lines top … top + height of one plane as bytes (height, W · samples · itemsize), still predicted."""
    line = header.width * samples * np.dtype(header.dtype).itemsize
    rows = header.rows_per_strip
    first, last = top // rows, (top + height - 1) // rows
    strips = range(first_strip + first, first_strip + last + 1)
    if header.compression in NONE:
        raw = _plain(file, header, strips)
    else:
        wanted = [min(rows, top + height - k * rows) * line for k in range(first, last + 1)]
        whole = [min(rows, header.height - k * rows) * line for k in range(first, last + 1)]
        raw = b"".join(_inflate(file, path, header, *job) for job in zip(strips, wanted, whole))
    skip = (top - first * rows) * line
    if len(raw) < skip + height * line:
        raise DataError(f"{path}: the file ends before its pixels do (truncated)")
    return np.frombuffer(raw, np.uint8, height * line, skip).reshape(height, line)


def _plain(file: Any, header: Header, strips: range) -> bytes:
    start, stop = header.offsets[strips[0]], header.offsets[strips[-1]] + header.sizes[strips[-1]]
    if stop - start == sum(header.sizes[i] for i in strips):  # one after the other: one read
        return read_at(file, stop - start, start)
    return b"".join(read_at(file, header.sizes[i], header.offsets[i]) for i in strips)


def _inflate(file: Any, path: Any, header: Header, strip: int, length: int, whole: int) -> bytes:
    """The first `length` of the `whole` bytes of a deflated strip; the rest is not decoded.

    A strip that is wanted as a whole is compared with the checksum at its end.
    """
    raw = read_at(file, header.sizes[strip], header.offsets[strip])
    stream = _zlib.decompressobj()
    try:
        data = stream.decompress(raw, length)
        if length == whole and not stream.eof:  # go on to the checksum at its end
            stream.decompress(stream.unconsumed_tail, 1)
    except (zlib.error, _zlib.error) as error:
        raise DataError(f"{path}: strip {strip} does not decode ({error})") from error
    if len(data) != length or (length == whole and not stream.eof):
        raise DataError(f"{path}: strip {strip} ends before its pixels do (truncated)")
    return data


def _decoder(header: Header, samples: int, left: int, width: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function from predicted bytes (H, line) to the values of the columns wanted, (H, width, samples)."""
    dtype = np.dtype(header.dtype)
    native = dtype.newbyteorder("=")
    columns = slice(left, left + width)

    def plain(lines: np.ndarray) -> np.ndarray:
        values = lines.view(dtype).reshape(len(lines), header.width, samples)[:, columns]
        return values.astype(native, copy=False)

    def differences(lines: np.ndarray) -> np.ndarray:
        values = lines.view(dtype).reshape(len(lines), header.width, samples)[:, : left + width]
        return np.cumsum(values.astype(native, copy=False), axis=1, dtype=native)[:, left:]

    def planes(lines: np.ndarray) -> np.ndarray:
        summed = np.cumsum(lines.reshape(len(lines), -1, samples), axis=1, dtype=np.uint8)
        by_byte = summed.reshape(len(lines), dtype.itemsize, header.width, samples)[:, :, columns]
        if sys.byteorder == "little":  # the file has the most significant byte first
            by_byte = by_byte[:, ::-1]
        return np.ascontiguousarray(by_byte.transpose(0, 2, 3, 1)).view(native)[..., 0]

    return {1: plain, 2: differences, 3: planes}[header.predictor]
