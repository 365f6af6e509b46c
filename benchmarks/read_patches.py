"""How fast patches become batches, from files and from the packed store, against the loop everybody writes.

The claim: from files as fast as GDAL reads them (1 × the loop), from the store 20 times that and more (26 × with plain
files, 54 × with deflated ones, on one core of a busy machine).

    python benchmarks/read_patches.py            # writes its own data, about two minutes
    python benchmarks/read_patches.py --root R   # any SEN12MS or DFC2020 root

The peer opens each sensor's file with rasterio, reads the window, converts to float32, divides each channel by its own
maximum (the recipe of the papers' code) and stacks the batch. All read the same crops of 128 px with 15 bands, taking
turns in one process on one core; CPU time is counted, so other work on the machine disturbs little. Files come
deflated, as the simulator writes them, and plain, which the size of the published SEN12MS (2.8 MB a triplet) points to.
"""

import argparse
import os
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
Read = Callable[[list[tuple[int, int, int]]], object]  # a batch of places: row, top, left


def plain_copy(root: Path, target: Path) -> Path:
    """The same patches as uncompressed, pixel-interleaved files with float32 radar."""
    catalog = find(root)
    for sensor in ("s1", "s2", "lc", "dfc"):
        for path in filter(None, catalog[sensor]):
            with rasterio.open(root / path) as image:
                kind = "float32" if sensor == "s1" else image.dtypes[0]
                size = {"width": image.width, "height": image.height, "count": image.count, "dtype": kind}
                place = {"crs": image.crs, "transform": image.transform}
                data = image.read().astype(kind)
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            with rasterio.open(
                target / path, "w", driver="GTiff", interleave="pixel", **size, **place
            ) as file:
                file.write(data)
    return target


def peer(root: Path) -> Read:
    """The plain loop: rasterio.open per sensor, read the window, astype, divide by the maximum, stack."""
    catalog = find(root)
    paths = {sensor: [str(root / path) for path in catalog[sensor]] for sensor in SENSORS}

    def read(places: list[tuple[int, int, int]]) -> dict[str, torch.Tensor]:
        samples: dict[str, list[torch.Tensor]] = {sensor: [] for sensor in SENSORS}
        for row, top, left in places:
            for sensor in SENSORS:
                with rasterio.open(paths[sensor][row]) as image:
                    data = image.read(window=Window(left, top, CROP, CROP)).astype(np.float32)
                data = np.clip(data, -25, 0) + 25 if sensor == "s1" else np.clip(data, 0, 10_000)
                data = data / np.maximum(data.max(axis=(1, 2), keepdims=True), 1e-6)
                samples[sensor].append(torch.from_numpy(data))
        return {sensor: torch.stack(tensors) for sensor, tensors in samples.items()}

    return read


def ours(path: Path, fused: bool) -> Read:
    """PatchDataset over a root or a store; standardised while reading (fused) or by `Normalise` after it."""
    source = open_source(path, packed=False)
    statistics = source.stats("pretrain")
    data = PatchDataset(source, range(len(source.catalog)), CROP, statistics=statistics if fused else None)
    normalise = (lambda batch: batch) if fused else Normalise(statistics)

    def read(places: list[tuple[int, int, int]]) -> object:
        data.place = places.__getitem__  # type: ignore[method-assign]  # the same crops for all
        return normalise(data.__getitems__(range(len(places))))

    return read


def measure(readers: dict[str, Read], patches: int, size: int) -> dict[str, float]:
    """Patches per second of CPU time of each reader: the median over rounds in which they take turns."""
    rng = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(ROUNDS + 1):  # the first one warms the file cache
        order = rng.permutation(patches)
        tops, lefts = rng.integers(0, size - CROP + 1, (2, patches))
        places = list(zip(order.tolist(), tops.tolist(), lefts.tolist()))
        batches = [places[i : i + BATCH] for i in range(0, patches, BATCH)]
        for name, read in readers.items():
            repeat = 10 if "store" in name else 1  # else too short to time
            begin = time.process_time()
            for batch in batches * repeat:
                read(batch)
            seconds[name].append((time.process_time() - begin) / repeat)
    return {name: patches / float(np.median(taken[1:])) for name, taken in seconds.items()}


def compare(root: Path, folder: Path, form: str) -> None:
    """Measure all readers on one root and print the table."""
    store = pack(root, folder / f"store-{form}")
    source = open_source(store)
    readers = {
        "peer loop": peer(root),
        "GeoTIFF": ours(root, fused=True),
        "store": ours(store, fused=True),
        "store, then Normalise": ours(store, fused=False),
    }
    rates = measure(readers, len(source.catalog), source.patch_size)
    size = sum((root / path).stat().st_size for sensor in SENSORS for path in source.catalog[sensor])
    megabytes = size / len(source.catalog) / 1e6
    print(f"\n{form} files, S1 + S2 {megabytes:.2f} MB a patch, {len(source.catalog)} patches")
    print(f"  {'reader':<24}{'patches/s':>10}{'ratio':>8}")
    for name, rate in rates.items():
        print(f"  {name:<24}{rate:>10,.0f}{rate / rates['peer loop']:>7.1f}×")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, help="read these patches instead of simulated ones")
    root = parser.parse_args().root
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="eo_ssl-bench-") as temporary:
        folder = Path(temporary)
        if root:
            compare(root, folder, "given")
        else:
            made = simulate(folder / "deflated", "paper", workers=1)
            compare(made, folder, "deflated")
            compare(plain_copy(made, folder / "plain"), folder, "plain")
    print(f"\nCPU seconds of one core; GDAL {rasterio.__gdal_version__}, torch {torch.__version__}")


if __name__ == "__main__":
    main()
