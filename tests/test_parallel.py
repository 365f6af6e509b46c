"""Doing many things at once: in this process, in a pool of processes, on a Dask cluster that loses a worker."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eo_ssl.errors import ConfigError, EOError
from eo_ssl.parallel import cores, executor, unordered


def reciprocal(x: float) -> float:
    return 1 / x


def killed(x: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def asleep(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def lost_once(marker: str) -> str:
    """Kill the worker the first time it is called."""
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return marker


_STARTED = []


def start(value: int) -> None:
    _STARTED.append(value)


def started(_: int) -> list[int]:
    return _STARTED


@pytest.mark.parametrize("workers", [1, 2])
def test_a_task_that_raises_keeps_its_error_and_stops_no_other(workers):
    with executor(workers) as pool:
        assert (pool is None) == (workers == 1)
        found = {
            task: done.exception() or done.result()
            for task, done in unordered(reciprocal, [1, 0, 2, 4], pool)
        }
    assert isinstance(found.pop(0), ZeroDivisionError)
    assert found == {1: 1, 2: 0.5, 4: 0.25}


@pytest.mark.parametrize("tasks", [0, 1, 7])
def test_every_task_comes_back_once_however_few_are_handed_out_at_a_time(tasks):
    with executor(2, initializer=start, initargs=(5,)) as pool:
        for ahead in (1, 3, 100):
            assert sorted(task for task, _ in unordered(abs, range(tasks), pool, ahead)) == list(range(tasks))
        assert all(done.result() == [5] for _, done in unordered(started, range(4), pool))


def test_results_do_not_pile_up_while_nobody_looks():
    handed_out = []
    tasks = (handed_out.append(k) or k for k in range(50))
    with executor(2) as pool:
        next(unordered(abs, tasks, pool, ahead=4))
        assert len(handed_out) == 4


def test_a_killed_worker_is_an_error_that_says_what_to_do():
    with (
        pytest.raises(EOError, match=r"worker process ended early: .*memory.*run it again"),
        executor(2) as pool,
    ):
        list(unordered(killed, range(3), pool))


def test_an_error_in_the_block_does_not_wait_for_what_is_running():
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt), executor(2) as pool:
        pool.submit(asleep, 0).result()
        pool.submit(asleep, 300)
        raise KeyboardInterrupt
    assert time.monotonic() - begin < 60


_PARENT = """
import sys
sys.path.insert(0, sys.argv[1])
from test_parallel import asleep
from eo_ssl.parallel import executor, unordered
if __name__ == "__main__":
    with executor(2) as pool:
        for _, done in unordered(asleep, [0.01, 0.01, 300, 300], pool):
            print(done.result(), flush=True)
"""


@pytest.mark.kill
def test_workers_do_not_outlive_a_killed_parent(tmp_path):
    psutil = pytest.importorskip("psutil")
    script = tmp_path / "parent.py"
    script.write_text(_PARENT)
    command = [sys.executable, str(script), str(Path(__file__).parent)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() and parent.stdout.readline()
    workers = psutil.Process(parent.pid).children(recursive=True)
    parent.kill()
    parent.wait()
    assert len(workers) >= 2 and not psutil.wait_procs(workers, timeout=20)[1]


def test_a_script_without_a_guard_is_told_about_it(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(_PARENT.replace('if __name__ == "__main__":', "if True:"))
    command = [sys.executable, str(script), str(Path(__file__).parent)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "__main__" in result.stderr.splitlines()[-1] and "EOError" in result.stderr


@pytest.fixture
def cluster():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster


def test_a_cluster_that_loses_a_worker_finishes_all_the_same(cluster, tmp_path):
    tasks = [str(tmp_path / f"{k}") for k in range(6)]
    for task in tasks[1:]:
        Path(task).touch()
    with executor(scheduler=cluster.scheduler_address) as pool:
        found = [done.result() for _, done in unordered(lost_once, tasks, pool)]
        assert sorted(found) == tasks
        errors = [done.exception() for _, done in unordered(reciprocal, [0], pool)]
    assert isinstance(errors[0], ZeroDivisionError)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://x", "127.0.0.1"])
def test_a_wrong_scheduler_address_is_one_line(address, monkeypatch):
    distributed = pytest.importorskip("distributed")
    client = distributed.Client
    monkeypatch.setattr(distributed, "Client", lambda where, timeout: client(where, timeout="1s"))
    with (
        pytest.raises(ConfigError, match="no dask scheduler answers at") as caught,
        executor(scheduler=address),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_this_process_has_a_core():
    assert cores() >= 1
