"""Checks of the exercises: `checks.check_ndvi(ndvi)` passes, or says what to look at.

The checks of a chapter live in `chapterNN.py` beside this file; each is found by its name, so a new
chapter brings its own file and changes nothing here.
"""

import importlib
import pkgutil
from typing import Any

from eo_ssl.course.checks.framework import ExerciseFailed, Passed, exercise
from eo_ssl.course.profiles import did_you_mean

__all__ = ["ExerciseFailed", "Passed", "exercise", "names"]


def _chapters() -> list[Any]:
    found = sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name.startswith("chapter"))
    return [importlib.import_module(f"{__name__}.{name}") for name in found]


def names() -> list[str]:
    """The names of all checks of all chapters."""
    return [name for module in _chapters() for name in vars(module) if name.startswith("check_")]


def __getattr__(name: str) -> Any:
    if not name.startswith("check_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for module in _chapters():
        if name in vars(module):
            return vars(module)[name]
    raise AttributeError(f"there is no check called {name!r}{did_you_mean(name, names())}")


def __dir__() -> list[str]:
    return [*__all__, *names()]
