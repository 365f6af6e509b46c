"""kill -9 at random moments of training, then resume: the same final weights each time."""

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import kill_worker
import pytest
import torch
from safetensors.torch import load_file

pytestmark = [pytest.mark.kill, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]
KILLS = 12

Run = Callable[[Path, float], tuple[int, float]]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Train in a folder, for some seconds or to the end; returns exit status and duration."""
    command = [sys.executable, "-W", "ignore", kill_worker.__file__]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as server:

        def ask(folder: Path, seconds: float) -> tuple[int, float]:
            print(folder, seconds, file=server.stdin, flush=True)
            status, duration = server.stdout.readline().split()
            return int(status), float(duration)

        yield ask
        server.stdin.close()


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(next(folder.rglob("model.safetensors")))


def test_killed_and_resumed_runs_end_with_the_same_weights(run, tmp_path):
    run(tmp_path / "warm-up", 0)
    status, duration = run(tmp_path / "whole", 0)
    assert status == 0
    expected = weights(tmp_path / "whole")
    moments, kills, tries = random.Random(0), 0, 0
    while kills < KILLS:
        folder, tries = tmp_path / str(tries), tries + 1
        assert tries < 4 * KILLS, "most runs ended before they were killed"
        status, lasted = run(folder, moments.uniform(0.05, 0.95) * duration)
        if status == 0:  # it was faster than the ones before
            duration = lasted
            continue
        kills += 1
        for _ in range(kills % 3):  # and again
            run(folder, moments.uniform(0.05, 0.5) * duration)
        status, lasted = run(folder, 0)
        assert status == 0, "the run does not go on after a kill"
        found = weights(folder)
        assert all(torch.equal(found[name], value) for name, value in expected.items()), f"kill {kills}"
