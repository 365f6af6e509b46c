"""The label-fraction grid: trains, tests and writes down every cell, in as many processes as there are devices."""

import multiprocessing
import os
import time
from typing import Any

import pandas as pd
from tqdm import tqdm

from eo_ssl.errors import EOError
from eo_ssl.evaluate import gpus
from eo_ssl.evaluate.grid import Cell, Grid, done, results_path, work
from eo_ssl.evaluate.job import CellRunner, GridJob
from eo_ssl.evaluate.results import read_results

__all__ = ["Cell", "Grid", "GridJob", "run_grid", "worker"]


def run_grid(
    job: GridJob,
    source: Any = None,
    workers: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Do all cells of a job and return the table of results; what is done already is not done again.

    Args:
        source: an open data source, used when everything runs in this process (`workers=1`).
        workers: processes; by default one to three per GPU, or on a CPU one per core.

    Raises `EOError` naming the cells that failed; the others are done nevertheless.
    """
    grid = job.grid()
    todo = [cell for cell in grid.cells if cell.key not in done(grid, job.folder)]
    workers = min(workers or default_workers(job.accelerator), max(1, len(todo)))
    if todo and workers == 1:
        work(grid, job.folder, CellRunner(job, source), progress, job.stop_at)
    elif todo:
        _spawn(job, grid, workers, progress)
    return read_results(results_path(job.folder))


def default_workers(accelerator: str) -> int:
    """One to three processes per GPU, or one per core."""

    from eo_ssl.train.devices import device_type

    if device_type(accelerator) == "cuda":
        return gpus.processes(len(gpus.names()), gpus.free_bytes(), default_workers("cpu"))
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _spawn(job: GridJob, grid: Grid, workers: int, progress: bool) -> None:
    """Workers in processes of their own, and a progress bar that counts lines."""
    from eo_ssl.train.devices import device_type

    context = multiprocessing.get_context("spawn")
    own = gpus.names() if device_type(job.accelerator) == "cuda" else [""]
    jobs = [(job, i, workers, False, own[i % len(own)]) for i in range(workers)]
    processes = [context.Process(target=worker, args=one, daemon=True) for one in jobs]
    for process in processes:
        process.start()
    with tqdm(total=len(grid.cells), desc=grid.name, unit="model", disable=not progress) as bar:
        while any(process.is_alive() for process in processes):
            for process in processes:
                process.join(0.5 / workers)
            bar.update(len(done(grid, job.folder)) - bar.n)
    missing = [cell.key for cell in grid.cells if cell.key not in done(grid, job.folder)]
    if missing and not (job.stop_at and time.time() > job.stop_at):
        log = job.folder / "failures.log"
        raise EOError(f"{len(missing)} of {len(grid.cells)} cells failed, first {missing[0]}; see {log}")


def worker(job: GridJob, number: int = 0, workers: int = 1, progress: bool = False, gpu: str = "") -> None:
    """One process of a grid: takes its GPU or its share of the cores and works until nothing is left.

    `gpu` names the GPU; without it, one of several workers on a machine takes the GPU of its number.
    """
    if gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # before CUDA looks at it, which it does once
    elif job.accelerator != "cpu" and workers > 1:
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", str(number))
    import torch

    # A share of the cores, however many were asked for.
    asked = int(os.environ.get("OMP_NUM_THREADS", "0")) or default_workers("cpu")
    torch.set_num_threads(max(1, min(asked, default_workers("cpu") // workers)))
    work(job.grid(), job.folder, CellRunner(job), progress, job.stop_at)
