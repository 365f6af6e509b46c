"""Processes of their own for tests, forked from one server that has imported torch: there at once, not after seconds."""

import atexit
import importlib
import os
import sys
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

FORKS = hasattr(os, "fork")
CONTEXT = get_context("forkserver" if FORKS else "spawn")
if FORKS:
    rooms = ("course.run", "course.forecast", "experiments.grid", "simulate", "train.pretrain")
    CONTEXT.set_forkserver_preload(["pytest", "torch", "papermill", *(f"eo_ssl.{room}" for room in rooms)])


def start(function: Callable, *args: Any, output: Path | None = None, **environment: str) -> BaseProcess:
    """Call a function of a file of tests in a new process, with the environment of this one and these changes.

    What the process says is added to the file `output`; its status is `exitcode` after `join`.
    """
    whole = {**os.environ, **environment}
    where = Path(function.__code__.co_filename), function.__name__
    process = CONTEXT.Process(target=_begin, args=(whole, os.getcwd(), output, where, args))
    process.start()
    atexit.register(process.kill)  # one that hangs must not keep the tests from ending
    return process


def command(*arguments: str) -> None:
    """`eo-ssl` with these arguments; for `start`."""
    from eo_ssl import cli

    sys.argv = ["eo-ssl", *arguments]
    cli.main()


def _begin(
    environment: dict[str, str], folder: str, output: Path | None, where: tuple[Path, str], args: tuple
) -> None:
    os.environ.clear()  # the server keeps that of its own beginning
    os.environ.update(environment)
    os.chdir(folder)
    if output:
        with open(output, "a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
    path, name = where
    sys.path.insert(0, str(path.parent))
    getattr(importlib.import_module(path.stem), name)(*args)
