"""The course at smoke and what is made of it: once, by the first worker that asks, for all of them."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from eo_ssl.course import notebooks

ROOT = Path(__file__).parents[1]
STEMS = [path.stem for path in notebooks.sources(ROOT / "notebooks")]
TOC = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
PAGES = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]


def eo_ssl(*arguments: str) -> subprocess.CompletedProcess:
    """The command line, run here."""
    command = [sys.executable, "-m", "eo_ssl.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def once(out: Path, base: Path, make: Callable[[], subprocess.CompletedProcess]) -> Path:
    """The folder `out` that a program has filled, which said what is in `base / "NAME.txt"`; fails where it failed."""
    said = base / f"{out.name}.txt"
    with FileLock(said.with_suffix(".lock")):
        if not said.exists():
            done = make()
            said.write_text(f"status {done.returncode}\n{done.stdout}{done.stderr}")
    if not (text := said.read_text()).startswith("status 0\n"):
        pytest.fail(text)
    return out
