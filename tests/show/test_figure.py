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
figures = importlib.import_module("eo_ssl.show.figure")  # the package has a function of this name


def drawn():
    fig, ax = plt.subplots(figsize=(3, 2))
    ax.plot([0, 1])
    return fig


@pytest.fixture
def shown(monkeypatch):
    found = []
    monkeypatch.setattr("IPython.display.display", found.append)
    return found


@pytest.mark.parametrize("alt", ["", "   ", "\n"])
def test_a_figure_without_alt_text_is_refused(alt):
    with pytest.raises(ConfigError, match="alt text"):
        show.figure(drawn(), alt=alt)
    assert plt.get_fignums() == []


@given(st.text(min_size=1, max_size=40).filter(str.strip))
def test_any_alt_text_survives_html(alt):
    found = re.search(r'<img alt="([^"]*)"', figures.Picture(b"", alt, 10, caption=alt)._repr_html_())
    assert html.unescape(found.group(1)) == alt


def test_showing_displays_one_image_closes_the_figure_and_keeps_a_copy(shown, monkeypatch, tmp_path):
    monkeypatch.setenv("EO_SSL_FIGURES", str(tmp_path))
    show.figure(drawn(), alt="A line that rises", caption="From 0 to 1")
    page = shown[0]._repr_html_()
    assert page.count("<img ") == 1 and "From 0 to 1" in page and plt.get_fignums() == []
    assert (tmp_path / "a-line-that-rises.png").read_bytes() == shown[0].png


def test_alt_texts_come_from_the_data_unless_given_and_get_a_true_minus(shown):
    show.figure(show.describe(drawn(), "from -8.5 dB, Dual-SimCLR"))
    show.figure(show.describe(drawn(), "from data"), alt="mine")
    show.text("from -8.5 to -10 dB")
    assert [p.alt for p in shown[:2]] == ["from −8.5 dB, Dual-SimCLR", "mine"]
    assert shown[2].data == "from −8.5 to −10 dB"


def test_the_same_figure_gives_the_same_bytes_and_a_noisy_photograph_few():
    assert figures.render(drawn(), "a").png == figures.render(drawn(), "a").png
    noise = np.random.default_rng(0).random((400, 400, 3))
    picture = figures.render(show.grid([noise] * 4, columns=4, cell=1.8), "noise")
    assert len(picture.png) < 700_000 and 600 < picture.width < 800
