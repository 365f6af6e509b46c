"""Figures of chapter 02 say what they show."""

import numpy as np
import pandas as pd

from eo_ssl.evaluate.intervals import Interval
from eo_ssl.show import dataset_labels, datasets


class Source:
    """Four scenes of 3 × 3 patches that overlap by half; each scene has a look of its own."""

    patch_size = 16

    def __init__(self):
        places = [(s, x * 80.0, -y * 80.0) for s in range(4) for y in range(3) for x in range(3)]
        self.catalog = pd.DataFrame(places, columns=["k", "x", "y"])
        self.catalog = self.catalog.assign(
            scene=self.catalog["k"].map("s{}".format),
            epsg=32632,
            resolution=10.0,
            x=self.catalog["x"] + self.catalog["k"] * 1e5,
        )
        self.features = np.random.default_rng(0).normal(size=(36, 5)) + 9 * self.catalog[["k"]].to_numpy()

    def majority(self, rows):
        return self.catalog["k"].to_numpy()[
            np.asarray(rows)
        ]  # the class is the scene: another scene is always wrong

    def read(self, row):
        rng = np.random.default_rng(row)
        return {"s2": rng.random((13, 16, 16)).astype(np.float32)}


def test_a_mosaic_puts_patches_where_they_lie():
    images = [np.full((1, 4, 4), v, np.float32) for v in (1, 2)]
    canvas, filled = datasets.mosaic(images, [(0, 0, 0), (0, 1, 1)], 2)
    assert canvas[0, 0, 0] == 1 and canvas[0, 7, 7] == 2 and not filled[0, 7] and filled.mean() == 0.5


def test_the_sentence_says_what_the_interval_says():
    one = Interval(0.7, 0.6, 0.8)
    assert "flatters by 10 points" in datasets.split_sentence(
        Interval(0.1, 0.05, 0.2), one, one, "regions", True
    )
    assert "cannot tell" in datasets.split_sentence(Interval(0.1, -0.05, 0.2), one, one, "regions", True)
    assert "does not flatter" in datasets.split_sentence(
        Interval(-0.1, -0.2, -0.05), one, one, "regions", True
    )
    assert datasets.split_sentence(one, one, one, "regions", False).startswith("*Smoke run, not evidence")


def test_figures_bring_alt_text_with_their_numbers():
    counts = np.diag([8, 2, 0, 1, 1, 1, 1, 1])
    counts[1, 0] = 2
    assert "Shrubland 50%" in dataset_labels.label_confusion(counts).eo_alt
    assert "Forest 2" in dataset_labels.class_shares({"train": np.array([0, 0, 3, 255])}).eo_alt
    block = {"a": {"random": Interval(0.8, 0.7, 0.9), "apart": Interval(0.5, 0.4, 0.6)}}
    assert "a, apart: 0.50 (0.40 to 0.60)" in datasets.scores(block, "average accuracy", 0.125).eo_alt
    assert "2.8%" in dataset_labels.label_lists([0.01, 1.0], {"copies": [0.028, 1.0]}).eo_alt
    frame = Source().catalog
    assert (
        "4 scenes"
        in datasets.split_maps(frame, {"a": np.ones(36, bool)}, ["s0", "s1", "s2", "s3"], 16).eo_alt
    )
    bands = np.ones(12)
    alt = datasets.normalised_spectra(
        {"dark": bands, "bright": 3 * bands}, {"dark": bands, "bright": bands}, ["B"] * 12
    ).eo_alt
    assert "3.0 times" in alt and "1.0 times" in alt
    fine = np.zeros((4, 4), np.uint8)
    assert "agree on 100%" in dataset_labels.two_labels([(np.ones((13, 4, 4)), fine, fine)] * 2).eo_alt
