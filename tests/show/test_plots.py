"""Plots say in words what they show, with numbers from the data."""

from datetime import date

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from eo_ssl import show
from eo_ssl.data.samples import Pair
from eo_ssl.evaluate.intervals import Interval
from eo_ssl.sensors import S2_BANDS_L2A

matplotlib.use("Agg")
COLUMNS = ["epoch", "train_loss", "val_loss", "val_top1", "val_top5", "val_chance_top5", "val_spread"]
HISTORY = pd.DataFrame([[1, 4, 3, 0.1, 0.5, 0.1, 0.5], [2, 3, 2, 0.2, 0.6, 0.1, 0.6]], columns=COLUMNS)


def pair(seed: int = 0, bands=S2_BANDS_L2A) -> Pair:
    random = np.random.default_rng(seed)
    s1 = random.normal(-12, 3, (2, 32, 32)).astype(np.float32)
    s2 = random.uniform(0, 0.5, (len(bands), 32, 32)).astype(np.float32)
    return Pair("p", s1, s2, bands, ("Pastures",), None, date(2017, 6, 13), None, "Austria", "test")


NAN = np.nan
PICTURES = [
    (show.pairs, ([pair(), pair(1)],), {}, ["Austria 13 June 2017", "Pastures"]),
    (show.grid, ([np.eye(4)] * 3, ["a", "b", "c"]), {"columns": 2}, ["3 pictures of a; b; c"]),
    (show.grid, ([[np.eye(4), None]] * 2, ["a", "b"]), {"rows": ["S1", "S2"], "frames": {(0, 0): "red"}, "colourbar": "x"},
     ["2 pictures in rows: S1, S2. a; b"]),
    (show.forest, ({"kNN": {"A": Interval(0.5, 0.4, 0.6), "B": NAN}}, "AA, %"), {"guides": {"guessing": 0.125}},
     ["kNN: A 50% (40 to 60), B not run", "guessing 12.5"]),
    (show.forest, ({"SimCLR": (-0.02, -0.04, 0.001)}, "points", "points"), {}, ["SimCLR: −2.0 (−4.0 to +0.1)"]),
    (show.matrix, (np.array([[0.5, -np.inf]]), ["a"], ["b", "c"], "{:.1f}"), {"title": "M", "colourbar": "cosine"},
     ["Matrix of cosine: M from 0.50 to 0.50"]),
    (show.matrix, ({"one": np.eye(2), "two": -np.eye(2)},), {"outlined": np.eye(2, dtype=bool)},
     ["one from 0.00 to 1.00", "two from -1.00 to 0.00"]),
    (show.bars, ({"A": [1, NAN]}, ["x", "y"], "recall", "%.0f"), {"looks": {"A": {"yerr": [1, 1]}}}, ["A: x 1, y none"]),
    (show.stacked, ({"r": {"a": 0.25, "b": 0.75}}, {"a": "red", "b": "blue"}), {"inside": True}, ["r: a 25%, b 75%"]),
    (show.histograms, ({"VV": np.full(9, -10.0)}, "dB"), {}, ["VV: mean -10, sd 0"]),
    (show.lines, ([1, 2], {"a": [0.5, 0.25]}, "x", "y"), {}, ["a: 0.5 at 1, 0.25 at 2"]),
    (show.lines, ([1, 10, 100], {"a": [0.5, NAN, 0.6]}, "x", "y"),
     {"bands": {"a": ([0.4] * 3, [0.7] * 3)}, "styles": {"a": {"ls": ":", "ms": 2}}, "log": "x", "percent": True},
     ["a: 50% (40% to 70%) at 1, 60% (40% to 70%) at 100"]),
    (show.training, (HISTORY, 4.0), {}, ["held-out: 3 at 1, 2 at 2", "guessing: 4 at 1", "spread: 0.5 at 1"]),
]  # fmt: skip


@pytest.mark.parametrize("draw, given, options, expected", PICTURES)
def test_each_plot_brings_alt_text_from_its_data(draw, given, options, expected):
    fig = draw(*given, **options)
    assert all(words in fig.eo_alt for words in expected), fig.eo_alt
    fig.canvas.draw()  # lays out without error


def test_panels_of_one_figure_each_add_their_sentence():
    fig, (left, right) = plt.subplots(1, 2)
    show.lines([1, 2], {"a": [1, 2]}, "x", "y", title="first", ax=left)
    show.forest({"b": 0.03}, "z, %", title="second", ax=right)
    assert fig.eo_alt == "first: y over x. a: 1 at 1, 2 at 2. second: z, %, dots with 95% intervals. b: 3%."
