"""Doing many things at once: in this process, in a pool of processes, on a Dask cluster that loses a worker."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import nullcontext
from pathlib import Path

import psutil
import pytest

from eo_ssl.errors import ConfigError, EOError
from eo_ssl.parallel import executor, unordered


def reciprocal(x: float) -> float:
    return 1 / x


def lost_once(marker: str) -> str:
    """Kill the worker the first time it is called."""
    if not Path(marker).exists():
        Path(marker).touch()
        psutil.Process().kill()
    return marker


@pytest.fixture(scope="module")
def two() -> Iterator[Executor]:
    """A pool of two processes."""
    with executor(2) as pool:
        yield pool


@pytest.fixture(scope="module")
def cluster() -> Iterator[Executor]:
    """A Dask cluster, of threads; tests of what it is used for have one of processes, and lose one of them."""
    distributed = pytest.importorskip("distributed")
    threads = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**threads) as made, executor(scheduler=made.scheduler_address) as pool:
        yield pool


@pytest.mark.parametrize("where", [None, "two", "cluster"])
def test_a_task_that_raises_keeps_its_error_and_stops_no_other(where, request):
    with nullcontext(request.getfixturevalue(where)) if where else executor(1) as pool:
        assert (pool is None) == (where is None)
        done = dict(unordered(reciprocal, [1, 0, 2, 4], pool))
    found = {task: future.exception() or future.result() for task, future in done.items()}
    assert isinstance(found.pop(0), ZeroDivisionError)
    assert found == {1: 1, 2: 0.5, 4: 0.25}


def test_every_task_comes_back_once_and_only_so_many_are_handed_out_before_one_is_looked_at(two):
    handed_out = []
    for tasks, ahead in ((0, 3), (1, 3), (7, 1), (7, 3), (7, 100)):
        assert sorted(task for task, _ in unordered(abs, range(tasks), two, ahead)) == list(range(tasks))
    next(unordered(abs, (handed_out.append(k) or k for k in range(50)), two, ahead=4))
    assert len(handed_out) == 4


def test_the_initializer_runs_in_each_process_and_a_killed_worker_is_an_error_that_says_what_to_do(tmp_path):
    with (
        pytest.raises(EOError, match=r"worker process ended early: .*memory.*run it again"),
        executor(2, initializer=sys.setrecursionlimit, initargs=(777,)) as pool,
    ):
        assert pool.submit(sys.getrecursionlimit).result() == 777
        list(unordered(lost_once, [str(tmp_path / f"{k}") for k in range(3)], pool))


def test_an_error_in_the_block_does_not_wait_for_what_is_running():
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt), executor(2) as pool:
        pool.submit(time.sleep, 0).result()
        pool.submit(time.sleep, 300)
        raise KeyboardInterrupt
    assert time.monotonic() - begin < 60


PARENT = """
from time import sleep
from eo_ssl.parallel import executor, unordered
if __name__ == "__main__":
    with executor(2) as pool:
        for task, _ in unordered(sleep, [0.01, 0.01, 300, 300], pool):
            print(task, flush=True)
"""


@pytest.mark.kill
def test_workers_do_not_outlive_a_killed_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() and parent.stdout.readline()
    workers = psutil.Process(parent.pid).children(recursive=True)
    parent.kill()
    parent.wait()
    assert len(workers) >= 2 and not psutil.wait_procs(workers, timeout=20)[1]


def test_a_script_without_a_guard_is_told_about_it(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(PARENT.replace('if __name__ == "__main__":', "if True:"))
    # What Python's own tracker of resources has to say comes at any time.
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, env=quiet)
    assert "__main__" in result.stderr.splitlines()[-1] and "EOError" in result.stderr


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://x"])
def test_a_wrong_scheduler_address_is_one_line(address, monkeypatch):
    distributed = pytest.importorskip("distributed")
    client = distributed.Client
    monkeypatch.setattr(distributed, "Client", lambda where, timeout: client(where, timeout="1s"))
    with (
        pytest.raises(ConfigError, match=r"^no dask scheduler answers at .*\)$"),
        executor(scheduler=address),
    ):
        pass
