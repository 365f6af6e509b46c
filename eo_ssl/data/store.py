"""The packed store: patches in memory-mapped NumPy files, row i of each being row i of the catalog.

    store.json        format, bands, units, patch size, data set; written last
    catalog.parquet   the catalog, plus share of valid pixels, majority class and S2 offset
    s1.npy            (N, 2, H, W) int16: VV, VH in steps of 0.005 dB
    s2.npy            (N, 13, H, W) uint16: digital numbers, 0 in all bands where a pixel is no data
    labels.npy        (N, 2, H, W) uint8: DFC-10 code (0 if none) and IGBP code
    rows.npy          (N,) what each row was made from, its checksum, what is known of it, sums for the statistics

The checksum of a row is written after its pixels: a row without one, or made from files that have changed since, is
packed again. S2 and labels are stored as they are. S1 is rounded to 0.005 dB (error at most 0.0025 dB, a thousandth of
the speckle), −163.8 to 163.8 dB, and NaN stays NaN.
"""

import errno
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from eo_ssl import files
from eo_ssl.data import catalog as catalogs
from eo_ssl.data import geotiff
from eo_ssl.data.catalog import SENSORS, Card
from eo_ssl.data.source import (
    Affine,
    Source,
    class_counts,
    majority_of,
    read_pair,
    to_reflectance,
    valid_pixels,
)
from eo_ssl.data.statistics import NO_SUMS, Statistics, band_sums
from eo_ssl.errors import DataError
from eo_ssl.parallel import unordered
from eo_ssl.sensors import DFC10_TO_EIGHT, IGBP_TO_EIGHT, S1_BANDS, S2_BANDS

FORMAT, VERSION = "eo_ssl store", 2
STEP = 0.005  # dB
INVALID, LIMIT = -32768, 32767
ROW = np.dtype(
    [
        ("key", "S24"), ("crc", "i8"), ("valid", "f8"), ("majority", "i8"), ("s2_offset", "i8"),
        ("sums", "f8", NO_SUMS.shape),  # count, sum and sum of squares of valid pixels
    ]
)  # fmt: skip
IMAGES = {"s1": (len(S1_BANDS), np.int16), "s2": (len(S2_BANDS), np.uint16), "labels": (2, np.uint8)}
PARTS = (*IMAGES, "rows")
MISSING = 0  # in place of a checksum
HOLDOUT = "holdout.txt"  # copy of the list of held-out scenes, where the data set has one
AHEAD = 512  # patches under way at once: a gigabyte at 256 px


def quantise(db: np.ndarray) -> np.ndarray:
    """Backscatter in dB to int16 steps of 0.005 dB; NaN and infinities become the invalid code.

    >>> quantise(np.array([-12.3456, np.nan, -np.inf, -1e3])).tolist()
    [-2469, -32768, -32768, -32767]
    """
    steps = np.rint(np.clip(np.nan_to_num(db, nan=0.0), -STEP * LIMIT, STEP * LIMIT) / STEP)
    return np.where(np.isfinite(db), steps, INVALID).astype(np.int16)


def is_store(path: str | Path) -> bool:
    """True if the folder is a finished store."""
    return (Path(path) / "store.json").is_file()


class StoreSource(Source):
    """A packed store, opened read-only."""

    def __init__(self, path: Path, seed: int = 0) -> None:
        self.info = read_info(path)
        catalog = _read_catalog(path)
        catalog.attrs = dict(self.info["data"])
        super().__init__(path, catalog, seed, path / HOLDOUT if (path / HOLDOUT).exists() else None)
        self._fine = (catalog["dfc"] != "").to_numpy()
        self._holes = self._parts["rows"]["valid"] < 1
        self._offset = self._parts["rows"]["s2_offset"].copy()

    @cached_property
    def _parts(self) -> dict[str, np.ndarray]:
        return {part: open_part(self.path, part) for part in PARTS}

    def unmap(self) -> None:
        self.__dict__.pop("_parts", None)

    def __getstate__(self) -> dict[str, Any]:  # another process maps the files itself
        return {name: value for name, value in self.__dict__.items() if name != "_parts"}

    @property
    def patch_size(self) -> int:
        return int(self.info["patch_size"])

    def fill(
        self, row: int, top: int, left: int, s1: np.ndarray, s2: np.ndarray, affine: Affine
    ) -> np.ndarray | None:
        window = (row, slice(None), slice(top, top + s1.shape[-1]), slice(left, left + s1.shape[-1]))
        radar, numbers = self._parts["s1"][window], self._parts["s2"][window]
        np.multiply(radar, affine.s1_scale * np.float32(STEP), out=s1)
        s1 += affine.s1_shift
        to_reflectance(numbers, float(self._offset[row]), affine.s2_scale, affine.s2_shift, s2)
        if not self._holes[row]:
            return None
        s1[radar == INVALID] = np.nan
        optical = numbers.any(0)
        s2[:, ~optical] = np.nan
        valid = (radar != INVALID).all(0) & optical
        return None if valid.all() else valid

    def mask(self, row: int, top: int, left: int, size: int, coarse: bool = False) -> np.ndarray:
        fine = self._fine[row] and not coarse
        codes = self._parts["labels"][row, 0 if fine else 1, top : top + size, left : left + size]
        return (DFC10_TO_EIGHT if fine else IGBP_TO_EIGHT)[codes]

    def _statistics(self, rows: np.ndarray) -> Statistics:
        sums = self._parts["rows"]["sums"][rows]  # (n, 3, 15)
        scenes = pd.Series(np.arange(len(rows))).groupby(self.catalog["scene"].to_numpy()[rows])
        return Statistics.from_sums(sum((sums[part].sum(0) for _, part in scenes), NO_SUMS), str(self.path))

    def majority(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        return self.catalog["majority"].to_numpy()[np.asarray(rows, dtype=np.int64)]


def open_part(path: Path, part: str, mode: Any = "r") -> np.ndarray:
    """Map one file of a store; raises `DataError` if it is missing or damaged."""
    file = path / f"{part}.npy"
    try:
        return np.load(file, mmap_mode=mode).view(np.ndarray)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{file}: missing or damaged ({error}); pack the data again") from error


def _read_catalog(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path / "catalog.parquet")
    except (OSError, ValueError) as error:
        file = path / "catalog.parquet"
        raise DataError(f"{file}: missing or damaged ({error}); pack the data again") from error


def read_info(path: Path) -> dict[str, Any]:
    """`store.json` of a store; raises `DataError` for anything but a store of this version."""
    info = files.read_json(path / "store.json")
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        raise DataError(f"{path}: store.json does not describe a packed store")
    if info.get("version") != VERSION:
        raise DataError(
            f"{path}: store version {info.get('version')}, this program reads {VERSION}; pack again"
        )
    return info


def pack(
    root: str | Path, out: str | Path, pool: Executor | None = None, catalog: pd.DataFrame | None = None
) -> Path:
    """Pack all complete patches of `root`, or of its `catalog`, into the store `out`.

    Patches are read by the workers of `pool` (they must see the root under the same path), or here without one; this
    process alone writes. Rows that are there, undamaged and made from files that have not changed since, are kept, so
    an interrupted run goes on where it was, and the result is the same to the byte. Returns `out`. Raises `DataError`
    naming the file that cannot be read.
    """
    root, out = Path(root).resolve(), Path(out).resolve()
    found = catalogs.find(root) if catalog is None else catalog
    card: Card = found.attrs["card"]
    usable = found[(found["s1"] != "") & (found["s2"] != "") & (found["reason"] == "")].reset_index(drop=True)
    if usable.empty:
        raise DataError(f"{root}: no complete patch to pack; see `eo-ssl data check {root}`")
    patches = usable[["id", "scene", *SENSORS]].assign(row=range(len(usable))).to_dict("records")
    size = found.attrs["size"]
    work = partial(encode, root=root, card=card, size=size)
    there = sorted(path.name for path in out.glob("*") if path.suffix in (".npy", ".parquet"))
    if there and not is_store(out) and "rows.npy" not in there:
        raise DataError(f"{out}: holds a {there[0]} that was not packed here; choose a new folder")
    with files.locked(out / ".lock", "pack into this store"):
        parts = _open(out, len(patches), size)
        rows = parts["rows"]
        keys = np.array([_key(root, patch, card) for patch in patches])
        rows["crc"][rows["key"] != keys] = MISSING
        rows["key"][:] = keys
        todo = [patch for patch in patches if not _is_packed(parts, patch["row"])]
        if todo:
            (out / "store.json").unlink(missing_ok=True)  # until it is finished `out` is no store
        done = len(patches) - len(todo)
        with tqdm(total=len(patches), initial=done, desc="pack", unit="patch", disable=None) as bar:
            for patch, read in unordered(work, todo, pool, AHEAD):
                i = patch["row"]
                for name, value in read.result().items():
                    (parts if name in IMAGES else rows)[name][i] = value
                rows["crc"][i] = _checksum(parts, i)  # after the pixels
                bar.update()
        (out / HOLDOUT).unlink(missing_ok=True)
        if listed := card.holdout_below(root):
            shutil.copyfile(listed, out / HOLDOUT)
        _finish(out, usable, rows, size, found.attrs)
    return out


def verify(store: str | Path) -> list[str]:
    """Problems of a finished store: rows that do not match their checksums."""
    store = Path(store)
    try:
        known = read_info(store)
        ids = _read_catalog(store)["id"].tolist()
        parts = {part: open_part(store, part) for part in PARTS}
    except (DataError, OSError) as error:
        return [str(error)]
    if files.sha256(store / "catalog.parquet") != known["catalog"]:
        return [f"{store / 'catalog.parquet'}: does not match its checksum; pack the data again"]
    if {len(part) for part in parts.values()} != {len(ids)}:
        return [f"{store}: its files hold different numbers of patches"]
    bar = tqdm(range(len(ids)), desc="verify", unit="patch", disable=None)
    return [f"{ids[i]}: does not match its checksum" for i in bar if not _is_packed(parts, i)]


def encode(patch: dict[str, str], root: Path, card: Card, size: int) -> dict[str, Any]:
    """Read the files of one patch: what the files of the store hold of it, by part and by field of its row."""
    db, numbers, offset = read_pair(root, patch, card, size)
    labels = np.zeros((2, size, size), np.uint8)
    for k, sensor in enumerate(("dfc", "lc")):
        if patch[sensor]:
            codes = geotiff.read_labels(root / patch[sensor])
            geotiff.expect_size(root / patch[sensor], codes, size)
            labels[k] = codes
    classes = DFC10_TO_EIGHT[labels[0]] if patch["dfc"] else IGBP_TO_EIGHT[labels[1]]
    valid = valid_pixels(db, numbers)
    physical = Affine.physical()
    reflectance = to_reflectance(numbers, offset, physical.s2_scale, physical.s2_shift)
    reflectance[:, ~numbers.any(0)] = np.nan
    return {
        "s1": quantise(db),
        "s2": numbers,
        "labels": labels,
        "valid": 1.0 if valid is None else float(valid.mean()),
        "majority": majority_of(class_counts(classes)),
        "s2_offset": int(offset),
        "sums": band_sums(db, reflectance),
    }


def _key(root: Path, patch: dict[str, str], card: Card) -> bytes:
    """Changes with the files of a patch (names, sizes, times), with the units and with the store format."""
    stamps = [VERSION, patch["id"], card.units()]
    for path in filter(None, (patch[sensor] for sensor in SENSORS)):
        stamps += [path, *catalogs.stamp(root / path)]
    return hashlib.sha256(json.dumps(stamps, sort_keys=True).encode()).hexdigest()[:24].encode()


def _open(out: Path, count: int, size: int) -> dict[str, np.ndarray]:
    """The files of the store, mapped for writing: those that are there if they fit, or new ones."""
    forms = {"rows": ((count,), ROW)}  # first: it says that the others are ours
    forms |= {part: ((count, bands, size, size), np.dtype(kind)) for part, (bands, kind) in IMAGES.items()}
    with suppress(DataError):  # none there, or damaged
        parts = {part: open_part(out, part, "r+") for part in PARTS}
        if all((parts[part].shape, parts[part].dtype) == form for part, form in forms.items()):
            return parts
    needed = sum(int(np.prod(shape)) * kind.itemsize for shape, kind in forms.values())
    files.require_space(out, needed, "the packed store")
    (out / "store.json").unlink(missing_ok=True)
    for part, (shape, kind) in forms.items():
        (out / f"{part}.npy").unlink(missing_ok=True)
        np.lib.format.open_memmap(out / f"{part}.npy", "w+", kind, shape)  # zeros: nothing is packed yet
        _reserve(out / f"{part}.npy")
    return {part: open_part(out, part, "r+") for part in PARTS}


def _reserve(path: Path) -> None:
    """Take the disk space of a file made of zeros: on a full disk, to write into one that has none kills the process."""
    try:
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except AttributeError:  # not on this system
        return
    except OSError as error:  # others: a file system that cannot
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DataError(f"{path}: {error.strerror}; free some space or choose another folder") from error


def _is_packed(parts: dict[str, np.ndarray], i: int) -> bool:
    """Whether all that the store holds of a patch matches its checksum."""
    return parts["rows"]["crc"][i] == _checksum(parts, i)


def _checksum(parts: dict[str, np.ndarray], i: int) -> int:
    """CRC32 over all that the store holds of a patch, with a bit that tells it from `MISSING`."""
    row, value = parts["rows"][i], 0
    facts = (row[name] for name in ROW.names if name != "crc")
    for data in (*(parts[part][i] for part in IMAGES), *facts):
        value = zlib.crc32(np.ascontiguousarray(data), value)
    return value | 1 << 32


def _finish(out: Path, usable: pd.DataFrame, rows: np.ndarray, size: int, attrs: dict[str, Any]) -> None:
    """Write the catalog and, last of all, `store.json`, which makes the folder a store."""
    table = usable.assign(**{name: rows[name] for name in ("valid", "majority", "s2_offset")})
    table.attrs = {}
    with files.atomic_path(out / "catalog.parquet") as path:
        table.to_parquet(path)
    info = {
        "format": FORMAT,
        "version": VERSION,
        "patch_size": size,
        "patches": len(usable),
        "s1": {"bands": list(S1_BANDS), "unit": "dB", "step": STEP},
        "s2": {"bands": list(S2_BANDS), "unit": "digital number"},
        "data": {key: attrs[key] for key in ("name", "version", "level", "simulated", "state")},
        "catalog": files.sha256(out / "catalog.parquet"),
        "rows": hashlib.sha256(rows["crc"].tobytes()).hexdigest(),
    }
    files.write_json(out / "store.json", info)
