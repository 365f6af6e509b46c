"""The explorer of chapter 02 leaks exactly where patches overlap."""

import re

import numpy as np
import pandas as pd
import pytest

from chapters.ch02 import shared_ground
from eo_ssl.errors import ConfigError
from eo_ssl.show import widgets_datasets


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
    canvas, filled = widgets_datasets.mosaic(images, [(0, 0, 0), (0, 1, 1)], 2)
    assert canvas[0, 0, 0] == 1 and canvas[0, 7, 7] == 2 and not filled[0, 7] and filled.mean() == 0.5
