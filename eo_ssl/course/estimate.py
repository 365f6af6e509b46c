"""Hours, memory and disk of a profile: its trainings counted, a few updates of each measured, the rest arithmetic.

hours = Σ over trainings of (samples trained on + samples only looked at / 3) · seconds of a sample / 3600

The seconds are measured: a few updates on noise, network by network, without loading, which is read ahead. Where the
profile needs a GPU and none is here, operations are counted from shapes and divided by an assumed 50 TFLOP/s, one
twentieth of the peak of an H100; the text says so.
"""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from eo_ssl.course import session
from eo_ssl.errors import DataError
from eo_ssl.files import cache_dir, require_space
from eo_ssl.profiles import Profile

ASSUMED_FLOPS = 50e12
UPDATES = 4  # measured of each training; the first warms up
MONITORED = 1024  # held-out pairs looked at after every epoch, at most
LABELLED_BYTES = 31  # a pixel of a labelled patch in memory: 15 bands in half precision and its label
STORED_BYTES = 32  # the same in a packed store: 15 bands in 16 bit and two label maps
SIMULATED_BYTES = 12  # the GeoTIFF files of a simulated patch, compressed
OTHERS_MB = 200  # executed notebooks, figures, results
SPLITS = ("pretrain", "pretrain_val", "train", "val", "test")
# 180,662 triplets, a tenth of them held out; 986 labelled patches, a fifth of them for validation; 5,128.
PUBLISHED = (162_596, 18_066, 789, 197, 5_128)


@dataclass(frozen=True)
class Sizes:
    """Patches by split, their width in pixels, and where the numbers come from."""

    patches: dict[str, int]
    width: int
    origin: str

    @property
    def pixels(self) -> int:
        """Pixels of all patches together."""
        return sum(self.patches.values()) * self.width**2


@dataclass(frozen=True)
class Training:
    """One model: samples it trains on and only looks at, copies of its weights on disk; `done` if it is there."""

    name: str
    config: Any
    done: bool
    trained: int
    looked: int
    copies: int


def sizes(profile: Profile, data: str) -> Sizes:
    """Counts of a data root from its file names, of the simulated set from its plan; nothing is read."""
    if data == session.SIMULATED and profile.real_data:
        return Sizes(dict(zip(SPLITS, PUBLISHED)), 256, "SEN12MS and DFC2020 as published; no --data given")
    if data == session.SIMULATED:
        from eo_ssl.simulate.world import profile_named

        plan = profile_named(profile.simulate)
        pairs, train, test = (plan.patches(split) for split in ("pretrain", "train", "test"))
        held, val = round(0.1 * pairs), round(0.2 * train)
        counts = (pairs - held, held, train - val, val, test)
        return Sizes(dict(zip(SPLITS, counts)), plan.patch, f"simulated set {profile.simulate}")
    from eo_ssl.data import catalog
    from eo_ssl.data.dataset import open_source
    from eo_ssl.data.source import TiffSource
    from eo_ssl.data.store import is_store

    root = Path(data)
    source = open_source(root) if is_store(root) else TiffSource(root, catalog.find(root, georeference=False))
    found = {name: int((source.catalog["split"] == name).sum()) for name in SPLITS}
    if not found["val"]:  # regions are not known without reading: a fifth, as in a run
        found["val"] = round(0.2 * found["train"])
        found["train"] -= found["val"]
    return Sizes(found, source.patch_size, data)


def trainings(profile: Profile, there: Sizes, run_dir: Path) -> Iterator[Training]:
    """Every model that a profile trains, pretrainings first."""
    from eo_ssl.experiments.plan import get_method, get_plan, make_grid
    from eo_ssl.experiments.results import read_lines
    from eo_ssl.train.config import preset

    plan, cells, n = get_plan(profile.name), make_grid(profile.name).cells, there.patches
    methods = dict.fromkeys(get_method(cell.method) for cell in cells)
    for start in dict.fromkeys((m.pretraining, m.family) for m in methods if m.pretraining):
        for seed in profile.pretrain_seeds:
            config = preset(start[0], profile.name, start[1], seed=seed)
            done = run_dir / "pretrain" / f"{config.name}-{config.backbone}-seed{seed}" / "config.json"
            pairs = n["pretrain"] // config.batch_size * config.batch_size
            trained, looked = (config.epochs * k for k in (pairs, min(n["pretrain_val"], MONITORED)))
            name = f"pretrain {config.name} {config.backbone} {config.image_size} px"
            yield Training(name, config, done.is_file(), trained, looked, 1)
    known, encoded = {line.get("key") for line in read_lines(run_dir / "results.jsonl")}, set()
    for cell in cells:
        method, budget = get_method(cell.method), plan.budget(cell.task)
        if method.members:  # an ensemble only predicts, with models that are there
            continue
        config = _finetuning(profile, plan, method, cell.task)
        tiles = (-(-there.width // config.image_size)) ** 2
        val, test = (n[s] * min(getattr(budget, f"{s}_tiles") or tiles, tiles) for s in ("val", "test"))
        trained, looked = budget.updates * budget.batch_size, budget.evaluations * val + test
        if method.mode == "frozen" and cell.task != "segment":  # features, once a checkpoint
            start = (method.name, cell.seed % len(profile.pretrain_seeds))
            trained, looked = 0, 0 if start in encoded else n["train"] * plan.cached_crops + val + test
            encoded |= {start} if cell.key not in known else set()
        mode = " frozen" if method.mode == "frozen" else ""
        name = f"{config.task} {config.model} {config.backbone} {config.image_size} px{mode}"
        kept = cell.keep and cell.rate in (None, plan.rates[0])  # of the rates that are tried one stays
        yield Training(name, config, cell.key in known, trained, looked, int(kept))


def _finetuning(profile: Profile, plan: Any, method: Any, task: str) -> Any:
    from eo_ssl.train.config import FinetuneConfig

    budget = plan.budget(task)
    return FinetuneConfig(
        model=method.model, task="segment" if task == "segment" else "single",
        backbone=getattr(profile, method.family), image_size=profile.crop(method.family),
        unet_width=plan.unet_width, batch_size=budget.batch_size, updates=budget.updates,
    )  # fmt: skip


@cache
def cost(config: Any, timed: bool) -> tuple[float, float, int]:
    """Seconds of a sample (forward, backward, step), gigabytes on the GPU (0 if unknown), parameters."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if not timed:
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            model, views = _model(config, 2, "meta")
            _update(model, views)
        parameters = sum(p.numel() for p in model.parameters())
        return counter.get_total_flops() / 2 / ASSUMED_FLOPS, 0.0, parameters
    batch = getattr(config, "micro_batch", 0) or config.batch_size
    batch = batch if device == "cuda" else min(batch, 32)
    model, views = _model(config, batch, device)
    optimiser, marks = torch.optim.AdamW(model.parameters()), []
    for _ in range(UPDATES):
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            _update(model, views)
        optimiser.step()
        optimiser.zero_grad()
        next(model.parameters()).sum().item()  # waits for the device
        marks.append(time.perf_counter())
    memory = torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else 0.0
    seconds = min(b - a for a, b in itertools.pairwise(marks)) / batch
    return seconds, memory, sum(p.numel() for p in model.parameters())


def _update(model: Any, views: dict[str, Any]) -> None:
    outputs = model(views)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    sum(z.float().square().mean() for z in outputs).backward()


def _model(config: Any, batch: int, device: str) -> tuple[Any, dict[str, Any]]:
    """The network of a training and a batch of noise in the shapes of its views."""
    import torch

    from eo_ssl.sensors import S1_BANDS, S2_BANDS
    from eo_ssl.train.config import PretrainConfig
    from eo_ssl.train.downstream import architecture
    from eo_ssl.train.methods import make_method

    def noise(bands: tuple, side: int) -> Any:
        return torch.randn(batch, len(bands), side, side, device=device)

    side, pretrains = config.image_size, isinstance(config, PretrainConfig)
    model = make_method(config).model if pretrains else architecture(config)
    if pretrains and config.name.startswith("simclr"):
        return model.to(device), {"s2": noise(S2_BANDS, side), "other": noise(S2_BANDS, side)}
    second = getattr(config, "second_crop", 0) or side
    return model.to(device), {"s1": noise(S1_BANDS, side), "s2": noise(S2_BANDS, second)}


def estimate(profile: Profile, data: str, run_dir: Path, say: Callable[[str], None]) -> str:
    """What is left of a profile as text: a table of trainings, then hours, memory and disk and what they assume.

    `say` tells which training is being measured. Neither is data simulated nor is a whole data set read.
    """
    import pandas as pd
    import torch

    there = sizes(profile, data)
    if empty := [name for name, number in there.patches.items() if not number]:
        raise DataError(f"{data}: no patches for {', '.join(empty)}; see `eo-ssl data check {data}`")
    timed, here = not profile.requires_gpu or torch.cuda.is_available(), session.device_name()
    groups: dict[str, list[Training]] = {}
    for one in trainings(profile, there, run_dir):
        groups.setdefault(one.name, []).append(one)
    rows = {}
    for name, models in groups.items():
        say(f"{'measuring' if timed else 'counting'} {name}")
        left = [one for one in models if not one.done]
        seconds, memory, parameters = cost(models[0].config, timed)
        samples = sum(
            one.trained + one.looked / 3 for one in left
        )  # a forward pass takes a third of an update
        # While a pretraining lasts, its best weights and the optimiser's moments lie beside the weights.
        copies = sum(one.copies for one in models) + 5 * (name.startswith("pretrain") and bool(left))
        rows[name] = (len(left), samples, samples * seconds / 3600, memory, 4e-9 * parameters * copies)
    table = pd.DataFrame.from_dict(rows, "index", columns=["left", "samples", "hours", "GPU GB", "disk GB"])
    table.loc["all"] = [table["left"].sum(), table["samples"].sum(), table["hours"].sum(), table["GPU GB"].max(),
                        table["disk GB"].sum()]  # fmt: skip
    how = (
        f"network by network on {here}"
        if timed
        else f"assumed at {ASSUMED_FLOPS / 1e12:.0f} TFLOP/s: no GPU here"
    )
    labelled = sum(there.patches[s] for s in ("train", "val", "test")) * there.width**2 * LABELLED_BYTES
    return "\n".join([
        table.to_string(float_format=lambda x: f"{x:.3g}" if x < 1000 else f"{x:,.0f}"),
        "",
        f"patches: {', '.join(f'{number:,} {name}' for name, number in there.patches.items())} ({there.origin})",
        f"time: {table['hours']['all']:.3g} hours on one device, {how}; chapters themselves add minutes",
        f"memory: {labelled / 1e9:.1f} GB for the labelled patches in each process that fine-tunes",
        f"disk: {table['disk GB']['all'] + OTHERS_MB / 1e3:.1f} GB in {run_dir}; "
        f"{data_bytes(profile, data) / 1e9:.1f} GB for simulated data in {cache_dir()}; "
        f"real data train faster packed (`eo-ssl data pack`), then {there.pixels * STORED_BYTES / 1e9:.1f} GB",
        "what the run folder holds already is not counted",
    ])  # fmt: skip


def data_bytes(profile: Profile, data: str) -> int:
    """Bytes that the data of a run take in the cache: the files of the simulated set and their packed store."""
    simulated = data == session.SIMULATED and not profile.real_data
    return sizes(profile, data).pixels * (STORED_BYTES + SIMULATED_BYTES) if simulated else 0


def disk_needs(profile: Profile, data: str, seed: int, run_dir: Path) -> dict[Path, int]:
    """Bytes that a run needs in its folder and in the cache; nothing for data that are there."""
    made = data == session.SIMULATED and session.is_simulated(session.simulated_target(profile, seed))
    return {run_dir: profile.run_mb * 10**6, cache_dir(): 0 if made else data_bytes(profile, data)}


def require_disk(profile: Profile, data: str, seed: int, run_dir: Path) -> None:
    """Raise `DataError` naming the folder whose disk is too small; a disk that holds both needs both."""
    needs = disk_needs(profile, data, seed, run_dir)
    disks = [os.stat(next(p for p in (f, *f.parents) if p.exists())).st_dev for f in needs]
    for folder, disk in zip(needs, disks):
        needed = sum(number for number, other in zip(needs.values(), disks) if other == disk)
        require_space(folder, needed, f"a run at {profile.name}, with the data it simulates,")
