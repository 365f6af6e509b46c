"""Killing the simulator at any moment and running it again gives what an uninterrupted run gives."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_simulate import digest

from eo_ssl.simulate import simulate

SCRIPT = "import sys; from eo_ssl.data.simulate import simulate; simulate(sys.argv[1], 'smoke', 0, int(sys.argv[2]))"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, str]:
    return digest(simulate(tmp_path_factory.mktemp("whole") / "set", "smoke", seed=0, workers=1))


def _start(root: Path, workers: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(root), str(workers)],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.kill
@pytest.mark.parametrize("moment", range(20))
def test_a_run_killed_at_a_random_moment_resumes_to_the_same_bytes(whole, tmp_path, moment):
    chance = random.Random(moment)
    root, scenes, workers = tmp_path / "set", chance.randrange(0, 36), chance.choice([1, 2])
    process = _start(root, workers)
    while process.poll() is None and len(list(root.glob(".simulating/*.done"))) < scenes:
        time.sleep(0.002)
    time.sleep(chance.uniform(0, 0.15))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert digest(simulate(root, "smoke", seed=0, workers=1)) == whole


@pytest.mark.kill
def test_workers_do_not_outlive_a_killed_parent(tmp_path):
    process = _start(tmp_path / "set", 2)
    while len(list((tmp_path / "set").glob(".simulating/*.done"))) < 2:
        time.sleep(0.01)
    children = _children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 20
    while any(_runs(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(children) >= 2
    assert not any(_runs(child) for child in children)


def _children(pid: int) -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def _runs(pid: int) -> bool:
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
