"""What takes minutes to make is made once, by the first worker that asks for it: the course at smoke and its book."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yaml
from filelock import FileLock

from eo_ssl.course import notebooks

ROOT = Path(__file__).parents[1]
FAILED = "this was tried, and failed"
STEMS = [path.stem for path in notebooks.sources(ROOT / "notebooks")]
TOC = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
PAGES = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]


def eo_ssl(*arguments: str) -> str:
    """What the command line says, run here to its good end."""
    command = [sys.executable, "-m", "eo_ssl.cli", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def once(out: Path, base: Path, make: Callable[[], object]) -> Path:
    """The folder `out` that `make` has filled; what it returned is in `base / "NAME.txt"`."""
    said = base / f"{out.name}.txt"
    with FileLock(said.with_suffix(".lock")):
        if not said.exists():
            said.write_text(FAILED)
            said.write_text(str(make()))
    assert said.read_text() != FAILED
    return out
