"""How a check is written: call the learner's function, compare, and say something that teaches.

    @exercise("NDVI", praise="Vegetation is bright in the near infrared and dark in red.")
    def check_ndvi(ndvi):
        got = ndvi(np.array([0.1]), np.array([0.5]))
        expect_close(got, [0.667], "NDVI of red 0.1 and near infrared 0.5", mistakes={
            "the signs are swapped: near infrared minus red, not red minus near infrared": [-0.667],
        })

What stops the learner's code (a stub, a `None`, an exception) becomes a message that names the cause.
"""

import functools
import html
import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np


class ExerciseFailed(AssertionError):
    """The answer is not right yet; the message says where to look. Notebooks show it without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"\x1b[1;33mNot yet.\x1b[0m {self}"]


@dataclass(frozen=True)
class Passed:
    """A passed check; a notebook shows it as a green line."""

    title: str
    praise: str

    def __repr__(self) -> str:
        return f"Correct: {self.title}. {self.praise}".strip()

    def _repr_html_(self) -> str:
        text = f"<b>Correct: {html.escape(self.title)}.</b> {html.escape(self.praise)}"
        return f'<div class="eo-passed" role="status">✓ {text}</div>'


def exercise(title: str, praise: str = "") -> Callable[[Callable[..., None]], Callable[..., Passed]]:
    """Turn a function that raises `ExerciseFailed` (through the `expect…` helpers) into a check."""

    def decorate(check: Callable[..., None]) -> Callable[..., Passed]:
        @functools.wraps(check)
        def run(*answers: Any) -> Passed:
            with _taught(title, answers):
                check(*(_guard(a) if inspect.isroutine(a) else _not_stub(a, title) for a in answers))
            return Passed(title, praise)

        return run

    return decorate


def expect(condition: Any, message: str) -> None:
    """Fail with `message` unless the condition holds."""
    if not bool(condition):
        raise ExerciseFailed(message)


def expect_shape(value: Any, shape: tuple[int, ...], what: str) -> None:
    """Fail unless `value` is an array or tensor of this shape."""
    got = getattr(value, "shape", None)
    expect(got is not None, f"{what} should be an array or tensor, but it is a {type(value).__name__}.")
    expect(tuple(got) == shape, f"{what} should have shape {shape}, but it has {tuple(got)}.")


def expect_close(
    got: Any,
    wanted: Any,
    what: str,
    *,
    rtol: float = 1e-3,
    atol: float = 1e-6,
    mistakes: dict[str, Any] | None = None,
) -> None:
    """Fail unless `got` is close to `wanted`; a value in `mistakes` is answered with its own message."""
    values, wanted = _array(got), _array(wanted)
    if values.ndim and wanted.ndim:
        expect_shape(values, wanted.shape, what)
    if np.allclose(values, wanted, rtol=rtol, atol=atol, equal_nan=True):
        return
    for message, value in (mistakes or {}).items():
        mistake = _array(value)
        alike = mistake.shape == values.shape and np.allclose(values, mistake, rtol=rtol, atol=atol)
        expect(not alike, f"{what}: {message}.")
    nan = np.isnan(values).any() and not np.isnan(wanted).any()
    expect(not nan, f"{what} holds NaN: look for a division by zero or the logarithm of zero.")
    raise ExerciseFailed(f"{what} should be {_short(wanted)}, but it is {_short(values)}.")


def _array(value: Any) -> np.ndarray:
    """A NumPy array from a number, list, array or tensor (detached, on the CPU)."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().float().numpy()
    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        kind = type(value).__name__
        raise ExerciseFailed(f"a number or an array was expected, but this is a {kind}.") from None


def _short(values: np.ndarray) -> str:
    if values.size > 6:
        return f"an array of shape {values.shape} around {np.nanmean(values):.4g}"
    return np.array2string(values, precision=4, separator=", ")


def _not_stub(value: Any, name: str) -> Any:
    there = value is not None and value is not Ellipsis
    expect(there, f"{name}: nothing is there yet. Fill in the cell above and run it, then this one.")
    return value


def _guard(function: Callable[..., Any]) -> Callable[..., Any]:
    """The learner's function, with a stub, a None or an exception turned into a message."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with _taught(function.__name__):
            return _not_stub(function(*args, **kwargs), function.__name__)

    return call


@contextmanager
def _taught(name: str, answers: tuple = ()) -> Iterator[None]:
    """Turn what stops the learner's code, such as a class that is still a stub, into a message.

    A stub says nothing or "your turn"; an operation that the device lacks raises the same type with other words.
    Where one of the `answers` is called and cannot be, its result was handed over in its place.
    """
    try:
        yield
    except ExerciseFailed:
        raise
    except Exception as error:
        said = str(error)
        if isinstance(error, NotImplementedError) and said in ("", "your turn"):
            _not_stub(None, name)
        message = f"{name} stopped with {type(error).__name__}: {said}"
        called = re.fullmatch(r"'(?:.*\.)?(\w+)' object is not callable", said)
        if called and called[1] in [type(answer).__name__ for answer in answers if not callable(answer)]:
            message = f"{name}: the check calls your function itself; give it the name, without brackets."
        elif isinstance(error, TypeError | ValueError) and "unpack" in said:
            message = f"{name} does not return as many values as the task asks for ({said})."
        raise ExerciseFailed(message) from error
