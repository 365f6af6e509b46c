"""A course that is killed again and again ends with the results of one that was not.

By default two kills in a chapter that trains little of each kind. Ten kills all over the real course, by hand:

    EO_SSL_KILLS=10 EO_SSL_KILL_NOTEBOOKS=notebooks pytest -m kill tests/course/test_kill_course.py
"""

import os
import random
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import forked
import psutil
import pytest
import torch
from safetensors.torch import load_file

from eo_ssl.course import recipes, session, setup, status
from eo_ssl.course.notebooks import sources
from eo_ssl.experiments.results import read_lines
from eo_ssl.profiles import PROFILES

pytestmark = pytest.mark.kill

KILLS = int(os.environ.get("EO_SSL_KILLS", "2"))
SEED = int(os.environ.get("EO_SSL_KILL_SEED", "0"))
SAME = ("stamp", "lr", "rates", "val_score", "val", "test", "history")  # of a line of results
TRAINS = """
from eo_ssl.course import recipes, setup
recipes.compared(setup(profile, data, run_dir, seed), "swin")
"""


def start(folder: Path, notebooks: Path) -> BaseProcess:
    """The course at smoke."""
    options = ["--notebooks", str(notebooks), "--run-dir", str(folder / "run")]
    command = ["course", "run", "--profile", "smoke", *options]
    return forked.start(forked.command, *command, output=folder / "log")


def made(run_dir: Path) -> int:
    """How much a run has kept of its trainings."""
    return sum(path.suffix in (".pt", ".csv", ".npz", ".safetensors") for path in run_dir.rglob("*"))


def kill(process: BaseProcess, everything: bool) -> None:
    """kill -9 of the runner, or as in a power cut of the runner, its kernels and all that they started."""
    victims = [psutil.Process(process.pid)]
    if everything:
        for victim in victims:  # grows; what is stopped starts nothing more
            victim.suspend()
            victims += [child for child in victim.children() if child not in victims]
    for victim in victims:
        victim.kill()
    process.join()
    psutil.wait_procs(victims, timeout=30)


def finish(folder: Path, notebooks: Path) -> None:
    process = start(folder, notebooks)
    process.join(1800)
    assert process.exitcode == 0, (folder / "log").read_text()


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
    by_hand, luck = os.environ.get("EO_SSL_KILL_NOTEBOOKS"), random.Random(SEED)
    notebooks = Path(by_hand or folder).resolve()
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    session.simulated(PROFILES["smoke"], 0)
    begun = time.monotonic()
    if by_hand:
        finish(whole, notebooks)
    else:  # the same, without a kernel
        recipes.compared(setup("smoke", run_dir=whole / "run"), "swin")
    seconds, kills = time.monotonic() - begun, 0
    for number in range(KILLS):
        before, process = made(killed), start(killed, notebooks)
        while process.is_alive() and made(killed) == before:
            time.sleep(0.02)
        time.sleep(luck.uniform(0, 2 * seconds / (KILLS + 1)))
        if process.is_alive():  # otherwise it was faster than the one that was timed
            kill(process, everything=number % 2 == 0)
            kills += 1
    assert kills, (killed / "log").read_text()
    finish(killed, notebooks)
    run_dir, other = whole / "run", killed / "run"
    assert list(status.done(other)) == [path.stem for path in sources(notebooks)]
    assert results(other) == results(run_dir) != {}
    a, b = weights(run_dir), weights(other)
    assert a.keys() == b.keys() and any(name.startswith("pretrain/") for name in a)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not list(other.glob(".running-*.ipynb")) and not list(other.rglob("resume"))
