"""How fast patches become batches, from files and from the packed store, against the loop everybody writes.

The claim: from files as fast as GDAL reads them (1 × the loop), from the store 20 times that and more (26 × with plain
files, 54 × with deflated ones, on one core of a busy machine).

    python benchmarks/read_patches.py            # writes its own data, about two minutes
    python benchmarks/read_patches.py --root R   # any SEN12MS or DFC2020 root

The peer opens each sensor's file with rasterio, reads the window, converts to float32, divides each channel
by its own maximum (the recipe of the papers' code) and stacks the batch. All three give crops of 128 px
with 15 bands as float32 tensors on the same files, one after the other in the same process, on one core;
CPU time is counted, so other work on the machine disturbs little. Files come in two forms: deflated, as the
simulator writes them, and plain, which the size of the published SEN12MS (2.8 MB a triplet) points to.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GDAL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np
import rasterio
import torch
from rasterio.windows import Window

from eo_ssl.data.catalog import find
from eo_ssl.data.dataset import PatchDataset, open_source
from eo_ssl.data.store import pack
from eo_ssl.data.transforms import Normalise
from eo_ssl.simulate import simulate

CROP, BATCH, ROUNDS = 128, 32, 5
SENSORS = ("s1", "s2")


def plain_copy(root: Path, target: Path) -> Path:
    """The same patches as uncompressed, pixel-interleaved files with float32 radar."""
    catalog = find(root)
    for sensor in ("s1", "s2", "lc", "dfc"):
        for path in filter(None, catalog[sensor]):
            with rasterio.open(root / path) as image:
                data, crs, transform = image.read(), image.crs, image.transform
            data = data.astype(np.float32) if sensor == "s1" else data
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            with rasterio.open(
                target / path, "w", driver="GTiff", width=data.shape[2], height=data.shape[1], crs=crs,
                count=data.shape[0], dtype=data.dtype, transform=transform, interleave="pixel",
            ) as file:  # fmt: skip
                file.write(data)
    return target


def peer(root: Path) -> Callable[[list[tuple[int, int, int]]], object]:
    """The plain loop: rasterio.open per sensor, read the window, astype, divide by the maximum, stack."""
    catalog = find(root)
    paths = {sensor: [str(root / path) for path in catalog[sensor]] for sensor in SENSORS}

    def read(places: list[tuple[int, int, int]]) -> dict[str, torch.Tensor]:
        samples: dict[str, list[torch.Tensor]] = {sensor: [] for sensor in SENSORS}
        for row, top, left in places:
            for sensor in SENSORS:
                with rasterio.open(paths[sensor][row]) as image:
                    data = image.read(window=Window(left, top, CROP, CROP))
                data = data.astype(np.float32)
                data = np.clip(data, -25, 0) + 25 if sensor == "s1" else np.clip(data, 0, 10_000)
                data = data / np.maximum(data.max(axis=(1, 2), keepdims=True), 1e-6)
                samples[sensor].append(torch.from_numpy(data))
        return {sensor: torch.stack(tensors) for sensor, tensors in samples.items()}

    return read


def ours(path: Path, fused: bool) -> Callable[[list[tuple[int, int, int]]], object]:
    """PatchDataset over a root or a store; standardised while reading (fused) or by `Normalise` after it."""
    source = open_source(path, packed=False)
    statistics = source.stats("pretrain")
    data = PatchDataset(source, range(len(source.catalog)), CROP, statistics=statistics if fused else None)
    normalise = (lambda batch: batch) if fused else Normalise(statistics)

    def read(places: list[tuple[int, int, int]]) -> object:
        data.place = places.__getitem__  # type: ignore[method-assign]  # the same crops for all
        return normalise(data.__getitems__(range(len(places))))

    return read


def measure(readers: dict[str, Callable], patches: int, size: int) -> dict[str, dict[str, float]]:
    """Patches per second of each reader: the median over rounds in which they take turns."""
    rng = np.random.default_rng(0)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in readers}
    for _ in range(ROUNDS + 1):  # the first one warms the file cache
        order = rng.permutation(patches)
        tops, lefts = rng.integers(0, size - CROP + 1, (2, patches))
        places = list(zip(order.tolist(), tops.tolist(), lefts.tolist()))
        batches = [places[i : i + BATCH] for i in range(0, patches, BATCH)]
        for name, read in readers.items():
            repeat = 10 if "store" in name else 1  # else too short to time
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(repeat):
                for batch in batches:
                    read(batch)
            times[name].append(((time.process_time() - cpu) / repeat, (time.perf_counter() - wall) / repeat))
    medians = {name: np.median(np.array(rows[1:]), axis=0) for name, rows in times.items()}
    return {name: {"cpu": patches / cpu, "wall": patches / wall} for name, (cpu, wall) in medians.items()}


def compare(root: Path, folder: Path, form: str) -> dict[str, dict[str, float]]:
    """Measure all readers on one root and print the table."""
    store = pack(root, folder / f"store-{form}")
    source = open_source(store)
    readers = {
        "peer loop": peer(root),
        "GeoTIFF": ours(root, fused=True),
        "store": ours(store, fused=True),
        "store, then Normalise": ours(store, fused=False),
    }
    result = measure(readers, len(source.catalog), source.patch_size)
    files = [root / path for sensor in SENSORS for path in source.catalog[sensor]]
    size = sum(path.stat().st_size for path in files) / len(source.catalog)
    print(f"\n{form} files, S1 + S2 {size / 1e6:.2f} MB a patch, {len(source.catalog)} patches")
    print(f"  {'reader':<24}{'patches/s':>10}{'ratio':>8}{'(wall clock)':>16}")
    base = result["peer loop"]
    for name, rate in result.items():
        rate["ratio"] = rate["cpu"] / base["cpu"]
        wall = f"{rate['wall']:,.0f}/s {rate['wall'] / base['wall']:.1f}×"
        print(f"  {name:<24}{rate['cpu']:>10,.0f}{rate['ratio']:>7.1f}×{wall:>16}")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, help="read these patches instead of simulated ones")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="eo_ssl-bench-") as temporary:
        folder = Path(temporary)
        if arguments.root:
            results = {"given": compare(arguments.root, folder, "given")}
        else:
            root = simulate(folder / "deflated", "paper", workers=1)
            results = {"deflated": compare(root, folder, "deflated")}
            results["plain"] = compare(plain_copy(root, folder / "plain"), folder, "plain")
    versions = f"GDAL {rasterio.__gdal_version__}, Python {sys.version.split()[0]}, torch {torch.__version__}"
    print(f"\nCPU seconds of one core; {versions}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"versions": versions, **results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
