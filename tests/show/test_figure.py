"""Figures: none without alt text, the copy in the run's folder, small enough for a page."""

import html
import importlib
import re

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eo_ssl import show
from eo_ssl.errors import ConfigError

matplotlib.use("Agg")
# The package offers the function under the module's name.
figures = importlib.import_module("eo_ssl.show.figure")


def drawn():
    fig, ax = plt.subplots(figsize=(3, 2))
    ax.plot([0, 1])
    return fig


@pytest.mark.parametrize("alt", ["", "   ", "\n"])
def test_a_figure_without_alt_text_is_refused(alt):
    with pytest.raises(ConfigError, match="alt text"):
        show.figure(drawn(), alt=alt)
    assert plt.get_fignums() == []


@given(st.text(min_size=1, max_size=40).filter(str.strip))
def test_any_alt_text_survives_html(alt):
    picture = figures.Picture(b"", alt, 10, caption=alt)
    found = re.search(r'<img alt="([^"]*)"', picture._repr_html_())
    assert html.unescape(found.group(1)) == alt


def test_showing_displays_one_image_closes_the_figure_and_keeps_a_copy(monkeypatch, tmp_path):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    monkeypatch.setenv("EO_SSL_FIGURES", str(tmp_path))
    show.figure(drawn(), alt="A line that rises", caption="From 0 to 1", name="rise")
    (picture,) = shown
    assert picture._repr_html_().count("<img ") == 1 and "From 0 to 1" in picture._repr_html_()
    assert (tmp_path / "rise.png").read_bytes() == picture.png
    assert plt.get_fignums() == []


def test_alt_text_made_from_the_data_is_used_unless_another_is_given(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    show.figure(show.describe(drawn(), "from data"))
    show.figure(show.describe(drawn(), "from data"), alt="mine")
    assert [p.alt for p in shown] == ["from data", "mine"]


def test_the_same_figure_gives_the_same_bytes():
    assert figures.render(drawn(), "a").png == figures.render(drawn(), "a").png


def test_a_noisy_photograph_stays_small():
    noise = np.random.default_rng(0).random((400, 400, 3))
    picture = figures.render(show.grid([noise] * 4, columns=4, cell=1.8), "noise")
    assert len(picture.png) < 700_000
    assert 600 < picture.width < 800


def test_computed_sentences_and_alt_texts_get_a_true_minus(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    show.text("from -8.5 to -10 dB")
    show.figure(drawn(), alt="from -8.5 dB, Dual-SimCLR")
    assert shown[0].data == "from −8.5 to −10 dB" and shown[1].alt == "from −8.5 dB, Dual-SimCLR"
