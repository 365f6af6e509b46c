"""How a check is written: call the learner's function, compare, and say something that teaches.

    @exercise("NDVI", praise="Vegetation is bright in the near infrared and dark in red.")
    def check_ndvi(ndvi):
        got = ndvi(np.array([0.1]), np.array([0.5]))
        expect_close(got, [0.667], "NDVI of red 0.1 and near infrared 0.5", mistakes={
            "the signs are swapped: near infrared minus red, not red minus near infrared": [-0.667],
        })

What stops the learner's code (a stub, a `None`, an exception) becomes a message that names the cause. A right answer
may be a list, an array or a tensor; where the task asks for a class, the check says `(LateFusion: type)`.
"""

import functools
import html
import inspect
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
    """Turn a function that raises `ExerciseFailed` (through the `expect…` helpers) into a check.

    Its first argument is the learner's answer; others, such as the data, are handed on as they are.
    """

    def decorate(check: Callable[..., None]) -> Callable[..., Passed]:
        names = inspect.signature(check).parameters
        name = next(iter(names))
        asked = "class" if names[name].annotation is type else "function"
        call = f"{check.__name__}({', '.join(names)})"
        advice = f"Write {call}: the name of your {asked}, with nothing around it."
        number = "one thing is" if len(names) == 1 else f"{len(names)} things are"

        @functools.wraps(check)
        def run(*answers: Any) -> Passed:
            expect(len(answers) == len(names), f"{title}: {number} asked for, not {len(answers)}. {advice}")
            answer = _not_stub(answers[0], title)
            what = "class" if isinstance(answer, type) else "function" if callable(answer) else "result"
            expect(what == asked, f"{title}: this is {_kind(answer)}. {advice}")
            with _taught(title):
                check(answer if asked == "class" else _guard(answer, name), *answers[1:])
            return Passed(title, praise)

        return run

    return decorate


def expect(condition: Any, message: str) -> None:
    """Fail with `message` unless the condition holds."""
    if not bool(condition):
        raise ExerciseFailed(message)


def expect_shape(value: Any, shape: tuple[int, ...], what: str) -> None:
    """Fail unless `value` is an array, a tensor or a nested list of this shape."""
    got = numbers(value, what).shape
    expect(got == shape, f"{what} should have shape {shape}, but it has {got}.")


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
    values, wanted = numbers(got, what), numbers(wanted)
    if values.ndim and wanted.ndim:
        expect_shape(values, wanted.shape, what)
    if np.allclose(values, wanted, rtol=rtol, atol=atol, equal_nan=True):
        return
    for message, value in (mistakes or {}).items():
        mistake = numbers(value)
        alike = mistake.shape == values.shape and np.allclose(values, mistake, rtol=rtol, atol=atol)
        expect(not alike, f"{what}: {message}.")
    nan = np.isnan(values).any() and not np.isnan(wanted).any()
    expect(not nan, f"{what} holds NaN: look for a division by zero or the logarithm of zero.")
    raise ExerciseFailed(f"{what} should be {_short(wanted)}, but it is {_short(values)}.")


def numbers(value: Any, what: str = "the result") -> np.ndarray:
    """A NumPy array of float64 from a number, array, tensor, data frame, or a nested list of any of these."""
    if isinstance(value, list | tuple):
        value = [numbers(one, what).tolist() for one in value]
    if hasattr(value, "detach"):
        value = value.detach().cpu().double().numpy()
    try:
        values = np.asarray(value)
        return values.astype(float, casting="same_kind" if values.dtype != object else "unsafe")
    except (TypeError, ValueError):
        kind = "list of unequal lists" if isinstance(value, list) else type(value).__name__
        kind = f"array of {value.dtype}" if isinstance(value, np.ndarray) else kind
        raise ExerciseFailed(f"{what} should be a number or an array, but it is a {kind}.") from None


def booleans(value: Any, what: str = "the result") -> np.ndarray:
    """A NumPy array of bool from the same; 0 and 1 count as False and True."""
    values = numbers(value, what)
    expect(np.isin(values, (0, 1)).all(), f"{what} should hold True and False, not {_short(values)}.")
    return values.astype(bool)


def _short(values: np.ndarray) -> str:
    if values.size > 6:
        return f"an array of shape {values.shape} around {np.nanmean(values):.4g}"
    return np.array2string(values, precision=4, separator=", ")


def _not_stub(value: Any, name: str) -> Any:
    there = value is not None and value is not Ellipsis
    expect(there, f"{name}: nothing is there yet, or returned. Fill in the cell above and run it, then this.")
    return value


def _kind(value: Any) -> str:
    """What was handed over, in words: "the class LateFusion", "the result of a call, a Tensor"."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, str):
        return "a text in quotes"
    if inspect.isroutine(value):
        return "a function"
    return f"the result of a call, a {type(value).__name__}"


def _guard(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The learner's function, with a stub, a None or an exception turned into a message."""
    name = getattr(function, "__name__", name)

    def call(*args: Any, **kwargs: Any) -> Any:
        with _taught(name):
            return _not_stub(function(*args, **kwargs), name)

    return call


@contextmanager
def _taught(name: str) -> Iterator[None]:
    """Turn what stops the learner's code, such as a class that is still a stub, into a message.

    A stub says nothing or "your turn"; an operation that the device lacks raises the same type with other words.
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
        if isinstance(error, TypeError | ValueError) and "unpack" in said:
            message = f"{name} does not return as many values as the task asks for ({said})."
        raise ExerciseFailed(message) from error
