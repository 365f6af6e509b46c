"""Chapter 01: checks accept right answers in any form and name the usual mistakes; drawings that describe themselves."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from chapters import ch01
from eo_ssl.sensors import S2, S2_BANDS

IMAGES = Path(ch01.__file__).parents[1] / "images"


@pytest.mark.parametrize("path", sorted(IMAGES.glob("*.svg")), ids=lambda path: path.stem)
def test_a_drawing_has_a_title_and_a_description(path):
    texts = {element.tag.rpartition("}")[2]: element.text for element in ElementTree.parse(path).getroot()}
    assert len(texts["title"]) > 10 and len(texts["desc"]) > 60


def test_the_drawing_of_the_bands_shows_the_bands_of_the_package():
    drawn = (IMAGES / "bands.svg").read_text(encoding="utf-8")
    assert all(f"{band.name} {band.sees} {band.centre:.0f} nm" in drawn for band in S2)


def test_spectra_and_densities_say_their_extremes_and_correlation():
    fig = ch01.spectra({"leaf": np.linspace(0.1, 0.4, 13)}, S2_BANDS, ["green"])
    assert "leaf: lowest 0.10 in B01, highest 0.40 in B12" in fig.eo_alt
    x = np.arange(9.0)
    assert "y against x. all: 9 points, correlation 1.00" in ch01.density({"all": (x, x)}, "x", "y").eo_alt
