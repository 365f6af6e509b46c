"""A resumable grid: cells, what each needs first, and a loop that any number of processes may run at once."""

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from eo_ssl.errors import ConfigError, EOError
from eo_ssl.evaluate.claims import claim
from eo_ssl.evaluate.results import Result, append_result, read_lines

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Cell:
    """One model to train: method, task, label fraction, seed.

    A cell with a `rate` tries that learning rate on validation and never sees the test set. `needs` lists
    keys of cells that must be done before; `keep` saves the trained model; `stamp` stands for the data,
    settings and checkpoint behind the cell: a line with another stamp is out of date and done again.

    >>> Cell("single", "late", 0.1, 2).key
    'single late f=0.1 s=2'
    """

    task: str
    method: str
    fraction: float
    seed: int
    rate: float | None = None
    needs: tuple[str, ...] = ()
    keep: bool = False
    stamp: str = ""

    @property
    def key(self) -> str:
        """The name under which the result is stored."""
        tuning = "" if self.rate is None else f" lr={self.rate:g}"
        return f"{self.task} {self.method} f={self.fraction:g} s={self.seed}{tuning}"


@dataclass(frozen=True)
class Grid:
    """Cells in the order in which they should be done."""

    name: str
    cells: tuple[Cell, ...]

    def __post_init__(self) -> None:
        keys = [cell.key for cell in self.cells]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        unknown = sorted({need for cell in self.cells for need in cell.needs} - set(keys))
        if twice or unknown:
            problem = f"twice: {', '.join(twice)}" if twice else f"needed but not in it: {', '.join(unknown)}"
            raise ConfigError(f"grid {self.name}: cells {problem}")


# Trains one cell and returns its line; gets the lines known so far.
RunCell = Callable[[Cell, dict[str, Result]], Result]


def results_path(folder: Path) -> Path:
    """Where the grid's lines are."""
    return folder / "results.jsonl"


def done(grid: Grid, folder: Path) -> dict[str, Result]:
    """Lines of the grid's cells so far, by key; the last line of a key counts, if it has the cell's stamp."""
    last = {line.get("key"): line for line in read_lines(results_path(folder))}
    stamps = {cell.key: cell.stamp for cell in grid.cells}
    return {key: line for key, line in last.items() if key in stamps and line.get("stamp") == stamps[key]}


def work(
    grid: Grid, folder: Path, run_cell: RunCell, progress: bool = True, stop_at: float = 0.0
) -> dict[str, Result]:
    """Do cells until all are done, here or by others; return all lines.

    Any number of processes may run this on the same folder. A cell is claimed, looked up once more and only
    then trained, so none is done twice; the claim of a killed process is free at once. A cell that fails does
    not stop the others: `EOError` at the end names the failed cells, and `failures.log` holds the tracebacks.
    After the time `stop_at` (seconds since 1970; 0: never) no further cell is begun.
    """
    failed: dict[str, str] = {}
    with tqdm(total=len(grid.cells), desc=grid.name, unit="model", disable=not progress) as bar:
        while not stop_at or time.time() < stop_at:
            lines = done(grid, folder)
            bar.update(sum(cell.key in lines for cell in grid.cells) - bar.n)
            pending = [cell for cell in grid.cells if cell.key not in lines and cell.key not in failed]
            ready = [cell for cell in pending if all(need in lines for need in cell.needs)]
            if not ready and not _waiting_for_others(pending, failed):
                break
            if not any(_try(cell, grid, folder, run_cell, failed, bar) for cell in ready):
                time.sleep(POLL_SECONDS)
    if failed:
        first, why = next(iter(failed.items()))
        count = f"{len(failed)} of {len(grid.cells)} cells failed"
        raise EOError(f"{count}, first {first}: {why}; see {folder / 'failures.log'}")
    return done(grid, folder)


def _waiting_for_others(pending: Sequence[Cell], failed: dict[str, str]) -> bool:
    """Another process may still make a cell ready; cells that need a failed one are given up."""
    blocked = True
    while blocked:
        blocked = False
        for cell in pending:
            lost = next((need for need in cell.needs if need in failed), None)
            if lost and cell.key not in failed:
                failed[cell.key] = f"needs {lost}, which failed"
                blocked = True
    return any(cell.key not in failed for cell in pending)


def _try(cell: Cell, grid: Grid, folder: Path, run_cell: RunCell, failed: dict[str, str], bar: tqdm) -> bool:
    """Claim and do one cell; False if somebody else has or did it."""
    with claim(folder / "claims", cell.key) as mine:
        if not mine:
            return False
        lines = done(grid, folder)
        if cell.key in lines:
            return False
        bar.set_postfix_str(cell.key)
        try:
            append_result(
                results_path(folder), {"key": cell.key, "stamp": cell.stamp, **run_cell(cell, lines)}
            )
        except Exception as error:  # one diverged model must not cost the others
            failed[cell.key] = str(error).splitlines()[0] if str(error) else type(error).__name__
            with open(folder / "failures.log", "a", encoding="utf-8") as log:
                log.write(f"{cell.key}\n{traceback.format_exc()}\n")
        bar.update(1)
        return True
