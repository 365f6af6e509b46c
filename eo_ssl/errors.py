"""Errors a user can act on: each message names the file, band or parameter and the fix."""

import difflib
from collections.abc import Iterable


class EOError(Exception):
    """Base of all errors that the command line prints as one line instead of a traceback."""


class ConfigError(EOError):
    """A setting, parameter or profile that does not exist or does not fit the others."""


class DataError(EOError):
    """A file, folder or array that is missing, broken or not in the expected format."""


class DivergedError(EOError):
    """A training whose loss is no longer a number."""


class CheckpointError(EOError):
    """A checkpoint that is broken or belongs to another model, band set or method."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of an error message: the known word nearest to `word`, or all of them.

    >>> nearest("epoch", ["epochs", "lr"]), nearest("x", ["epochs", "lr"])
    ('; did you mean epochs?', '; there are epochs, lr')
    """
    known = list(known)
    found = difflib.get_close_matches(str(word), known, n=1, cutoff=0.5)
    return f"; did you mean {found[0]}?" if found else f"; there are {', '.join(known)}"
