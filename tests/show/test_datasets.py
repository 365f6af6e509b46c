"""Figures of chapter 02 say what they show, and its explorer leaks exactly where patches overlap."""

import re

import numpy as np
import pandas as pd
import pytest

from eo_ssl.course.lessons.datasets import shared_ground
from eo_ssl.errors import ConfigError
from eo_ssl.evaluate.intervals import Interval
from eo_ssl.show import dataset_labels, datasets, explore as widgets_datasets


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


def numbers(page, role="status"):
    return [int(x) for x in re.findall(r"\d+", page.locator(f"[role={role}]").inner_text())]


@pytest.mark.browser
def test_single_patches_leak_and_whole_scenes_do_not(opened):
    source = Source()
    page = opened(widgets_datasets.leakage_explorer(source, range(36), source.features))
    leaky, count, mean, right = numbers(page)
    assert leaky == count == 9 and mean > 50 and right == 100
    page.get_by_role("radio", name="whole scenes").check()
    assert numbers(page) == [0, 9, 0, 0]  # nothing is shared, and nothing can be right
    page.get_by_role("radio", name="a side of each scene").check()
    leaky, count, mean, _ = numbers(page)
    assert leaky > 0 and 0 < mean < 100 and count == 8


@pytest.mark.browser
def test_the_share_of_ground_is_that_of_the_package(opened):
    source = Source()
    page = opened(widgets_datasets.leakage_explorer(source, range(36), source.features))
    page.get_by_role("slider").fill("0.5")
    page.get_by_role("radio", name="a side of each scene").check()
    # Five of nine patches of a scene: a whole edge, and two of the row behind it, whichever come first.
    frame, shares = source.catalog[source.catalog["k"] == 0], []
    for pair in ([3, 4], [3, 5], [4, 5]):
        shares.append(100 * shared_ground(frame, np.isin(np.arange(9), [0, 1, 2, *pair]), 16).mean())
    assert min(shares) - 1 <= numbers(page)[2] <= max(shares) + 1


@pytest.mark.browser
def test_the_explorer_is_moved_with_the_arrow_keys(opened):
    source = Source()
    page = opened(widgets_datasets.leakage_explorer(source, range(36), source.features))
    seen = {page.locator("[role=note]").inner_text()}
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "ArrowRight", "ArrowRight"):
        page.locator("canvas").first.press(key)
        seen.add(page.locator("[role=note]").inner_text())
    assert len(seen) > 1


def test_one_scene_and_too_many_patches_are_refused():
    source = Source()
    with pytest.raises(ConfigError, match="1 scenes"):
        widgets_datasets.leakage_explorer(source, range(9), source.features[:9])
    with pytest.raises(ConfigError, match="720 patches"):
        widgets_datasets.leakage_explorer(source, list(range(36)) * 20, np.tile(source.features, (20, 1)))


def test_positions_are_in_patches_with_y_to_the_south():
    places, sides = widgets_datasets.positions(Source().catalog.iloc[:9], 16)
    assert places[1][1:] == (0.5, 0.0) and places[3][1:] == (0.0, 0.5) and sides == [2.0]


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
    assert datasets.split_sentence(one, one, one, "regions", False).startswith("*Smoke run, no evidence")


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
