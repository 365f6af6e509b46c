"""Packs GeoTIFF patches into a memory-mapped store; can be interrupted at any moment and run again."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from eo_ssl import files
from eo_ssl.data import catalog as catalogs
from eo_ssl.data.pack_workers import results
from eo_ssl.data.shard import PARTS, ShardSpec
from eo_ssl.data.store import CHANNELS, FORMAT, STEP, VERSION, open_part
from eo_ssl.errors import DataError
from eo_ssl.sensors import S1_BANDS, S2_BANDS

SHARD_PATCHES = 1024  # at 256 px two gigabytes
_FEW = 400  # patches below which starting processes takes longer than the work


def pack(
    root: str | Path,
    out: str | Path,
    workers: int | None = None,
    scheduler: str | None = None,
    s1_scale: float | None = None,
    s2_offset: int | None = None,
    catalog: pd.DataFrame | None = None,
    threads: int = 1,
) -> Path:
    """Pack all complete patches of `root` into the store `out` and return it.

    One shard per scene. Shards that are there, unchanged and undamaged (by checksum) are kept, so an
    interrupted run goes on where it was, and the result is the same to the byte. `workers` processes
    with `threads` reading threads each, or the workers of the `dask.distributed` scheduler at the address
    `scheduler`, which must see both folders under the same paths. `s1_scale` and `s2_offset` as in
    `open_source`. Raises `DataError` naming the file that cannot be read, or if the disk is too small.
    """
    root, out = Path(root).resolve(), Path(out).resolve()
    found = catalogs.find(root) if catalog is None else catalog
    usable = found[(found["s1"] != "") & (found["s2"] != "")].reset_index(drop=True)
    if usable.empty:
        raise DataError(f"{root}: no patch has both s1 and s2; nothing to pack")
    offset = found.attrs.get("s2_offset") if s2_offset is None else s2_offset
    with _locked(out):
        size = _patch_size(root, usable, s1_scale)
        specs = _plan(root, out, usable, size, s1_scale, offset)
        files.require_space(out, _missing_bytes(out, specs, size), "the packed store")
        for leftover in out.rglob(".*.tmp"):
            leftover.unlink(missing_ok=True)
        shards = _run(specs, workers, scheduler, threads)
        _remove_others(out, specs)
        _finish(out, usable, specs, shards, size, found.attrs)
    return out


def verify(store: str | Path) -> list[str]:
    """Problems of a finished store: files missing or not matching their checksums."""
    store = Path(store)
    info = files.read_json(store / "store.json")
    problems = []
    wanted = {f"shards/{name}.{part}": h for name, s in info["shards"].items() for part, h in s.items()}
    wanted["catalog.parquet"] = info["catalog"]
    for name, checksum in tqdm(wanted.items(), desc="verify"):
        path = store / name
        if not path.is_file():
            problems.append(f"{name}: missing")
        elif files.sha256(path) != checksum:
            problems.append(f"{name}: does not match its checksum")
    return problems


def _patch_size(root: Path, usable: pd.DataFrame, s1_scale: float | None) -> int:
    from eo_ssl.data.geotiff import read_s1

    return read_s1(root / usable["s1"][0], scale=s1_scale).shape[-1]


def _plan(
    root: Path, out: Path, usable: pd.DataFrame, size: int, s1_scale: float | None, offset: int | None
) -> list[ShardSpec]:
    """One spec per scene, or several for a scene of more than `SHARD_PATCHES` patches."""
    specs = []
    columns = ["id", "s1", "s2", "lc", "dfc"]
    for scene, part in usable.groupby("scene", sort=True):
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", str(scene))
        for k in range(0, len(part), SHARD_PATCHES):
            chunk = part.iloc[k : k + SHARD_PATCHES]
            shard = name if len(part) <= SHARD_PATCHES else f"{name}.{k // SHARD_PATCHES}"
            patches = tuple(chunk[columns].itertuples(index=False, name=None))
            specs.append(ShardSpec(shard, root, out / "shards", patches, size, s1_scale, offset))
    if len({spec.name for spec in specs}) != len(specs):
        raise DataError(f"{root}: two scenes have names that differ only in special characters")
    return specs


def _missing_bytes(out: Path, specs: list[ShardSpec], size: int) -> int:
    todo = sum(len(s.patches) for s in specs if not (out / "shards" / f"{s.name}.json").exists())
    return todo * size * size * (CHANNELS * 2 + 2)


def _run(
    specs: list[ShardSpec], workers: int | None, scheduler: str | None, threads: int
) -> dict[str, dict[str, Any]]:
    total = sum(len(spec.patches) for spec in specs)
    few = total < _FEW and workers is None
    workers = 1 if few else min(workers or os.cpu_count() or 1, len(specs))
    done: dict[str, dict[str, Any]] = {}
    with tqdm(total=total, desc="pack", unit="patch") as bar:
        for result in results(specs, workers, scheduler, threads):
            done[result["name"]] = result
            bar.update(len(result["ids"]))
    return done


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """One packing process per store; the lock ends with the process that holds it, however it ends."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "shards").mkdir(exist_ok=True)
    with open(out / ".lock", "w", encoding="utf-8") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        except ImportError:
            pass  # no file locks on this system
        yield


def _remove_others(out: Path, specs: list[ShardSpec]) -> None:
    """Delete shards that an earlier state of the data had and this one has not."""
    names = {f"{spec.name}.{part}" for spec in specs for part in (*PARTS, "json")}
    for path in (out / "shards").iterdir():
        if path.name not in names:
            path.unlink()


def _finish(
    out: Path,
    usable: pd.DataFrame,
    specs: list[ShardSpec],
    shards: dict[str, dict[str, Any]],
    size: int,
    attrs: dict[str, Any],
) -> None:
    """Write the catalog and, last of all, `store.json`, which makes the folder a store."""
    _write_catalog(out, usable, specs, shards)
    for spec in specs:
        if len(open_part(out, spec.name, "images", size)) != len(spec.patches):
            raise DataError(f"{out}: shard {spec.name} has another number of patches than its catalog")
    info = {
        "format": FORMAT,
        "version": VERSION,
        "patch_size": size,
        "patches": len(usable),
        "s1": {"bands": list(S1_BANDS), "unit": "dB", "step": STEP},
        "s2": {"bands": list(S2_BANDS), "unit": "digital number"},
        "data": {key: attrs.get(key) for key in ("name", "version", "simulated", "state")},
        "catalog": files.sha256(out / "catalog.parquet"),
        "shards": {spec.name: shards[spec.name]["files"] for spec in specs},
    }
    files.write_json(out / "store.json", info)


def _write_catalog(
    out: Path, usable: pd.DataFrame, specs: list[ShardSpec], shards: dict[str, dict[str, Any]]
) -> None:
    """The catalog of the root, plus where each patch is and what is known of its pixels."""
    rows = pd.concat(
        pd.DataFrame(
            {key: shards[spec.name][key] for key in ("ids", "valid", "majority", "s2_offset")}
            | {"shard": spec.name, "slot": range(len(spec.patches))}
        )
        for spec in specs
    ).rename(columns={"ids": "id"})
    table = usable.merge(rows, on="id", how="left", validate="one_to_one")
    table.attrs = {}
    with files.atomic_path(out / "catalog.parquet") as path:
        table.to_parquet(path)
