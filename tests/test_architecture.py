"""The house: who imports whom, how large it is, and that the package works where no notebook can."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LARGEST = {  # lines
    "eo_ssl/**/*.py": 15_620,
    "eo_ssl/**/*.js": 1_100,
    "notebooks/chapters/*.py": 3_400,
    "tests/**/*.py": 12_660,
}
# The six files of CONTRIBUTING.md from which the method can be read.
METHOD = ("losses/nt_xent", "models/encoders", "models/dual", "train/methods", "train/step", "train/loop")
# Stands in for an environment into which only `pip install .` has put anything.
WITHOUT = """
import importlib, importlib.machinery, pkgutil, sys

MISSING = {
    "IPython", "ipywidgets", "anywidget", "papermill", "nbformat", "nbclient", "umap", "playwright", "jupyter_client",
    "jupyter_core", "jupyterlab", "jupyter_book", "ipykernel", "distributed", "lightly",
    "hypothesis", "pytest",
}

class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in MISSING else super().find_spec(name, path, target)

sys.meta_path[:] = [Finder if one is importlib.machinery.PathFinder else one for one in sys.meta_path]
"""
TRAIN = """
for room in ("data", "simulate", "losses", "models", "train", "evaluate", "experiments"):
    package = importlib.import_module("eo_ssl." + room)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)

from eo_ssl.cli import app

data, out = sys.argv[1:]
for line in (
    f"pretrain dual-simclr --preset smoke --data {data} --run-dir {out}",
    f"finetune --data {data} --init {out}/pretrain/dual-simclr-resnet_nano-seed0 --run-dir {out}"
    " --set updates=2 --set batch_size=4",
):
    app(line.split(), standalone_mode=False)
"""


def test_imports_run_one_way():
    run = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", run, "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("pattern", LARGEST)
def test_nothing_has_grown_beyond_what_one_can_read(pattern):
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in ROOT.glob(pattern))
    assert 0 < lines <= LARGEST[pattern]


def test_the_six_files_of_the_method_are_there_and_named_to_readers():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for name in METHOD:
        assert (ROOT / "eo_ssl" / f"{name}.py").is_file() and f"`{name}.py`" in text


def test_without_jupyter_every_room_below_the_figures_imports_and_the_package_trains_and_evaluates(
    simulated, tmp_path
):
    script = [sys.executable, "-c", WITHOUT + TRAIN, str(simulated), str(tmp_path / "out")]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list((tmp_path / "out").rglob("*.safetensors"))
