"""The simulated data set: thousands of co-located, labelled patches, without a network.

`simulate("data/simulated", "smoke", seed=0)` fills a folder that looks like SEN12MS and DFC2020 side by side. The same
version, profile and seed give the same bytes, whatever the number of workers and however often it was interrupted.
From plan to file: `world` (scenes), `ground`, `landscape` (classes), `optical`, `radar`, `labels`, `render` (images).
"""

import os
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import rasterio
from rasterio.io import MemoryFile
from tqdm import tqdm

from eo_ssl.errors import DataError
from eo_ssl.files import read_json, require_space, write_json, write_text
from eo_ssl.parallel import cores, executor, unordered
from eo_ssl.simulate.labels import DFC_CODE, coarse_labels
from eo_ssl.simulate.landscape import make_landscape
from eo_ssl.simulate.optical import optical
from eo_ssl.simulate.radar import radar
from eo_ssl.simulate.world import SPLITS, SceneSpec, plan, profile_named

VERSION = "2.1"
_HELD_OUT = "held_out_scenes.txt"  # in the form of SEN12MS_holdOutScenes.txt
_STATE = ".simulating"  # folder of an unfinished set: whose it is, and the file being written
_BYTES = 15  # on disk per pixel of a patch, all bands of all files, with some room
# Deflate is in every GDAL build; level 1 and a predictor give most of the gain at a third of the time.
_OPTIONS = {"driver": "GTiff", "compress": "deflate", "zlevel": 1, "interleave": "band"}
_PREDICTOR = {"s1": 3, "s2": 2, "lc": 1, "dfc": 1}


def simulate(
    out: str | Path, profile: str = "laptop", seed: int = 0, workers: int = 0, scheduler: str = ""
) -> Path:
    """Write the simulated set of a profile to `out` and return that folder; finish or skip what is there already.

    `workers` processes (0: one a core), or the Dask cluster at the address `scheduler`, take a scene at a time.
    Raises `ConfigError` for an unknown profile or scheduler and `DataError` when the folder holds another data set
    or cannot be written, or the disk is too small.
    """
    root, size = Path(out), profile_named(profile).patch
    identity = {"name": "simulated", "version": VERSION, "seed": seed, "profile": profile, "patch_size": size}
    try:
        if not _finished(root, identity):
            specs = plan(profile, seed)
            _write_missing(root, specs, workers, scheduler)
            held_out = "\n".join(spec.path("s2", 0).split("/")[-1] for spec in specs if spec.held_out)
            write_text(root / _HELD_OUT, f"{held_out}\n")
            write_json(root / "dataset.json", {**identity, "holdout": _HELD_OUT, **_summary(specs)})
        shutil.rmtree(root / _STATE, ignore_errors=True)
    except OSError as error:
        reason = f"{error.strerror or error}; make room or choose another folder"
        raise DataError(f"{error.filename or root}: cannot be written ({reason})") from error
    return root


def _finished(root: Path, identity: dict) -> bool:
    """True when `root` holds exactly this set, else mark it as begun; an error when it holds anything else."""
    for known in (root / "dataset.json", root / _STATE / "identity.json"):
        if known.exists():
            found = read_json(known)
            for key, value in identity.items():
                if found.get(key) != value:
                    held = f"{root}: holds a data set with {key} {found.get(key)!r}, not {value!r}"
                    raise DataError(f"{held}; choose another folder, or delete a simulated one")
            return known.name == "dataset.json"
    if root.is_dir() and any(entry.name != _STATE for entry in root.iterdir()):
        raise DataError(f"{root}: not empty, and no simulated data set; choose another folder")
    write_json(root / _STATE / "identity.json", identity)
    return False


def _write_missing(root: Path, specs: list[SceneSpec], workers: int, scheduler: str) -> None:
    """Simulate the scenes that lack a file; only this process writes, each file in place at once or not at all."""
    todo = [spec for spec in specs if not all((root / path).exists() for path in spec.paths())]
    pixels = sum(spec.grid**2 * spec.patch**2 for spec in todo)
    require_space(root, int(pixels * _BYTES), "the simulated data set")
    workers = min(workers or cores(), max(len(todo), 1))
    bar = tqdm(total=len(specs), initial=len(specs) - len(todo), desc="simulate", unit="scene", disable=None)
    with bar, executor(workers, scheduler) as pool:
        for _, made in unordered(encoded, todo, pool, ahead=64):
            for path, content in made.result().items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / _STATE / "half").write_bytes(content)
                os.replace(root / _STATE / "half", root / path)
            bar.update()


def render(spec: SceneSpec) -> dict[str, np.ndarray]:
    """The images of a scene by sensor, each (bands, size, size) with the margins cut off.

    s1 in dB, s2 in digital numbers, lc and (where the scene is labelled) dfc in the codes of their legends.
    """
    land = make_landscape(spec)
    images = {"s1": radar(land).astype(spec.s1_dtype), "s2": optical(land), "lc": coarse_labels(land)}
    if "dfc" in spec.sensors:
        images["dfc"] = DFC_CODE[land.cover][None]
    start = (spec.padded - spec.size) // 2
    inner = slice(start, start + spec.size)
    return {sensor: np.ascontiguousarray(image[:, inner, inner]) for sensor, image in images.items()}


def encoded(spec: SceneSpec) -> dict[str, bytes]:
    """Every file of a scene, by its path below the root: patches of its images as GeoTIFF (UTM, 10 m)."""
    content, shape = {}, dict.fromkeys(("width", "height", "blockysize"), spec.patch)
    for (sensor, image), patch in product(render(spec).items(), range(spec.grid**2)):
        y, x = (k * spec.stride for k in divmod(patch, spec.grid))
        place = rasterio.Affine(10.0, 0.0, spec.easting + 10.0 * x, 0.0, -10.0, spec.northing - 10.0 * y)
        form = {"count": len(image), "dtype": image.dtype, "predictor": _PREDICTOR[sensor], **_OPTIONS}
        with MemoryFile() as memory:
            with memory.open(crs=f"EPSG:{spec.region.epsg}", transform=place, **shape, **form) as file:
                file.write(image[:, y : y + spec.patch, x : x + spec.patch])
            content[spec.path(sensor, patch)] = memory.read()
    return content


def _summary(specs: list[SceneSpec]) -> dict:
    """Counts of patches per split, the regions, and one entry per scene."""

    def facts(thing: object, *names: str) -> dict:
        return {name: getattr(thing, name) for name in names}

    counts = {split: sum(s.grid**2 for s in specs if s.split == split) for split in SPLITS}
    regions = {s.region.name: facts(s.region, "split", "climate", "epsg") for s in specs}
    names = ("split", "number", "season", "grid", "stride", "first", "easting", "northing")
    scenes = [facts(s, *names) | {"region": s.region.name, "first_patch": s.path("s2", 0)} for s in specs]
    return {"counts": counts, "regions": regions, "scenes": scenes}
