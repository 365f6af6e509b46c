"""Hours, memory and disk of a profile: its trainings counted, a few updates of each network timed, the rest sums.

hours = Σ over trainings of (samples trained on + samples only looked at / 3) · seconds of a sample / 3600

The seconds are those of updates on noise on this machine, without loading, which is read ahead. Where the profile
needs a GPU and none is here they are arithmetic: operations counted from shapes, at an assumed 50 TFLOP/s.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from eo_ssl.course import session
from eo_ssl.course.session import Run
from eo_ssl.errors import DataError
from eo_ssl.files import cache_dir, require_space
from eo_ssl.profiles import Profile

ASSUMED_FLOPS = 50e12  # one twentieth of the peak of an H100
MONITORED = 1024  # held-out pairs looked at after every epoch, at most
LABELLED_BYTES = 31  # a pixel of a labelled patch in memory: 15 bands in half precision and its label
STORED_BYTES = 32  # the same in a packed store: 15 bands in 16 bit and two label maps
SIMULATED_BYTES = 12  # the GeoTIFF files of a simulated patch, compressed
OTHERS_GB = 0.2  # executed notebooks, figures, results
PUBLISHED = (180_662, 986, 5_128)  # pairs of SEN12MS, labelled and test patches of DFC2020


class Sizes(NamedTuple):
    """Patches by split, their width in pixels, and where the numbers come from."""

    patches: dict[str, int]
    width: int
    origin: str

    def pixels(self, *splits: str) -> int:
        """Pixels of the patches of these splits, or of all."""
        return sum(self.patches[split] for split in splits or self.patches) * self.width**2


class Work(NamedTuple):
    """One model that is not there yet: samples, those only looked at counted a third, and weights that are kept."""

    name: str
    config: Any
    samples: float
    copies: int


def sizes(profile: Profile, data: str) -> Sizes:
    """Counts of a data root from its file names, of the simulated set from its plan; nothing is read.

    A tenth of the pairs is held out, and a fifth of the labelled patches is for validation, as in a run.
    """
    parts = ("pretrain", "train", "test")
    if data == session.SIMULATED and profile.real_data:
        counts, width, origin = PUBLISHED, 256, "SEN12MS and DFC2020 as published; no --data given"
    elif data == session.SIMULATED:
        from eo_ssl.simulate.world import profile_named

        plan = profile_named(profile.simulate)
        counts, width, origin = map(plan.patches, parts), plan.patch, f"simulated set {profile.simulate}"
    else:
        from eo_ssl.data import catalog
        from eo_ssl.data.dataset import open_source
        from eo_ssl.data.source import TiffSource
        from eo_ssl.data.store import is_store

        root = Path(data)
        frame = None if is_store(root) else catalog.find(root, georeference=False)
        source = open_source(root) if frame is None else TiffSource(root, frame)
        both = (("pretrain", "pretrain_val"), ("train", "val"), ("test",))
        counts, width, origin = [len(source.rows(*names)) for names in both], source.patch_size, data
        if empty := [part for part, number in zip(parts, counts) if not number]:
            raise DataError(f"{data}: no patches for {', '.join(empty)}; see `eo-ssl data check {data}`")
    pairs, train, test = counts
    held, val = round(pairs / 10), round(train / 5)
    patches = {"pretrain": pairs - held, "pretrain_val": held, "train": train - val, "val": val, "test": test}
    return Sizes(patches, width, origin)


def works(profile: Profile, there: Sizes, run_dir: Path) -> Iterator[Work]:
    """Every model that a profile trains and the run folder does not hold, pretrainings first."""
    from eo_ssl.experiments.plan import get_method, get_plan, make_grid
    from eo_ssl.experiments.results import read_lines
    from eo_ssl.train.config import FinetuneConfig, preset, pretrain_folder

    plan, n = get_plan(profile.name), there.patches
    grid = make_grid(profile.name)
    cells = [(cell, get_method(cell.method)) for cell in grid.cells]
    known = {line.get("key") for line in read_lines(run_dir / "results.jsonl")}
    for pretraining, family in grid.pretrainings:
        for seed in profile.seeds_of(pretraining, family):
            config = preset(pretraining, profile.name, family, seed=seed)
            pairs = n["pretrain"] // config.batch_size * config.batch_size
            samples = config.epochs * (pairs + min(n["pretrain_val"], MONITORED) / 3)
            name = f"pretrain {config.name} {config.backbone} {config.image_size} px"
            if not (pretrain_folder(run_dir, config.name, config.backbone, seed) / "config.json").is_file():
                yield Work(name, config, samples, 1)
    for cell, method in cells:
        if method.members or cell.key in known:  # an ensemble only predicts, with models that are there
            continue
        budget = plan.budget(cell.task, cell.rate is not None)
        segments, frozen = cell.task == "segment", method.mode == "frozen"
        config = FinetuneConfig(
            model=method.model, task="segment" if segments else "single",
            backbone=getattr(profile, method.family, method.family), image_size=profile.crop(method.family),
            unet_width=plan.unet_width, **asdict(budget),
        )  # fmt: skip
        tiles = (-(-there.width // config.image_size)) ** 2
        val, test = (n[s] * min(getattr(budget, f"{s}_tiles") or tiles, tiles) for s in ("val", "test"))
        samples = budget.updates * budget.batch_size + (budget.evaluations * val + test) / 3
        if frozen and not segments:  # features are computed once
            samples = (n["train"] * plan.cached_crops + val + test) / 3
        name = f"{config.task} {config.model} {config.backbone} {config.image_size} px{' frozen' * frozen}"
        yield Work(name, config, samples, int(cell.keep))


@cache
def cost(config: Any, timed: bool) -> tuple[float, float, int]:
    """Seconds of a sample (forward, backward, step), gigabytes on the GPU (0: unknown), parameters of the network."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    device = "meta" if not timed else "cuda" if torch.cuda.is_available() else "cpu"
    batch = getattr(config, "micro_batch", 0) or config.batch_size
    batch = {"meta": 2, "cpu": min(batch, 32), "cuda": batch}[device]
    model, views = _model(config, batch, device)
    optimiser, marks = torch.optim.AdamW(model.parameters()), []

    def update() -> None:
        with torch.autocast("cuda", torch.bfloat16, enabled=device == "cuda"):
            outputs = model(views)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        sum(z.float().square().mean() for z in outputs).backward()

    with FlopCounterMode(display=False) as counter:  # the first update warms up, too
        update()
    memory, seconds = 0.0, counter.get_total_flops() / batch / ASSUMED_FLOPS
    if timed:
        for _ in range(4):
            optimiser.step()
            optimiser.zero_grad()
            next(model.parameters()).sum().item()  # waits for the device
            marks.append(time.perf_counter())
            update()
        seconds = min(b - a for a, b in pairwise(marks)) / batch
    if device == "cuda":
        memory = torch.cuda.max_memory_allocated() / 1e9
        torch.cuda.reset_peak_memory_stats()
    return seconds, memory, sum(p.numel() for p in model.parameters())


def _model(config: Any, batch: int, device: str) -> tuple[Any, dict[str, Any]]:
    """The network of a training, and noise in the shapes of its views: (batch, bands, side, side)."""
    import torch

    from eo_ssl.sensors import S1_BANDS, S2_BANDS
    from eo_ssl.train.config import FinetuneConfig
    from eo_ssl.train.downstream import architecture
    from eo_ssl.train.methods import make_method

    model = architecture(config) if isinstance(config, FinetuneConfig) else make_method(config).model
    side, second = config.image_size, getattr(config, "second_crop", 0) or config.image_size
    shapes = {"s1": (len(S1_BANDS), side), "s2": (len(S2_BANDS), second), "other": (len(S2_BANDS), side)}
    del shapes["s1" if getattr(config, "modalities", ()) == ("s2",) else "other"]
    views = {
        n: torch.randn(batch, bands, width, width, device=device) for n, (bands, width) in shapes.items()
    }
    return model.to(device), views


def estimate(run: Run, say: Callable[[str], None]) -> str:
    """What is left of a run as text: a table of trainings, then hours, memory and disk and what they assume.

    `say` tells which training is being measured. Neither is data simulated nor is a whole data set read.
    """
    import pandas as pd
    import torch

    there = sizes(run.profile, run.data)
    timed = not run.profile.requires_gpu or torch.cuda.is_available()
    how = f"network by network on {session.device_name()}"
    if not timed:
        how = f"operations counted, not timed, and assumed at {ASSUMED_FLOPS / 1e12:.0f} TFLOP/s: no GPU here"
    left: dict[str, list[Work]] = {}
    for work in works(run.profile, there, run.root):
        left.setdefault(work.name, []).append(work)
    rows = {}
    for name, models in left.items():
        say(f"{'measuring' if timed else 'counting'} {name}")
        seconds, memory, parameters = cost(models[0].config, timed)
        samples = sum(work.samples for work in models)
        # While a pretraining lasts, its best weights and the optimiser's moments lie beside the weights.
        copies = sum(work.copies for work in models) + 5 * name.startswith("pretrain")
        rows[name] = (len(models), samples, samples * seconds / 3600, memory, 4e-9 * parameters * copies)
    table = pd.DataFrame.from_dict(rows, "index", columns=["left", "samples", "hours", "GPU GB", "disk GB"])
    table.loc["all"] = table.sum()
    table.loc["all", "GPU GB"] = table["GPU GB"].drop("all").max()
    counted = ", ".join(f"{number:,} {name}" for name, number in there.patches.items())
    labelled = there.pixels("train", "val", "test") * LABELLED_BYTES
    simulated = disk_needs(run)[cache_dir()]
    return f"""{table.to_string(float_format=lambda x: f"{x:.3g}" if x < 1000 else f"{x:,.0f}")}

patches: {counted} ({there.origin})
time: {table["hours"]["all"]:.3g} hours on one device, {how}; chapters themselves add minutes
memory: {labelled / 1e9:.1f} GB for the labelled patches in each process that fine-tunes
disk: {table["disk GB"]["all"] + OTHERS_GB:.1f} GB in {run.root}; {simulated / 1e9:.1f} GB for simulated data in {cache_dir()}
packed (`eo-ssl data pack`), real data take {there.pixels() * STORED_BYTES / 1e9:.1f} GB and train faster
what is there already, models and simulated data, is not counted"""


def disk_needs(run: Run) -> dict[Path, int]:
    """Bytes that a run needs in its folder and, for simulated data and their packed store, in the cache."""
    new = run.simulated and not run.profile.real_data and not session.is_whole(run.simulated)
    pixels = sizes(run.profile, run.data).pixels() if new else 0
    return {run.root: run.profile.run_mb * 10**6, cache_dir(): pixels * (STORED_BYTES + SIMULATED_BYTES)}


def require_disk(run: Run) -> None:
    """Raise `DataError` naming the folder whose disk is too small; a disk that holds both needs both."""
    needs = disk_needs(run)
    disks = {f: os.stat(next(p for p in (f, *f.parents) if p.exists())).st_dev for f in needs}
    for folder, disk in disks.items():
        needed = sum(number for other, number in needs.items() if disks[other] == disk)
        require_space(folder, needed, f"a run at {run.profile.name}, with the data it simulates,")
