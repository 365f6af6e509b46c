"""The checks of chapter 01 accept right answers in any form and answer the usual mistakes by name."""

import numpy as np
import pytest

from chapters import ch01
from eo_ssl.course.checks import ExerciseFailed


def right_ndvi(red, nir):
    total = nir + red
    return np.divide(nir - red, total, out=np.zeros_like(total), where=total != 0)


def quiet_ndvi(red, nir):
    with np.errstate(invalid="ignore"):
        return np.nan_to_num((nir - red) / (nir + red))


@pytest.mark.parametrize(
    "check, answer",
    [
        ("check_ndvi", right_ndvi),
        ("check_ndvi", quiet_ndvi),
        ("check_decibels", lambda p: 10 * np.log10(np.clip(p, 1e-5, None))),
        ("check_looks", lambda db: (10 ** (db / 10)).mean() ** 2 / (10 ** (db / 10)).var()),
        ("check_looks", lambda db: 1 / np.var(10 ** (db / 10) / np.mean(10 ** (db / 10)))),
    ],
)
def test_right_answers_pass(check, answer):
    assert "Correct" in repr(getattr(ch01, check)(answer))


@pytest.mark.parametrize(
    "check, answer, hint",
    [
        ("check_ndvi", lambda red, nir: (red - nir) / (red + nir), "swapped"),
        ("check_ndvi", lambda red, nir: (nir - red) / (nir + red), "division by zero"),
        ("check_ndvi", lambda red, nir: nir / red, "simple ratio"),
        ("check_decibels", lambda p: 10 * np.log10(p), "−∞"),
        ("check_decibels", lambda p: 20 * np.log10(p), "amplitudes"),
        ("check_decibels", lambda p: 10 * np.log(p), "base 10"),
        ("check_looks", lambda db: db.mean() ** 2 / db.var(), "into power first"),
        ("check_looks", lambda db: (10 ** (db / 10)).mean() / (10 ** (db / 10)).std(), "square"),
        ("check_looks", lambda db: None, "nothing is there"),
    ],
)
def test_usual_mistakes_are_named(check, answer, hint):
    with np.errstate(all="ignore"), pytest.raises(ExerciseFailed, match=hint):
        getattr(ch01, check)(answer)
