"""Chapter 01: checks accept right answers in any form and name the usual mistakes; drawings that describe themselves."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from chapters import ch01
from eo_ssl.course.checks import ExerciseFailed
from eo_ssl.data.measures import normalised_difference
from eo_ssl.sensors import S2

IMAGES = Path(ch01.__file__).parents[1] / "images"


def quiet_ndvi(red, nir):
    with np.errstate(invalid="ignore"):
        return np.nan_to_num((nir - red) / (nir + red))


def ndvi_of_images(red, nir):
    return [[(n - r) / (n + r) if n + r else 0 for r, n in zip(*rows)] for rows in zip(red, nir)]


@pytest.mark.parametrize(
    "check, answer",
    [
        ("check_ndvi", lambda red, nir: normalised_difference(nir, red)),
        ("check_ndvi", ndvi_of_images),
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
        # An error that has nothing to do with zeros keeps its own message.
        ("check_ndvi", lambda r, n: quiet_ndvi(r, n) if r.any() else r["nothing"], "IndexError"),
    ],
)
def test_usual_mistakes_are_named(check, answer, hint):
    with np.errstate(all="ignore"), pytest.raises(ExerciseFailed, match=hint):
        getattr(ch01, check)(answer)


@pytest.mark.parametrize("path", sorted(IMAGES.glob("*.svg")), ids=lambda path: path.stem)
def test_a_drawing_has_a_title_and_a_description(path):
    texts = {element.tag.rpartition("}")[2]: element.text for element in ElementTree.parse(path).getroot()}
    assert len(texts["title"]) > 10 and len(texts["desc"]) > 60


def test_the_drawing_of_the_bands_shows_the_bands_of_the_package():
    drawn = (IMAGES / "bands.svg").read_text(encoding="utf-8")
    assert all(f"{band.name} {band.sees} {band.centre:.0f} nm" in drawn for band in S2)
