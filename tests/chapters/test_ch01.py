"""Chapter 01: drawings that describe themselves and agree with the package."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from chapters import ch01
from eo_ssl.sensors import S2

IMAGES = Path(ch01.__file__).parents[1] / "images"


@pytest.mark.parametrize("path", sorted(IMAGES.glob("*.svg")), ids=lambda path: path.stem)
def test_a_drawing_has_a_title_and_a_description(path):
    texts = {element.tag.rpartition("}")[2]: element.text for element in ElementTree.parse(path).getroot()}
    assert len(texts["title"]) > 10 and len(texts["desc"]) > 60


def test_the_drawing_of_the_bands_shows_the_bands_of_the_package():
    drawn = (IMAGES / "bands.svg").read_text(encoding="utf-8")
    assert all(f"{band.name} {band.sees} {band.centre:.0f} nm" in drawn for band in S2)
