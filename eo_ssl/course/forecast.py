"""How long a run takes on this machine: its trainings counted, a few updates of each network timed here.

counted minutes of a chapter = Σ over the trainings that it is the first to ask for: samples · seconds of a sample / 60
samples = those trained on + those only looked at / 3

What is counted leaves out drawing, reading and the start of processes. A release keeps what was counted beside the
minutes that the chapter took, so that here: minutes = released minutes · counted here / counted there. Where the
profile needs a GPU and none is here, seconds are arithmetic: operations counted, at an assumed 50 TFLOP/s.
"""

import ast
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import nbformat

from eo_ssl.course import notebooks, session
from eo_ssl.course.session import Run
from eo_ssl.files import cache_dir, read_json, require_space
from eo_ssl.parallel import cores
from eo_ssl.profiles import Profile

ASSUMED_FLOPS = 50e12  # one twentieth of the peak of an H100
MONITORED = 1024  # held-out pairs looked at after every epoch, at most
STORED_BYTES = 32  # a pixel in a packed store: 15 bands in 16 bit and two label maps
SIMULATED_BYTES = 12  # the GeoTIFF files of a simulated patch, compressed
PUBLISHED = (180_662, 986, 5_128)  # pairs of SEN12MS, labelled and test patches of DFC2020
OTHER = 0.3  # minutes that a chapter takes beside its trainings, where none was ever timed
KEPT = 0.1  # share of its minutes that a chapter takes although its models are there
Notebooks = Mapping[str, nbformat.NotebookNode]  # by stem, in reading order
Sizes = tuple[dict[str, int], int]  # patches by split, and their width in pixels


class Training(NamedTuple):
    """One model: what makes it the same as another, its settings and samples; whether the run folder holds it, and
    whether it has the machine for itself, as a pretraining has: the models of the grid share it."""

    key: str
    config: Any
    samples: float
    done: bool
    alone: bool


class Forecast(NamedTuple):
    """Minutes to expect of each chapter, what was counted for all of it, and how many trainings are left."""

    minutes: dict[str, float]
    counted: dict[str, float]
    left: dict[str, int]


def forecast(run: Run, chapters: Notebooks, threads: int = 1, say: Callable[[str], None] = print) -> Forecast:
    """What these chapters take here; each network is named to `say` while it is measured.

    `threads` are those of a pretraining; the models of the grid have one each and share the cores. Neither is data
    simulated nor is a data set read.
    """
    import torch

    timed = not run.profile.requires_gpu or torch.cuda.is_available()
    shared = cores() if run.is_evidence and not run.profile.requires_gpu else 1

    @cache
    def seconds(config: Any, threads: int) -> float:
        say(
            f"{'measuring' if timed else 'counting'} {getattr(config, 'name', '') or config.model} {config.backbone}"
        )
        return cost(config, timed, threads)

    def minutes(one: Training) -> float:
        sample = seconds(one.config.with_(seed=0), threads if one.alone else 1)
        return one.samples * sample / 60 / (1 if one.alone else shared)

    counted, left, number = {}, {}, {}
    for stem, some in _first(run, chapters):
        counted[stem] = sum(map(minutes, some))
        missing = [one for one in some if not one.done]
        left[stem], number[stem] = sum(map(minutes, missing)), len(missing)
    release = session.project_root() / "book" / "results" / f"{run.profile.name}.json"
    known = read_json(release) if release.is_file() else {}
    return Forecast(expected(counted, left, known), counted, number)


def expected(
    counted: dict[str, float], left: dict[str, float], release: Mapping[str, dict[str, float]]
) -> dict[str, float]:
    """Minutes of each chapter here, from what was counted for it (and is left of that), and a release.

    A chapter that trains nothing goes at the pace of those that do.

    >>> there = {"minutes": {"a": 0.5, "b": 3.0}, "counted": {"a": 0.0, "b": 2.0}}
    >>> expected({"a": 0.0, "b": 10.0}, {"a": 0.0, "b": 10.0}, there)
    {'a': 2.5, 'b': 15.0}
    """
    minutes, before = release.get("minutes", {}), release.get("counted", {})
    both = [stem for stem in counted if before.get(stem)]
    pace = sum(counted[s] for s in both) / sum(before[s] for s in both) if both else 1.0
    found = {}
    for stem, whole in counted.items():
        there = before.get(stem, 0.0)
        if stem in minutes and (there or not whole):
            full = minutes[stem] * (whole / there if there else pace)
        else:
            full = whole + OTHER * pace
        found[stem] = full * max(left[stem] / whole, KEPT) if whole else full
    return found


def table(found: Forecast, run: Run, current: Iterable[str] = ()) -> str:
    """The forecast as text: a line per chapter, then the sum, memory and disk. Those `current` take no time."""
    minutes = {stem: 0.0 if stem in current else m for stem, m in found.minutes.items()}
    lines = [f"{'chapter':34}{'models to train':>16}{'minutes here':>14}"]
    for stem, value in minutes.items():
        shown = "up to date" if stem in current else f"{value:,.1f}"
        lines.append(f"{stem:34}{found.left[stem]:16d}{shown:>14}")
    total = sum(minutes.values())
    how = f"measured on {session.device_name()}"
    if run.profile.requires_gpu and run.device.type != "cuda":
        how = f"operations counted, not timed, and assumed at {ASSUMED_FLOPS / 1e12:.0f} TFLOP/s: no GPU here"
    length = f"{total:.0f} minutes" if total < 180 else f"{total / 60:,.0f} hours"
    new = disk_needs(run)[cache_dir()]
    return "\n".join([
        *lines, f"profile {run.profile.name}: about {length} in all ({how}); {run.profile.memory_gb} GB of memory;",
        f"{run.profile.run_mb / 1e3:.1f} GB of disk in {run.root}, {new / 1e9:.1f} GB for simulated data in {cache_dir()}",
    ])  # fmt: skip


# Which trainings


def sizes(profile: Profile, data: str) -> Sizes:
    """Counts of a data root from its file names, of the simulated set from its plan; nothing is read.

    A tenth of the pairs is held out, and a fifth of the labelled patches is for validation, as in a run.
    """
    parts = ("pretrain", "train", "test")
    if data == session.SIMULATED and profile.real_data:
        counts, width = PUBLISHED, 256
    elif data == session.SIMULATED:
        from eo_ssl.simulate.world import profile_named

        plan = profile_named(profile.simulate)
        counts, width = map(plan.patches, parts), plan.patch
    else:
        from eo_ssl.data.dataset import open_source

        source = open_source(session.check_data(data), packed=False)
        both = (("pretrain", "pretrain_val"), ("train", "val"), ("test",))
        counts, width = [len(source.rows(*names)) for names in both], source.patch_size
    pairs, train, test = counts
    held, val = round(pairs / 10), round(train / 5)
    patches = {"pretrain": pairs - held, "pretrain_val": held, "train": train - val, "val": val, "test": test}
    return patches, width


def asked(notebook: nbformat.NotebookNode) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Calls of `recipes.pretrained(run, …)` and `recipes.compared(run, …)` in a chapter: name and plain arguments."""
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        nodes = ast.walk(notebooks.syntax(cell.source))
        for node in (node for node in nodes if isinstance(node, ast.Call)):
            name = getattr(node.func, "attr", "")
            if name in ("pretrained", "compared"):
                texts = [a.value for a in node.args if isinstance(a, ast.Constant)]
                yield name, tuple(text for text in texts if isinstance(text, str))


def _first(run: Run, chapters: Notebooks) -> Iterator[tuple[str, list[Training]]]:
    """Each chapter with the trainings that no chapter before it asks for."""
    seen: set[str] = set()
    there = sizes(run.profile, run.data)
    for stem, notebook in chapters.items():
        new: dict[str, Training] = {}
        for name, words in asked(notebook):
            wanted = _pretraining(run, there, *words) if name == "pretrained" else grid(run, there, words)
            new |= {one.key: one for one in wanted if one.key not in seen}
        seen |= new.keys()
        yield stem, list(new.values())


def _pretraining(
    run: Run, there: Sizes, method: str = "", family: str = "", seed: int = 0
) -> Iterator[Training]:
    from eo_ssl.train.config import preset, pretrain_folder

    if not method:  # in a variable: known only when the chapter runs
        return
    config = preset(method, run.profile.name, family, seed=seed)
    pairs = there[0]["pretrain"] // config.batch_size * config.batch_size
    samples = config.epochs * (pairs + min(there[0]["pretrain_val"], MONITORED) / 3)
    folder = pretrain_folder(run.root, config.name, config.backbone, config.seed)
    yield Training(folder.name, config, samples, (folder / "config.json").is_file(), True)


def grid(run: Run, there: Sizes, parts: tuple[str, ...] = ()) -> Iterator[Training]:
    """Every model that parts of the profile's grid usually train, pretrainings first; an ensemble only predicts."""
    from eo_ssl.experiments.plan import get_method, get_plan, make_grid
    from eo_ssl.experiments.results import read_lines
    from eo_ssl.train.config import FinetuneConfig

    profile, (n, width) = run.profile, there
    plan, cells, encoded = get_plan(profile.name), make_grid(profile.name, parts), set()
    lines = read_lines(run.root / "results.jsonl")
    known = {line.get("key") for line in lines}
    decided = {(line.get("task"), line.get("method")) for line in lines if not line.get("tuning")}
    for pretraining, family in cells.pretrainings:
        for seed in profile.seeds_of(pretraining, family):
            yield from _pretraining(run, there, pretraining, family, seed)
    for cell in cells.cells:
        method, budget = get_method(cell.method), plan.budget(cell.task)
        if method.members or cell.chosen or not cell.usual:
            continue
        segments = cell.task == "segment"
        config = FinetuneConfig(
            model=method.model, task="segment" if segments else "single",
            backbone=getattr(profile, method.family, method.family), image_size=profile.crop(method.family),
            unet_width=plan.unet_width, batch_size=budget.batch_size,
            **({"mode": "frozen", "init": "untrained"} if method.model == "bands" else {}),
        )  # fmt: skip
        tiles = (-(-width // config.image_size)) ** 2
        val, test = (n[s] * min(getattr(budget, f"{s}_tiles") or tiles, tiles) for s in ("val", "test"))
        looked = budget.evaluations * val + (test if cell.rate is None else 0)
        samples = budget.updates * budget.batch_size + looked / 3
        if method.is_head(cell.task):  # features are computed once for all rates, fractions and tasks
            start = (method.pretraining, method.family, method.released, method.model, cell.seed)
            samples = 0 if start in encoded else (n["train"] * plan.cached_crops + val + test) / 3
            encoded.add(start)
        tried = cell.rate is not None and (cell.task, cell.method) in decided
        yield Training(cell.key, config, samples, tried or cell.key in known, False)


# What a sample costs


def cost(config: Any, timed: bool, threads: int = 1) -> float:
    """Seconds of a sample: forward, backward, step, on noise and without loading; the mean of two updates."""
    import torch
    from torch.utils.benchmark import Timer
    from torch.utils.flop_counter import FlopCounterMode

    device = "meta" if not timed else "cuda" if torch.cuda.is_available() else "cpu"
    batch = getattr(config, "micro_batch", 0) or config.batch_size
    batch = {"meta": 2, "cpu": min(batch, 32), "cuda": batch}[device]
    model, views = _model(config, batch, device)
    optimiser = torch.optim.AdamW(model.parameters())

    def update() -> None:
        with torch.autocast("cuda", torch.bfloat16, enabled=device == "cuda"):
            outputs = model(views)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        sum(z.float().square().mean() for z in outputs).backward()

    if not timed:
        with FlopCounterMode(display=False) as counter:
            update()
        return counter.get_total_flops() / batch / ASSUMED_FLOPS
    step, names = (
        "update(); optimiser.step(); optimiser.zero_grad()",
        {"update": update, "optimiser": optimiser},
    )
    return Timer(step, globals=names, num_threads=threads).timeit(2).mean / batch  # two before warm up


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


# Disk


def disk_needs(run: Run) -> dict[Path, int]:
    """Bytes that a run needs in its folder and, for simulated data and their packed store, in the cache."""
    new = run.simulated and not run.profile.real_data and not session.is_whole(run.simulated)
    patches, width = sizes(run.profile, run.data) if new else ({}, 0)
    pixels = sum(patches.values()) * width**2
    return {run.root: run.profile.run_mb * 10**6, cache_dir(): pixels * (STORED_BYTES + SIMULATED_BYTES)}


def require_disk(run: Run) -> None:
    """Raise `DataError` naming the folder whose disk is too small; a disk that holds both needs both."""
    needs = disk_needs(run)
    disks = {f: os.stat(next(p for p in (f, *f.parents) if p.exists())).st_dev for f in needs}
    for folder, disk in disks.items():
        needed = sum(number for other, number in needs.items() if disks[other] == disk)
        require_space(folder, needed, f"a run at {run.profile.name}, with the data it simulates,")
