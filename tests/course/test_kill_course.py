"""A course that is killed again and again ends with the results of one that was not.

By default two kills in the chapters that train most for their time. Ten kills all over the course, by hand:

    EO_SSL_KILLS=10 EO_SSL_KILL_CHAPTERS=all pytest -m kill tests/course/test_kill_course.py
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from eo_ssl.course import status
from eo_ssl.experiments.results import read_lines

pytestmark = pytest.mark.kill

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("EO_SSL_KILLS", "2"))
CHAPTERS = os.environ.get("EO_SSL_KILL_CHAPTERS", "08").split()  # "all", or some such as "04 08"
SEED = int(os.environ.get("EO_SSL_KILL_SEED", "0"))


@dataclass
class Course:
    """One run of the course at smoke, with a cache of its own: the simulated data are part of what is killed."""

    folder: Path
    starts: int = field(default=0, init=False)

    @property
    def run_dir(self) -> Path:
        return self.folder / "run"

    @property
    def log(self) -> Path:
        """What the latest start has said."""
        return self.folder / f"start-{self.starts}.log"

    def start(self) -> subprocess.Popen:
        self.folder.mkdir(exist_ok=True)
        self.starts += 1
        only = [] if CHAPTERS == ["all"] else [word for name in CHAPTERS for word in ("--only", name)]
        command = [sys.executable, "-m", "eo_ssl.cli", "course", "run", "--profile", "smoke", *only]
        own = {"EO_SSL_CACHE": str(self.folder / "cache"), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        with open(self.log, "w") as log:
            return subprocess.Popen(
                [*command, "--run-dir", str(self.run_dir)],
                cwd=ROOT, env={**os.environ, **own}, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def finish(self) -> None:
        assert self.start().wait(1800) == 0, self.log.read_text()

    def wait_for(self, stem: str, seconds: float, process: subprocess.Popen) -> None:
        """Until `seconds` into a chapter, or until the chapter is over."""
        begun = None
        while process.poll() is None:
            said = self.log.read_text()
            if f"{stem}: done" in said or f"{stem}: up to date" in said:
                return
            if begun is None and f"{stem}: running" in said:
                begun = time.monotonic()
            if begun is not None and time.monotonic() > begun + seconds:
                return
            time.sleep(0.05)

    def results(self) -> list[dict[str, Any]]:
        """The lines of results.jsonl by key, without what depends on the clock or on the folder."""
        lines = read_lines(self.run_dir / "results.jsonl")
        assert len({line["key"] for line in lines}) == len(lines), "a model was trained twice"
        text = json.dumps(timeless(sorted(lines, key=lambda line: line["key"])))
        return json.loads(text.replace(str(self.run_dir), ""))

    def weights(self) -> dict[str, dict[str, torch.Tensor]]:
        """All pretrained and kept models, by path."""
        found = sorted(self.run_dir.rglob("*.safetensors"))
        return {str(path.relative_to(self.run_dir)): load_file(path) for path in found}


def timeless(value: Any) -> Any:
    """The same without durations, rates and energy, which no two runs share."""
    if isinstance(value, dict):
        clock = ("seconds", "per_s", "energy")
        return {k: timeless(v) for k, v in value.items() if not any(word in k for word in clock)}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def kill(process: subprocess.Popen, everything: bool) -> None:
    """kill -9 of the runner, or as in a power cut of the runner, its kernels and all that they started."""
    runner = psutil.Process(process.pid)
    victims = [runner]
    if everything:
        for victim in victims:  # grows; what is stopped starts nothing more
            victim.suspend()
            victims += [child for child in victim.children() if child not in victims]
    for victim in victims:
        victim.send_signal(signal.SIGKILL)
    process.wait()
    psutil.wait_procs(victims, timeout=30)


def moments(run_dir: Path) -> list[tuple[str, float]]:
    """Moments drawn evenly over the run, as (chapter, seconds into it), in order."""
    minutes = {stem: chapter["minutes"] for stem, chapter in status.done(run_dir).items()}
    rng, found = random.Random(SEED), []
    for moment in sorted(rng.uniform(0, 60 * sum(minutes.values())) for _ in range(KILLS)):
        for stem, length in minutes.items():
            if moment < 60 * length:
                found.append((stem, moment))
                break
            moment -= 60 * length
    return found


def test_a_course_killed_at_random_moments_ends_with_the_same_results(tmp_path: Path) -> None:
    whole, killed = Course(tmp_path / "whole"), Course(tmp_path / "killed")
    whole.finish()
    kills = 0
    for stem, seconds in moments(whole.run_dir):
        process = killed.start()
        killed.wait_for(stem, seconds, process)
        if process.poll() is not None:
            break  # it was faster than the one whose moments these are
        kill(process, everything=kills % 2 == 0)
        kills += 1
        print(f"kill {kills}: {seconds:.1f} s into {stem}")
    assert kills, killed.log.read_text()
    killed.finish()
    assert set(status.done(killed.run_dir)) == set(status.done(whole.run_dir))
    assert killed.results() == whole.results() and whole.results()
    a, b = whole.weights(), killed.weights()
    assert a.keys() == b.keys() and any(name.startswith("pretrain/") for name in a)
    for name in a:
        assert a[name].keys() == b[name].keys(), name
        assert all(torch.equal(a[name][k], b[name][k]) for k in a[name]), name
    assert not list(killed.run_dir.glob(".running-*.ipynb")) and not list(killed.run_dir.rglob("resume"))
