"""Train and test the cells of a plan, many at once; what is done already is not done again.

    run_grid(GridJob("laptop", data, run_dir))                                # processes on this machine
    run_grid(GridJob("gpu", data, run_dir), scheduler="tcp://head:8786")      # a Dask cluster

A worker gets one task, trains and tests its model and returns the line of results; the coordinating process
alone writes `results.jsonl`, a line as soon as it is known. Stop it at any time, even with kill −9: the same call
goes on, and ends with the same lines.
"""

import gc
import multiprocessing
import os
import shutil
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache, partial
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import pandas as pd
from tqdm import tqdm

from eo_ssl.data.catalog import identity
from eo_ssl.errors import CheckpointError, DivergedError, EOError
from eo_ssl.experiments.plan import Cell, Method, get_method, get_plan, make_grid, published, worth_trying
from eo_ssl.experiments.results import Result, append_result, read_lines, read_results, results_path
from eo_ssl.files import inside, locked
from eo_ssl.parallel import affordable, cores, executor, unordered
from eo_ssl.profiles import get_profile
from eo_ssl.provenance import commit, training_code
from eo_ssl.train.config import FRESH, FinetuneConfig, digest, pretrain_folder, released

if TYPE_CHECKING:
    from eo_ssl.train.labelled import LabelledData

# Small models leave most of a large GPU idle while one process cuts the next batch: up to three share one.
PER_GPU, GPU_BYTES, GPU_CORES = 3, 20e9, 3  # memory and cores that each of them should find
PROCESS_BYTES = 1e9  # of memory that a worker takes for itself
COURSE_BYTES = 2.7e9  # that the chapter, its runner and the patches of a store, which all workers share, take
_ONE_MODEL = threading.Lock()  # at a time in a process: the random numbers of torch are the whole process's


@dataclass(frozen=True)
class GridJob:
    """A grid on one data set in one run folder; small enough to be sent to any process or cluster node."""

    profile: str
    data: str
    run_dir: str
    parts: tuple[str, ...] = ()
    accelerator: str = "auto"

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.run_dir)

    @cached_property
    def version(self) -> str:
        """The state of the data when first asked for: it goes with the job to its workers."""
        return identity(self.data)

    def stamp(self, cell: Cell) -> str:
        """Twelve hex digits of all that a cell's result depends on; a line with another stamp is out of date.

        That is its settings (without paths), the data set, the starting weights and the code that trains.
        """
        from eo_ssl.train.downstream import init_stamp

        plan, starts = get_plan(self.profile), []
        for name in get_method(cell.method).members or (cell.method,):
            config = self.config(replace(cell, method=name), cell.rate or plan.rates[0])
            starts.append([init_stamp(config.init), {**config.to_dict(), "init": ""}])
        rates = (plan.rates, plan.alone, plan.tried_by, plan.ratio)
        return digest(starts, *rates, self.version, training_code())

    def config(self, cell: Cell, rate: float) -> FinetuneConfig:
        """Settings of a cell at a learning rate."""
        plan, profile, method = get_plan(self.profile), get_profile(self.profile), get_method(cell.method)
        init = method.pretraining or "scratch"
        return FinetuneConfig(
            model=method.model,
            task=cell.task,
            mode=method.mode,
            init=init if init in FRESH else str(self.start(method, cell.seed)),
            fraction=cell.fraction,
            seed=cell.seed,
            backbone=getattr(profile, method.family, method.family),
            image_size=profile.crop(method.family),
            cached_crops=plan.cached_crops,
            unet_width=plan.unet_width,
            lr_head=rate,
            lr_backbone=rate * plan.ratio,
            **asdict(plan.budget(cell.task)),
        )

    def start(self, method: Method, seed: int) -> Path:
        """The encoders that a method starts from: brought by the user, shipped with the course, or pretrained here.

        Of those pretrained here the seeds are used in turn; raises `CheckpointError` where one is missing.
        """
        if method.released:
            return published(method.pretraining) or released(method.pretraining)
        profile = get_profile(self.profile)
        backbone = getattr(profile, method.family)
        seeds = profile.seeds_of(method.pretraining, method.family)
        number = seeds[seed % len(seeds)]
        folder = pretrain_folder(self.folder, method.pretraining, backbone, number)
        if not (folder / "config.json").is_file():
            network = f"--backbone {backbone} --image-size {profile.crop(method.family)} --seed {number}"
            where = f"--data {self.data} --run-dir {self.run_dir}"
            command = f"eo-ssl pretrain {method.pretraining} --preset {self.profile} {network} {where}"
            raise CheckpointError(f"{folder}: not pretrained yet; run {command} first")
        return folder


# In a worker


@dataclass(frozen=True)
class Task:
    """What a worker gets: a cell of a job, and the lines of the cells that it needs."""

    job: GridJob
    cell: Cell
    needed: tuple[Result, ...] = ()


def run_cell(task: Task) -> Result:
    """Train and test one cell and return its line."""
    job, cell, method = task.job, task.cell, get_method(task.cell.method)
    with _ONE_MODEL:
        began = time.perf_counter()
        line = _line(task, _read(job.data, job.version))
        seconds = round(time.perf_counter() - began, 2)
    facts = {"method": cell.method, "label": method.label, "task": cell.task, "fraction": cell.fraction}
    facts |= {"seed": cell.seed, "tuning": cell.rate is not None, "profile": job.profile}
    return {"seconds": seconds, **line, **facts, "data_version": job.version, "commit": commit()}


@lru_cache(maxsize=1)
def _read(data: str, version: str) -> "LabelledData":
    """The data of a job, read once per process."""
    from eo_ssl.data.dataset import open_source
    from eo_ssl.train.labelled import LabelledData

    return LabelledData(open_source(data), version)


def _line(task: Task, data: "LabelledData") -> Result:
    from eo_ssl.train.finetune import finetune, test_trained

    job, cell = task.job, task.cell
    train = partial(finetune, source=data, run_dir=job.folder, name=cell.key, accelerator=job.accelerator)
    if get_method(cell.method).members:
        members = [inside(job.folder, "models", need) for need in cell.needs]
        return test_trained(cell.key, members, data, job.folder, job.accelerator, val=True)
    if cell.rate is not None:
        try:
            return train(job.config(cell, cell.rate), test=False, keep=cell.keep)
        except DivergedError:  # too large a rate
            return {"lr": cell.rate, "val_score": -1.0}
    best, rates = best_rate(task.needed) if task.needed else (get_plan(job.profile).rates[0], {})
    model = inside(job.folder, "models", replace(cell, rate=best).key)
    if not (cell.chosen and (model / "config.json").is_file()):  # its line was deleted later
        return {**train(job.config(cell, best), keep=cell.keep), "rates": rates}
    line = next(one for one in task.needed if (one["lr"], one["seed"]) == (best, cell.seed))
    tested = test_trained(cell.key, [model], data, job.folder, job.accelerator)
    if cell.keep:
        shutil.copytree(model, inside(job.folder, "models", cell.key), dirs_exist_ok=True)
    return {**line, **tested, "rates": rates}


def best_rate(tried: Sequence[Result]) -> tuple[float, dict[str, float]]:
    """The rate with the best mean score of those that most seeds tried, and the mean scores of all rates tried.

    The smallest wins a tie.
    """
    found: dict[float, list[float]] = {}
    for line in sorted(tried, key=itemgetter("lr")):
        found.setdefault(line["lr"], []).append(line["val_score"])
    most = max(map(len, found.values()))
    best = max((rate for rate in found if len(found[rate]) == most), key=lambda rate: fmean(found[rate]))
    return best, {f"{rate:g}": fmean(scores) for rate, scores in found.items()}


def _begin_worker(numbers: Any, gpus: Sequence[str], threads: int) -> None:
    """First thing in a local worker: one GPU, in turn, before CUDA looks, or its share of the cores."""
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[numbers.get() % len(gpus)]
    import torch

    torch.set_num_threads(threads)


# In the coordinating process


def run_grid(job: GridJob, workers: int | None = None, scheduler: str = "") -> pd.DataFrame:
    """Do all cells of a job and return the table of results; what is done already is not done again.

    Args:
        workers: processes; by default one to three per GPU, or on a CPU one per core, as memory allows.
        scheduler: address of a Dask cluster that does the work instead. Its workers see the run folder and the
            data under the same paths, and each has one thread and one GPU or some cores of its own.

    Raises `EOError` naming the cells that failed; the others are done nevertheless.
    """
    cells = make_grid(job.profile, job.parts).cells
    stamps, failed = {cell.key: job.stamp(cell) for cell in cells}, {}
    lines = done(job.folder, stamps)
    if next(Ready(job, cells, lines, failed), None):
        workers = 0 if scheduler else min(workers or default_workers(job), len(cells) - len(lines))
        with locked(job.folder / "grid.lock", "train these models"), _pool(job, workers, scheduler) as pool:
            failed = _work(job, cells, stamps, pool)
    if failed:
        first, why = next(iter(failed.items()))
        count = f"{len(failed)} of {len(cells)} cells failed"
        raise EOError(f"{count}, first {first}: {why}; see {job.folder / 'failures.log'}")
    return read_results(results_path(job.folder))


def done(folder: Path, stamps: dict[str, str]) -> dict[str, Result]:
    """Lines of cells so far, by key; the last line of a key counts, if it has the cell's stamp."""
    last = {line.get("key"): line for line in read_lines(results_path(folder))}
    return {key: line for key, line in last.items() if line.get("stamp", "") == stamps.get(key)}


def _pool(job: GridJob, workers: int, scheduler: str) -> AbstractContextManager[Executor | None]:
    from eo_ssl.train.devices import device_type

    if scheduler or workers == 1:
        return executor(workers, scheduler)
    numbers = multiprocessing.get_context("spawn").SimpleQueue()
    for number in range(workers):
        numbers.put(number)
    gpus = gpu_names() if device_type(job.accelerator) == "cuda" else []
    asked = int(os.environ.get("OMP_NUM_THREADS", "0")) or cores()
    threads = max(1, min(asked, cores() // workers))
    return executor(workers, initializer=_begin_worker, initargs=(numbers, gpus, threads))


def _work(
    job: GridJob, cells: Sequence[Cell], stamps: dict[str, str], pool: Executor | None
) -> dict[str, str]:
    """Cell after cell, those first that others need; returns why cells failed, which does not stop the others."""
    lines, failed = done(job.folder, stamps), {}
    options = {"desc": f"{job.profile} grid", "unit": "model", "disable": None}
    with tqdm(total=sum(cell.usual for cell in cells), initial=len(lines), **options) as bar:
        for task, future in unordered(run_cell, Ready(job, cells, lines, failed), pool):
            key = task.cell.key
            try:
                line = {**future.result(), "key": key, "stamp": stamps[key]}
                append_result(results_path(job.folder), line)
                lines[key] = line
                bar.update(1)
            except Exception as error:  # one diverged model must not cost the others
                failed[key] = str(error).splitlines()[0] if str(error) else type(error).__name__
                with open(job.folder / "failures.log", "a", encoding="utf-8") as log:
                    log.write(f"{key}\n{''.join(traceback.format_exception(error))}\n")
    if not failed:
        for cell in cells:
            if cell.rate is not None:
                shutil.rmtree(inside(job.folder, "models", cell.key), ignore_errors=True)
    return failed


@dataclass
class Ready:
    """Tasks that can be done by now, each once: cells whose needs are met, but no rate that is not worth trying.

    Where it ends, a new line may make others ready. A cell that needs one that failed is added to `failed`.
    """

    job: GridJob
    cells: Sequence[Cell]
    lines: dict[str, Result]
    failed: dict[str, str]
    given: set[str] = field(default_factory=set)
    left_out: set[str] = field(default_factory=set)

    def __iter__(self) -> "Ready":
        return self

    def __next__(self) -> Task:
        for cell in self.cells:  # what a cell needs comes before it
            if any(cell.key in known for known in (self.lines, self.failed, self.given, self.left_out)):
                continue
            if lost := [need for need in cell.needs if need in self.failed]:
                self.failed[cell.key] = f"needs {lost[0]}, which failed"
            elif all(need in self.lines or need in self.left_out for need in cell.needs):
                needed = tuple(self.lines[need] for need in cell.needs if need in self.lines)
                if cell.rate is None or worth_trying(cell, needed):
                    self.given.add(cell.key)
                    return Task(self.job, cell, needed)
                self.left_out.add(cell.key)
        raise StopIteration


# How many workers


def default_workers(job: GridJob) -> int:
    """One to three processes per GPU, or one per core; fewer where they do not fit the memory.

    That is what is free, and no more than the profile says that a whole run takes.
    """
    import torch

    from eo_ssl.train.devices import device_type

    wanted = cores()
    if device_type(job.accelerator) == "cuda":
        gc.collect()
        torch.cuda.empty_cache()  # what this process does not need is the workers'
        gpus, free = len(gpu_names()), torch.cuda.mem_get_info(0)[0]
        wanted = gpus * max(1, min(PER_GPU, int(free // GPU_BYTES), cores() // (GPU_CORES * gpus)))
    most = get_profile(job.profile).memory_gb * 1e9 - COURSE_BYTES
    return max(1, min(wanted, affordable(PROCESS_BYTES, most)))


def gpu_names() -> list[str]:
    """The GPUs this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    import torch

    told = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    found = [name.strip() for name in told.split(",") if name.strip()]
    return found or [str(number) for number in range(torch.cuda.device_count())]
