"""A worker for the grid tests: "trains" cells by writing down that it did, then sleeping.

Run as `python grid_worker.py FOLDER CELLS SECONDS`; every training leaves a line in FOLDER/trained.log.
"""

import os
import sys
import time
from pathlib import Path

from eo_ssl.evaluate.grid import Cell, Grid, work


def make_grid(cells: int) -> Grid:
    first = Cell("single", "m", 1.0, 0)
    rest = [Cell("single", "m", 1.0, seed, needs=(first.key,)) for seed in range(1, cells)]
    return Grid("test", (first, *rest))


def main(folder: Path, cells: int, seconds: float) -> None:
    def run_cell(cell, lines):
        handle = os.open(folder / "trained.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, f"start {cell.key}\n".encode())
        time.sleep(seconds)
        os.write(handle, f"end {cell.key}\n".encode())
        os.close(handle)
        return {"test": {"aa": 0.5}}

    work(make_grid(cells), folder, run_cell, progress=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
