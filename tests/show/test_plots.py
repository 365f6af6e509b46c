"""Plots say in words what they show, with numbers from the data."""

from datetime import date

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from eo_ssl import show
from eo_ssl.data.samples import Pair
from eo_ssl.sensors import S2_BANDS, S2_BANDS_L2A

matplotlib.use("Agg")


def pair(seed: int = 0, bands=S2_BANDS_L2A) -> Pair:
    random = np.random.default_rng(seed)
    s1 = random.normal(-12, 3, (2, 32, 32)).astype(np.float32)
    s2 = random.uniform(0, 0.5, (len(bands), 32, 32)).astype(np.float32)
    return Pair("p", s1, s2, bands, ("Pastures",), None, date(2017, 6, 13), None, "Austria", "test")


PICTURES = {
    "pairs": (lambda: show.pairs([pair(), pair(1)]), ["Austria 13 June 2017", "Pastures"]),
    "images": (lambda: show.images([np.eye(4)] * 3, ["a", "b", "c"], columns=2), ["3 pictures", "a, b, c"]),
    "spectra": (
        lambda: show.spectra({"leaf": np.linspace(0.1, 0.4, 13)}, S2_BANDS),
        ["leaf: lowest 0.10 in B01, highest 0.40 in B12"],
    ),
    "histograms": (lambda: show.histograms({"VV": np.full(9, -10.0)}, "dB"), ["VV: mean -10, sd 0"]),
    "density": (
        lambda: show.density({"all": (np.arange(9.0), np.arange(9.0))}, "x", "y"),
        ["y against x", "correlation 1.00"],
    ),
    "lines": (lambda: show.lines([1, 2], {"a": [0.5, 0.25]}, "x", "y"), ["a: 0.5 at 1, 0.25 at 2"]),
    "decibel_views": (lambda: show.decibel_views(pair().band("VV")), ["lowest tenth"]),
    "even_fields": (lambda: show.even_fields([(pair(), slice(0, 8), slice(0, 8))]), ["1 even field"]),
    "speckle_histogram": (
        lambda: show.speckle_histogram(np.random.default_rng(0).gamma(4.4, 1 / 4.4, 999), 4.4),
        ["gamma law for 4.4 looks"],
    ),
    "two_ways": (show.two_ways, ["sunlight", "radar"]),
    "mechanisms": (show.mechanisms, ["Calm water", "double bounce"]),
    "band_chart": (show.band_chart, ["B08 near infrared 833 nm", "B10 cirrus"]),
}


@pytest.mark.parametrize("name", PICTURES)
def test_each_plot_brings_alt_text_from_its_data(name):
    make, expected = PICTURES[name]
    fig = make()
    assert all(words in fig.eo_alt for words in expected), fig.eo_alt
    fig.canvas.draw()  # lays out without error
    plt.close(fig)


def test_power_is_normalised_by_the_mean_of_power_not_of_decibels():
    fields = show.normalised_power([(pair(), slice(0, 16), slice(0, 16))])
    assert fields[0].mean() == pytest.approx(1)
