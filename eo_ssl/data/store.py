"""The packed store: patches in memory-mapped NumPy files, with a checksum each.

    store.json        format, bands, units, patch size, data set; written last
    catalog.parquet   the catalog, plus share of valid pixels, majority class and S2 offset
    s1.npy            (N, 2, H, W) int16: VV, VH in steps of 0.005 dB
    s2.npy            (N, 13, H, W) uint16: digital numbers, 0 in all bands where a pixel is no data
    labels.npy        (N, 2, H, W) uint8: DFC-10 code (0 if none) and IGBP code
    rows.npy          (N,) what each row was made from, its checksum, what is known of it, sums for the statistics

Row i of each file is row i of the catalog. The checksum of a row is written after its pixels: a row without one, or
made from files that have changed since, is packed again.

Exactness: S2 and labels are stored as they are. S1 is rounded to 0.005 dB (error at most 0.0025 dB, a thousandth of the
speckle), −163.8 to 163.8 dB, and NaN stays NaN.
"""

import hashlib
import json
import shutil
import zlib
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from eo_ssl import files
from eo_ssl.data import catalog as catalogs
from eo_ssl.data import geotiff
from eo_ssl.data.catalog import SENSORS, Card
from eo_ssl.data.source import LEAST_VALID, Affine, Source, class_counts, majority_of, read_pair, valid_pixels
from eo_ssl.data.statistics import Statistics, Sums
from eo_ssl.errors import DataError
from eo_ssl.parallel import cores, executor, unordered
from eo_ssl.sensors import DFC10_TO_EIGHT, DN_PER_REFLECTANCE, IGBP_TO_EIGHT, S1_BANDS, S2_BANDS

FORMAT = "eo_ssl store"
VERSION = 2
STEP = 0.005  # dB
INVALID = -32768
LIMIT = 32767
PARTS = {"s1": (len(S1_BANDS), "int16"), "s2": (len(S2_BANDS), "uint16"), "labels": (2, "uint8")}
CHANNELS = len(S1_BANDS) + len(S2_BANDS)
ROW = np.dtype(
    [
        ("key", "S24"), ("crc", "i8"), ("valid", "f8"), ("majority", "i8"), ("s2_offset", "i8"),
        ("sums", "f8", (3, CHANNELS)),  # count, sum and sum of squares of valid pixels
    ]
)  # fmt: skip
HOLDOUT = "holdout.txt"  # copy of the list of held-out scenes, where the data set has one
MISSING = -1  # in place of a checksum
_TASK = 16  # patches that a worker reads at a time
_AHEAD = 4  # tasks a worker may be ahead of the process that writes
_FEW = 400  # patches below which starting processes takes longer than the work


def quantise(db: np.ndarray) -> np.ndarray:
    """Backscatter in dB to int16 steps of 0.005 dB; NaN and infinities become the invalid code.

    >>> quantise(np.array([-12.3456, np.nan])).tolist()
    [-2469, -32768]
    """
    steps = np.rint(np.clip(np.nan_to_num(db, nan=0.0), -STEP * LIMIT, STEP * LIMIT) / STEP)
    return np.where(np.isfinite(db), steps, INVALID).astype(np.int16)


def is_store(path: str | Path) -> bool:
    """True if the folder is a finished store."""
    return (Path(path) / "store.json").is_file()


class StoreSource(Source):
    """A packed store, opened read-only; `s2_offset` replaces the one that the store was packed with."""

    def __init__(
        self, path: Path, seed: int = 0, holdout: str | Path | None = None, s2_offset: int | None = None
    ) -> None:
        self.info = read_info(path)
        catalog = pd.read_parquet(path / "catalog.parquet")
        catalog.attrs = {**self.info["data"], "root": str(path)}
        kept = path / HOLDOUT
        super().__init__(path, catalog, seed, holdout or (kept if kept.exists() else None))
        self._fine = (catalog["dfc"] != "").to_numpy()
        self._holes = (catalog["valid"] < 1).to_numpy()
        self._packed_offset = catalog["s2_offset"].to_numpy()
        self._offset = self._packed_offset if s2_offset is None else np.full(len(catalog), s2_offset)
        self._map()

    def _map(self) -> None:
        self._s1, self._s2, self._labels = (open_part(self.path, part) for part in PARTS)
        self._rows = open_part(self.path, "rows")

    def _unusable(self, catalog: pd.DataFrame) -> dict[str, str]:
        low = catalog[catalog["valid"] < LEAST_VALID]
        shares = {i: f"{share:.0%} valid" for i, share in zip(low["id"], low["valid"])}
        return shares | super()._unusable(catalog)

    @property
    def patch_size(self) -> int:
        return int(self.info["patch_size"])

    def fill(
        self, row: int, top: int, left: int, s1: np.ndarray, s2: np.ndarray, affine: Affine
    ) -> np.ndarray | None:
        window = (row, slice(None), slice(top, top + s1.shape[-1]), slice(left, left + s1.shape[-1]))
        radar, numbers = self._s1[window], self._s2[window]
        np.multiply(radar, affine.s1_scale * np.float32(STEP), out=s1)
        s1 += affine.s1_shift
        scale = affine.s2_scale * np.float32(1 / DN_PER_REFLECTANCE)
        np.multiply(numbers, scale, out=s2)
        offset = self._offset[row]
        s2 += affine.s2_shift - np.float32(offset) * scale if offset else affine.s2_shift
        if not self._holes[row]:
            return None
        s1[radar == INVALID] = np.nan
        optical = numbers.any(0)
        s2[:, ~optical] = np.nan
        valid = (radar != INVALID).all(0) & optical
        return None if valid.all() else valid

    def mask(self, row: int, top: int, left: int, size: int, coarse: bool = False) -> np.ndarray:
        fine = self._fine[row] and not coarse
        codes = self._labels[row, 0 if fine else 1, top : top + size, left : left + size]
        return (DFC10_TO_EIGHT if fine else IGBP_TO_EIGHT)[codes]

    def _statistics(self, rows: np.ndarray) -> Statistics:
        sums = self._rows["sums"][rows]  # (n, 3, 15)
        # With another offset each reflectance is lower by d: Σ(x − d) = Σx − n·d, Σ(x − d)² = Σx² − 2d·Σx + n·d².
        d = ((self._offset - self._packed_offset)[rows] / DN_PER_REFLECTANCE)[:, None]
        if d.any():
            count, total, square = (sums[:, k, len(S1_BANDS) :] for k in range(3))
            square += count * d**2 - 2 * d * total
            total -= count * d
        scenes = pd.Series(np.arange(len(rows))).groupby(self.catalog["scene"].to_numpy()[rows])
        return Sums(*sum((sums[part].sum(0) for _, part in scenes), np.zeros((3, CHANNELS)))).statistics()

    def _majority(self, rows: np.ndarray) -> np.ndarray:
        return self.catalog["majority"].to_numpy()[rows].astype(np.int64)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | dict.fromkeys(("_s1", "_s2", "_labels", "_rows"))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()


def open_part(path: Path, part: str, mode: Any = "r") -> np.ndarray:
    """Map one file of a store; raises `DataError` if it is missing or damaged."""
    file = path / f"{part}.npy"
    try:
        return np.load(file, mmap_mode=mode).view(np.ndarray)
    except (OSError, ValueError, EOFError) as error:
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
    root: str | Path,
    out: str | Path,
    workers: int | None = None,
    scheduler: str = "",
    catalog: pd.DataFrame | None = None,
    card: Card | None = None,
    threads: int = 0,
) -> Path:
    """Pack all complete patches of `root` into the store `out` and return it.

    Patches are read by `workers` processes, by the workers of the Dask scheduler at the address `scheduler` (they must
    see the root under the same path), or by `threads` of this process; this process alone writes. Rows that are there,
    undamaged and made from files that have not changed since, are kept, so an interrupted run goes on where it was,
    and the result is the same to the byte. `card` replaces that of the root. Raises `DataError` naming the file that
    cannot be read, or if the store cannot be written.
    """
    root, out = Path(root).resolve(), Path(out).resolve()
    found = catalogs.find(root) if catalog is None else catalog
    card = card or found.attrs["card"]
    usable = found[(found["s1"] != "") & (found["s2"] != "") & (found["reason"] == "")].reset_index(drop=True)
    if usable.empty:
        raise DataError(
            f"{root}: no patch has both s1 and s2; nothing to pack (see `eo-ssl data check {root}`)"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        with files.locked(out / ".lock", "pack into this store"):
            _remove_finished(out)
            patches = usable[["id", "scene", *SENSORS]].to_dict("records")
            size = int(geotiff.read_header(root / patches[0]["s2"]).width)
            keys = [_key(root, patch, card) for patch in patches]
            parts, rows = _open(out, len(patches), size, keys)
            todo = [(i, p) for i, p in enumerate(patches) if not _is_packed(parts, rows, i)]
            tasks = [tuple(todo[k : k + _TASK]) for k in range(0, len(todo), _TASK)]
            work = partial(_encode_task, root=root, card=card, size=size)
            with _readers(len(todo), workers, scheduler, threads) as (pool, ahead):
                _fill(parts, rows, tasks, work, pool, ahead)
            if card.holdout:
                shutil.copyfile(root / card.holdout, out / HOLDOUT)
            _finish(out, usable, rows, size, found.attrs)
    except OSError as error:
        name = error.filename or out
        raise DataError(
            f"{name}: {error.strerror or error}; pack into a folder that can be written"
        ) from error
    return out


def verify(store: str | Path) -> list[str]:
    """Problems of a finished store: rows that do not match their checksums."""
    store = Path(store)
    try:
        read_info(store)
        ids = pd.read_parquet(store / "catalog.parquet")["id"].tolist()
        parts, rows = {part: open_part(store, part) for part in PARTS}, open_part(store, "rows")
    except DataError as error:
        return [str(error)]
    if not len(ids) == len(rows) == min(map(len, parts.values())):
        return [f"{store}: its files hold different numbers of patches"]
    bar = tqdm(range(len(ids)), desc="verify", unit="patch", disable=None)
    return [f"{ids[i]}: does not match its checksum" for i in bar if not _is_packed(parts, rows, i)]


def encode(
    patch: dict[str, str], root: Path, card: Card, size: int
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read the files of one patch: its rows in the files of the store, and what is known of it."""
    db, numbers, offset = read_pair(root, patch, card)
    labels = np.zeros((2, size, size), np.uint8)
    for k, sensor in enumerate(("dfc", "lc")):
        if patch[sensor]:
            codes = geotiff.read_labels(root / patch[sensor])
            _expect_size(root / patch[sensor], codes, size)
            labels[k] = codes
    _expect_size(root / patch["s1"], db, size)
    valid = valid_pixels(db, numbers)
    reflectance = (numbers.astype(np.float32) - offset) / DN_PER_REFLECTANCE
    if valid is not None:
        reflectance[:, ~numbers.any(0)] = np.nan
    sums = Sums.of(db, reflectance)
    counts = class_counts(
        (DFC10_TO_EIGHT if patch["dfc"] else IGBP_TO_EIGHT)[labels[0 if patch["dfc"] else 1]]
    )
    known = {
        "valid": 1.0 if valid is None else float(valid.mean()),
        "majority": majority_of(counts),
        "s2_offset": int(offset),
        "sums": np.stack([sums.count, sums.total, sums.square]),
    }
    return {"s1": quantise(db), "s2": numbers, "labels": labels}, known


def _expect_size(path: Path, array: np.ndarray, size: int) -> None:
    if array.shape[-2:] != (size, size):
        raise DataError(
            f"{path}: {array.shape[-2]} × {array.shape[-1]} pixels, the other patches {size} × {size}"
        )


def _encode_task(task: tuple[tuple[int, dict[str, str]], ...], **how: Any) -> list[tuple]:
    return [(i, *encode(patch, **how)) for i, patch in task]


def _key(root: Path, patch: dict[str, str], card: Card) -> bytes:
    """Changes with the files of a patch (names, sizes, times), with the units and with the store format."""
    stamps = [VERSION, patch["id"], card.units()]
    for path in filter(None, (patch[sensor] for sensor in SENSORS)):
        state = (root / path).stat()
        stamps += [path, state.st_size, state.st_mtime_ns]
    return hashlib.sha256(json.dumps(stamps, sort_keys=True).encode()).hexdigest()[:24].encode()


def _remove_finished(out: Path) -> None:
    """From here on until it is finished the folder is no store; what an older version packed goes."""
    if is_store(out):
        info = files.read_json(out / "store.json")
        (out / "store.json").unlink()
        if info.get("format") == FORMAT and info.get("version") == 1:
            shutil.rmtree(out / "shards", ignore_errors=True)
    for leftover in out.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def _open(out: Path, count: int, size: int, keys: list[bytes]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The files of the store, mapped for writing: those that are there if they fit, or new ones.

    A row that was made from something else than its key says loses its checksum.
    """
    shapes = {part: (count, bands, size, size) for part, (bands, _) in PARTS.items()}
    try:
        parts = {part: open_part(out, part, "r+") for part in PARTS}
        rows = open_part(out, "rows", "r+")
        fit = rows.shape == (count,) and rows.dtype == ROW and all(parts[p].shape == shapes[p] for p in PARTS)
    except DataError:
        fit = False
    if not fit:
        for part in ("rows", *PARTS):  # rows first: without them nothing counts as packed
            (out / f"{part}.npy").unlink(missing_ok=True)
        bytes_ = sum(np.prod(shapes[p]) * np.dtype(t).itemsize for p, (_, t) in PARTS.items())
        files.require_space(out, int(bytes_), "the packed store")
        create = partial(np.lib.format.open_memmap, mode="w+")
        parts = {
            p: create(out / f"{p}.npy", dtype=t, shape=shapes[p]).view(np.ndarray)
            for p, (_, t) in PARTS.items()
        }
        with files.atomic_path(out / "rows.npy") as path, open(path, "wb") as file:
            fresh = np.zeros(count, ROW)
            fresh["crc"] = MISSING
            np.save(file, fresh)
        rows = open_part(out, "rows", "r+")
    changed = rows["key"] != np.array(keys)
    rows["crc"][changed] = MISSING
    rows["key"][changed] = np.array(keys)[changed]
    return parts, rows


def _is_packed(parts: dict[str, np.ndarray], rows: np.ndarray, i: int) -> bool:
    return rows["crc"][i] != MISSING and rows["crc"][i] == _checksum(parts, rows, i)


def _checksum(parts: dict[str, np.ndarray], rows: np.ndarray, i: int) -> int:
    """CRC32 over all that the store holds of a patch."""
    facts = [rows[name][i] for name in ROW.names if name != "crc"]
    value = 0
    for data in (*(parts[part][i] for part in PARTS), *facts):
        value = zlib.crc32(np.ascontiguousarray(data), value)
    return value


@contextmanager
def _readers(
    patches: int, workers: int | None, scheduler: str, threads: int
) -> Iterator[tuple[Executor | None, int]]:
    """Who reads the patches, and how many tasks may be under way."""
    if threads:
        with ThreadPoolExecutor(threads) as pool:
            yield pool, threads * _AHEAD
        return
    few = workers is None and not scheduler and patches < _FEW
    with executor(1 if few else workers or 0, scheduler) as pool:
        yield pool, (workers or cores()) * _AHEAD


def _fill(
    parts: dict[str, np.ndarray],
    rows: np.ndarray,
    tasks: list[tuple],
    work: Any,
    pool: Executor | None,
    ahead: int,
) -> None:
    """Pack the rows named by the tasks; each gets its checksum after its pixels."""
    todo = sum(map(len, tasks))
    with tqdm(total=len(rows), initial=len(rows) - todo, desc="pack", unit="patch", disable=None) as bar:
        for start in range(0, len(tasks), ahead):  # so that what is read and not written yet stays small
            for _, done in unordered(work, tasks[start : start + ahead], pool):
                for i, images, known in done.result():
                    for part, image in images.items():
                        parts[part][i] = image
                    for name, value in known.items():
                        rows[name][i] = value
                    rows["crc"][i] = _checksum(parts, rows, i)
                    bar.update()


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
        "data": {key: attrs[key] for key in ("name", "version", "simulated", "state")},
        "catalog": files.sha256(out / "catalog.parquet"),
        "rows": hashlib.sha256(rows["crc"].tobytes()).hexdigest(),
    }
    files.write_json(out / "store.json", info)
