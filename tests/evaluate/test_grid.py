"""A grid does every cell once: with many workers, after kill −9, after failures."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from eo_ssl.errors import ConfigError, EOError
from eo_ssl.evaluate.claims import claim
from eo_ssl.evaluate.grid import Cell, Grid, done, results_path, work
from eo_ssl.evaluate.results import read_lines

WORKER = Path(__file__).with_name("grid_worker.py")


def start(folder, cells, seconds):
    return subprocess.Popen([sys.executable, WORKER, folder, str(cells), str(seconds)])


def trained(folder, what="start"):
    log = folder / "trained.log"
    lines = log.read_text().splitlines() if log.exists() else []
    return Counter(line.removeprefix(f"{what} ") for line in lines if line.startswith(f"{what} "))


def cells(n, **options):
    return tuple(Cell("single", "m", 1.0, seed, **options) for seed in range(n))


def test_three_processes_do_every_cell_exactly_once(tmp_path):
    workers = [start(tmp_path, 25, 0.01) for _ in range(3)]
    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    assert len(trained(tmp_path)) == 25 and set(trained(tmp_path).values()) == {1}
    assert len(read_lines(results_path(tmp_path))) == 25


@pytest.mark.kill
def test_a_grid_killed_again_and_again_loses_at_most_the_cell_in_hand(tmp_path):
    rng, kills = random.Random(0), 0
    while kills < 6:
        worker = start(tmp_path, 40, 0.05)
        deadline = time.time() + 20
        before = sum(trained(tmp_path).values())
        while sum(trained(tmp_path).values()) == before and time.time() < deadline:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        kills += 1
    assert start(tmp_path, 40, 0.0).wait(60) == 0
    lines = read_lines(results_path(tmp_path))
    assert len(lines) == len({line["key"] for line in lines}) == 40
    assert sum(trained(tmp_path).values()) <= 40 + kills


@pytest.mark.kill
def test_a_living_worker_takes_over_the_cell_of_a_killed_one(tmp_path):
    doomed = start(tmp_path, 1, 60)
    while not trained(tmp_path):
        time.sleep(0.02)
    second = start(tmp_path, 1, 0)
    time.sleep(0.5)
    assert second.poll() is None  # it waits: the cell is in living hands
    doomed.kill()
    doomed.wait()
    assert second.wait(60) == 0 and len(read_lines(results_path(tmp_path))) == 1


def test_a_claim_is_exclusive_and_ends_with_its_block(tmp_path):
    name = "a/b f=0.1"
    with claim(tmp_path, name) as first, claim(tmp_path, name) as second, claim(tmp_path, "other") as third:
        assert (first, second, third) == (True, False, True)
    with claim(tmp_path, "a/b f=0.1") as again:
        assert again


def test_cells_wait_for_what_they_need(tmp_path):
    order = []
    first, second = Cell("single", "m", 1.0, 1), Cell("single", "m", 1.0, 0)
    grid = Grid("g", (Cell("single", "m", 1.0, 2, needs=(first.key, second.key)), first, second))

    def run_cell(cell, lines):
        assert all(need in lines for need in cell.needs)
        order.append(cell.seed)
        return {}

    work(grid, tmp_path, run_cell, progress=False)
    assert order == [1, 0, 2]


def test_one_failing_cell_does_not_stop_the_others_and_is_tried_again_next_time(tmp_path):
    def broken(cell, lines):
        if cell.seed == 1:
            raise RuntimeError("diverged")
        return {}

    grid = Grid("g", (*cells(3), Cell("single", "m", 1.0, 9, needs=(cells(2)[1].key,))))
    with pytest.raises(EOError, match=r"2 of 4 cells failed.*s=1.*diverged"):
        work(grid, tmp_path, broken, progress=False)
    assert len(done(grid, tmp_path)) == 2 and "RuntimeError" in (tmp_path / "failures.log").read_text()
    assert len(work(grid, tmp_path, lambda cell, lines: {}, progress=False)) == 4


def test_a_finished_grid_trains_nothing(tmp_path):
    grid = Grid("g", cells(2))
    work(grid, tmp_path, lambda cell, lines: {}, progress=False)
    work(grid, tmp_path, lambda cell, lines: pytest.fail("trained again"), progress=False)


def test_a_line_with_another_stamp_is_out_of_date(tmp_path):
    for stamp in ("old", "new"):
        work(Grid("g", cells(1, stamp=stamp)), tmp_path, lambda cell, lines: {}, progress=False)
    assert [line["stamp"] for line in read_lines(results_path(tmp_path))] == ["old", "new"]


def test_grids_with_twice_the_same_or_missing_cells_are_refused():
    with pytest.raises(ConfigError, match="twice"):
        Grid("g", (*cells(1), *cells(1)))
    with pytest.raises(ConfigError, match="not in it"):
        Grid("g", cells(1, needs=("nobody",)))
