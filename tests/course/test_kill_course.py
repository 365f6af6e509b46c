"""A course that is killed again and again ends with the results of one that was not.

By default two kills in a chapter that trains little of each kind. Ten kills all over the real course, by hand:

    EO_SSL_KILLS=10 EO_SSL_KILL_NOTEBOOKS=notebooks pytest -m kill tests/course/test_kill_course.py
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from eo_ssl.course import status
from eo_ssl.experiments.results import read_lines

pytestmark = pytest.mark.kill

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("EO_SSL_KILLS", "2"))
SEED = int(os.environ.get("EO_SSL_KILL_SEED", "0"))
SAME = ("stamp", "lr", "rates", "val_score", "val", "test", "history")  # of a line of results
TRAINS = """
from eo_ssl.course import recipes, setup
recipes.compared(setup(profile, data, run_dir, seed), "swin")
"""


def start(folder: Path, notebooks: Path) -> subprocess.Popen:
    """The course at smoke, with a cache of its own: the simulated data are part of what is killed."""
    command = [sys.executable, "-m", "eo_ssl.cli", "course", "run", "--profile", "smoke"]
    command += ["--notebooks", str(notebooks), "--run-dir", str(folder / "run")]
    own = {"EO_SSL_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    options = {"cwd": ROOT, "env": {**os.environ, **own}, "start_new_session": True}
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, **options)
    while ": running" not in (folder / "log").read_text() and process.poll() is None:
        time.sleep(0.05)
    return process


def kill(process: subprocess.Popen, everything: bool) -> None:
    """kill -9 of the runner, or as in a power cut of the runner, its kernels and all that they started."""
    victims = [psutil.Process(process.pid)]
    if everything:
        for victim in victims:  # grows; what is stopped starts nothing more
            victim.suspend()
            victims += [child for child in victim.children() if child not in victims]
    for victim in victims:
        victim.kill()
    process.wait()
    psutil.wait_procs(victims, timeout=30)


def results(run_dir: Path) -> dict[str, list]:
    """What results.jsonl says of each model, without what depends on the clock."""
    lines = read_lines(run_dir / "results.jsonl")
    found = {line["key"]: [line.get(name) for name in SAME] for line in lines}
    assert len(found) == len(lines), "a model was trained twice"
    return found


def weights(run_dir: Path) -> dict[str, torch.Tensor]:
    """All weights of all pretrained and kept models, by path and name."""
    found = {path.relative_to(run_dir): load_file(path) for path in run_dir.rglob("*.safetensors")}
    return {f"{path} {name}": tensor for path, model in found.items() for name, tensor in model.items()}


def test_a_course_killed_at_random_moments_ends_with_the_same_results(
    tmp_path: Path, folder: Path, write: Callable[..., Path]
) -> None:
    write("03_trains", TRAINS)
    notebooks, luck = Path(os.environ.get("EO_SSL_KILL_NOTEBOOKS", folder)).resolve(), random.Random(SEED)
    whole, killed = (tmp_path / name for name in ("whole", "killed"))
    whole.mkdir()
    killed.mkdir()
    assert start(whole, notebooks).wait(1800) == 0, (whole / "log").read_text()
    minutes = sum(chapter["minutes"] for chapter in status.done(whole / "run").values())
    kills = 0
    for number in range(KILLS):
        process = start(killed, notebooks)
        time.sleep(60 * minutes / (KILLS + 1) * luck.uniform(0.5, 1.5))
        if process.poll() is None:  # otherwise it was faster than the one that was timed
            kill(process, everything=number % 2 == 0)
            kills += 1
    assert kills, (killed / "log").read_text()
    assert start(killed, notebooks).wait(1800) == 0, (killed / "log").read_text()
    run_dir, other = whole / "run", killed / "run"
    assert set(status.done(other)) == set(status.done(run_dir)) and results(other) == results(run_dir) != {}
    a, b = weights(run_dir), weights(other)
    assert a.keys() == b.keys() and any(name.startswith("pretrain/") for name in a)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not list(other.glob(".running-*.ipynb")) and not list(other.rglob("resume"))
