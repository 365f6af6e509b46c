"""One shard of a packed store: reads the patches of a scene, writes them to three files, and checks them."""

import hashlib
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from eo_ssl import files
from eo_ssl.data import geotiff
from eo_ssl.data.source import class_counts, majority_of
from eo_ssl.data.statistics import Sums
from eo_ssl.data.store import CHANNELS, VERSION, quantise
from eo_ssl.data.tiff_source import valid_pixels
from eo_ssl.errors import DataError
from eo_ssl.sensors import DFC10_TO_EIGHT, DN_PER_REFLECTANCE, IGBP_TO_EIGHT, S1_BANDS

PARTS = ("images", "labels", "sums.npy")
_AHEAD = 4  # patches read ahead per thread


@dataclass(frozen=True)
class ShardSpec:
    """What goes into one shard: (id, s1, s2, lc, dfc) per patch, paths relative to `root`."""

    name: str
    root: Path
    folder: Path
    patches: tuple[tuple[str, str, str, str, str], ...]
    size: int
    s1_scale: float | None
    s2_offset: int | None

    def fingerprint(self) -> str:
        """Changes with the files (names, sizes, times), with the settings and with the store format."""
        digest = hashlib.sha256(f"{VERSION} {self.size} {self.s1_scale} {self.s2_offset}".encode())
        for patch, *paths in self.patches:
            digest.update(patch.encode())
            for path in filter(None, paths):
                try:
                    state = (self.root / path).stat()
                except OSError as error:
                    raise DataError(f"{self.root / path}: cannot be read ({error.strerror})") from error
                digest.update(f" {path} {state.st_size} {state.st_mtime_ns}".encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Packed:
    """One patch as the store holds it."""

    image: np.ndarray  # (H, 15, W) uint16
    labels: np.ndarray  # (H, 2, W) uint8
    sums: np.ndarray  # (3, 15) float64
    valid: float
    majority: int
    s2_offset: int


def pack_shard(spec: ShardSpec, threads: int = 1) -> dict[str, Any]:
    """Write one shard, or keep the one there if it is up to date and undamaged; returns its record."""
    record_path = spec.folder / f"{spec.name}.json"
    fingerprint = spec.fingerprint()
    record = _existing(spec, record_path, fingerprint)
    if record is not None:
        return record
    record = {"name": spec.name, "fingerprint": fingerprint, "ids": [p[0] for p in spec.patches]}
    record |= _write(spec, threads)
    for part, checksum in record["files"].items():
        if files.sha256(spec.folder / f"{spec.name}.{part}") != checksum:
            raise DataError(
                f"{spec.folder / spec.name}.{part}: read back differently than written; bad disk?"
            )
    files.write_text(record_path, json.dumps(record) + "\n")
    return record


def _existing(spec: ShardSpec, path: Path, fingerprint: str) -> dict[str, Any] | None:
    try:
        record = files.read_json(path)
    except DataError:
        return None
    if not isinstance(record, dict) or record.get("fingerprint") != fingerprint:
        return None
    parts = [(spec.folder / f"{spec.name}.{part}", checksum) for part, checksum in record["files"].items()]
    return record if all(p.is_file() and files.sha256(p) == checksum for p, checksum in parts) else None


def _write(spec: ShardSpec, threads: int) -> dict[str, Any]:
    """Write the three files, each in place at once; returns checksums and what is known of each patch."""
    known: dict[str, list[Any]] = {"valid": [], "majority": [], "s2_offset": []}
    hashes = {part: hashlib.sha256() for part in PARTS}
    sums = []
    with ExitStack() as stack:
        paths = {
            part: stack.enter_context(files.atomic_path(spec.folder / f"{spec.name}.{part}"))
            for part in PARTS
        }
        images, labels = (stack.enter_context(open(paths[part], "wb")) for part in PARTS[:2])
        for patch in _patches(spec, threads):
            for part, file, array in (("images", images, patch.image), ("labels", labels, patch.labels)):
                data = array.tobytes()
                file.write(data)
                hashes[part].update(data)
            sums.append(patch.sums)
            for key in known:
                known[key].append(getattr(patch, key))
        images.close()
        labels.close()
        memory = io.BytesIO()
        np.save(memory, np.stack(sums))
        paths["sums.npy"].write_bytes(memory.getvalue())
        hashes["sums.npy"].update(memory.getvalue())
    return {**known, "files": {part: digest.hexdigest() for part, digest in hashes.items()}}


def _patches(spec: ShardSpec, threads: int) -> Iterator[Packed]:
    """Patches in order, read by threads a few ahead."""
    if threads == 1:
        yield from (encode(spec, patch) for patch in spec.patches)
        return
    with ThreadPoolExecutor(threads) as pool:
        todo = iter(spec.patches)
        waiting = [pool.submit(encode, spec, patch) for patch in islice(todo, threads * _AHEAD)]
        while waiting:
            result = waiting.pop(0).result()
            waiting += [pool.submit(encode, spec, patch) for patch in islice(todo, 1)]
            yield result


def encode(spec: ShardSpec, patch: tuple[str, str, str, str, str]) -> Packed:
    """Read the files of one patch and bring them into the form of the store."""
    _, s1, s2, lc, dfc = patch
    db = geotiff.read_s1(spec.root / s1, scale=spec.s1_scale)
    numbers, declared = geotiff.read_s2(spec.root / s2)
    offset = declared if spec.s2_offset is None else spec.s2_offset
    labels = np.zeros((spec.size, 2, spec.size), np.uint8)
    for k, path in enumerate((dfc, lc)):
        if path:
            codes = geotiff.read_labels(spec.root / path)
            _expect_size(spec, path, codes)
            labels[:, k] = codes
    _expect_size(spec, s1, db)
    _expect_size(spec, s2, numbers)
    image = np.empty((spec.size, CHANNELS, spec.size), np.uint16)
    image[:, : len(S1_BANDS)] = quantise(db).view(np.uint16).transpose(1, 0, 2)
    image[:, len(S1_BANDS) :] = numbers.transpose(1, 0, 2)
    valid = valid_pixels(db, numbers)
    reflectance = (numbers.astype(np.float32) - offset) / DN_PER_REFLECTANCE
    if valid is not None:
        reflectance[:, ~numbers.any(0)] = np.nan
    sums = Sums.of(db, reflectance)
    counts = class_counts((DFC10_TO_EIGHT if dfc else IGBP_TO_EIGHT)[labels[:, 0 if dfc else 1]])
    return Packed(
        image=image,
        labels=labels,
        sums=np.stack([sums.count, sums.total, sums.square]),
        valid=1.0 if valid is None else float(valid.mean()),
        majority=majority_of(counts),
        s2_offset=int(offset),
    )


def _expect_size(spec: ShardSpec, path: str, array: np.ndarray) -> None:
    if array.shape[-2:] != (spec.size, spec.size):
        height, width = array.shape[-2:]
        raise DataError(
            f"{spec.root / path}: {height} × {width} pixels, the other patches {spec.size} × {spec.size}"
        )
