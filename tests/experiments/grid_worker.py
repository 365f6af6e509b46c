"""Cells that only pretend to train, in a module that workers can import; each leaves a line in FOLDER/trained.log."""

import os
import time
import zlib
from unittest.mock import patch

from eo_ssl.experiments import grid
from eo_ssl.experiments.plan import Cell, Grid

SECONDS = "GRID_WORKER_SECONDS"
TRIED = tuple(Cell("single", "late", 1.0, 0, rate) for rate in (1e-3, 1e-2))
NEEDS = tuple(cell.key for cell in TRIED)
CELLS = (*TRIED, *(Cell("single", "late", f, s, needs=NEEDS) for f in (1.0, 0.1) for s in range(5)))


def fake_cell(task):
    """A line that depends on the cell and on the lines it needs, after a while; cells of seed 3 of a set fail."""
    cell = task.cell
    with open(task.job.folder / "trained.log", "a") as log:
        log.write(f"{os.getpid()} {cell.key}\n")
    time.sleep(float(os.environ.get(SECONDS, "0")))
    if task.job.data == "broken" and cell.seed == 3:
        raise RuntimeError("diverged\nbadly")
    best = max(task.needed, key=lambda line: line["val_score"])["lr"] if task.needed else cell.rate
    return {"val_score": zlib.crc32(cell.key.encode()), "lr": best, "seed": cell.seed, "task": cell.task}


def trained(folder):
    """Process and key of every training that was begun."""
    log = folder / "trained.log"
    return [line.split(" ", 1) for line in log.read_text().splitlines()] if log.exists() else []


def run(folder, data="data", **options):
    """The grid of the pretended cells, on a data set that need not exist."""
    pretended = {"run_cell": fake_cell, "identity": str, "make_grid": lambda *_: Grid(CELLS)}
    with patch.multiple(grid, **pretended):
        return grid.run_grid(grid.GridJob("smoke", data, str(folder), accelerator="cpu"), **options)
