"""The simulated data set: thousands of co-located, labelled patches, without a network.

    from eo_ssl.data.simulate import simulate
    root = simulate(Path("data/simulated"), "smoke", seed=0)

The folder looks like SEN12MS and DFC2020 side by side, so the readers of the real sets read it. The same version,
profile and seed give the same bytes, whatever the number of workers and however often the run was interrupted.
"""

import os
import shutil
import threading
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from eo_ssl.simulate.world import SPLITS, SceneSpec, plan, profile_named
from eo_ssl.errors import DataError
from eo_ssl.files import read_json, require_space, write_json

VERSION = "1.1"
_STATE = ".simulating"
_BYTES = 15  # on disk per pixel of a patch, all bands of all files, with some room
_POLL = 0.15  # seconds between two looks of a worker whether its parent is alive


def simulate(out: str | Path, profile: str = "laptop", seed: int = 0, workers: int | None = None) -> Path:
    """Write the simulated set of a profile to `out` and return that folder; finish or skip what is there already.

    `workers` processes (default: one a core) take one scene at a time. Raises `ConfigError` for an unknown
    profile and `DataError` when the folder holds another data set or the disk is too small.
    """
    chosen, root = profile_named(profile), Path(out)
    identity = {
        "name": "simulated",
        "version": VERSION,
        "seed": seed,
        "profile": profile,
        "patch_size": chosen.patch,
    }
    state = root / _STATE
    if _finished(root, identity):
        shutil.rmtree(state, ignore_errors=True)
        return root
    specs = plan(profile, seed)
    _open(root, state, identity)
    todo = [spec for spec in specs if not _marker(state, spec).exists()]
    pixels = sum(spec.grid**2 * spec.patch**2 for spec in todo)
    require_space(root, int(pixels * _BYTES), "the simulated data set")
    _remove_leftovers(root)
    _run(root, todo, workers or os.cpu_count() or 1, len(specs))
    _remove_leftovers(root)
    write_json(root / "dataset.json", {**identity, **_summary(specs)})
    shutil.rmtree(state)
    return root


def _finished(root: Path, identity: dict) -> bool:
    """True when `root` holds exactly this set; an error when it holds another one or foreign files."""
    if not (root / "dataset.json").exists():
        if root.is_dir() and any(root.iterdir()) and not (root / _STATE).is_dir():
            raise DataError(
                f"{root}: the folder is not empty and holds no simulated data set; choose another folder"
            )
        return False
    found = read_json(root / "dataset.json")
    for key, value in identity.items():
        if found.get(key) != value:
            raise DataError(
                f"{root}: holds a simulated set with {key} {found.get(key)!r}, not {value!r}; "
                "choose another folder or delete this one"
            )
    return True


def _open(root: Path, state: Path, identity: dict) -> None:
    """Create the folder that remembers finished scenes, or check that it belongs to the same data set."""
    if state.is_dir():
        # Workers of a killed run may still be finishing a file; they notice within this time.
        time.sleep(3 * _POLL)
    state.mkdir(parents=True, exist_ok=True)
    if not (state / "identity.json").exists():
        write_json(state / "identity.json", identity)
    elif read_json(state / "identity.json") != identity:
        raise DataError(
            f"{root}: holds an unfinished set of another version, profile or seed; delete it or choose another folder"
        )


def _marker(state: Path, spec: SceneSpec) -> Path:
    return state / f"{spec.split}-{spec.number}.done"


def _run(root: Path, todo: list[SceneSpec], workers: int, total: int) -> None:
    """Work through the scenes, marking each as it is finished."""
    with tqdm(total=total, initial=total - len(todo), desc="simulate", unit="scene") as bar:
        if min(workers, len(todo)) <= 1:
            for spec in todo:
                _one(root, spec)
                bar.update()
            return
        # Spawned, not forked: the parent may hold threads of other libraries.
        with ProcessPoolExecutor(
            min(workers, len(todo)),
            get_context("spawn"),
            initializer=_die_with_parent,
            initargs=(os.getpid(),),
        ) as pool:
            for future in as_completed([pool.submit(_one, root, spec) for spec in todo]):
                future.result()
                bar.update()


def _one(root: Path, spec: SceneSpec) -> None:
    from eo_ssl.simulate.scene import write

    write(root, spec)
    _marker(root / _STATE, spec).touch()


def _die_with_parent(parent: int) -> None:
    """End this worker when the parent is gone, however it went; a killed parent cannot tell its workers."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _remove_leftovers(root: Path) -> None:
    """Delete half-written files of an interrupted run."""
    for path in root.rglob(".*.tmp"):
        path.unlink(missing_ok=True)


def _summary(specs: list[SceneSpec]) -> dict:
    """Counts of patches per split, the regions, and one entry per scene."""
    counts = {split: sum(s.grid**2 for s in specs if s.split == split) for split in SPLITS}
    regions = {
        s.region.name: {"split": s.region.split, "climate": s.region.climate, "epsg": s.region.epsg}
        for s in specs
    }
    scenes = [
        {
            "split": s.split, "number": s.number, "region": s.region.name, "season": s.season, "first_patch": s.path("s2", 0),
            "grid": s.grid, "stride": s.stride, "first": s.first, "easting": s.easting, "northing": s.northing,
        }
        for s in specs
    ]  # fmt: skip
    return {"counts": counts, "regions": regions, "scenes": scenes}
