"""Chapter 13: patches become a place again, seams are measured, maps are questioned, and the window is checked."""

import numpy as np
import pandas as pd
import pytest
import torch

from chapters import ch13
from eo_ssl.course.checks import ExerciseFailed
from eo_ssl.data.scene import Scene
from eo_ssl.errors import DataError
from eo_ssl.mapping import blend_window


def side(shift=0.5):
    return lambda n: np.sin(np.pi * (np.arange(n) + shift) / n) ** 2


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (lambda n: np.outer(side(0)(n), side(0)(n)), "half pixel"),
        (lambda n: np.outer(np.hanning(n), np.hanning(n)), "hanning"),
        (lambda n: np.add.outer(side()(n), side()(n)), "multiplied"),
        (side(), "shape"),
    ],
)
def test_the_window_is_checked_and_usual_mistakes_are_named(window, message):
    ch13.check_blend_window(blend_window)
    with pytest.raises(ExerciseFailed, match=message):
        ch13.check_blend_window(window)


class Patches:
    """A source with four patches that touch, cut from one image, and one far away."""

    patch_size = 4

    def __init__(self):
        rng = np.random.default_rng(0)
        self.s2, self.s1 = rng.integers(1, 9000, (13, 8, 8)) / 1e4, -rng.random((2, 8, 8)) - 1
        self.corners = [(0, 0), (0, 4), (4, 0), (4, 4), (0, 0)]
        place = pd.DataFrame(self.corners, columns=["y", "x"]) * 10.0
        place.loc[4, "x"] = 9000.0
        self.catalog = pd.DataFrame({"x": 500_000 + place["x"], "y": 4_000_000 - place["y"], "scene": "a"})
        self.catalog = self.catalog.assign(resolution=10.0, epsg=32618).set_index(pd.Index([7, 3, 9, 1, 5]))

    def rows(self, split):
        return np.arange(5)

    def read(self, row):
        y, x = self.corners[row]
        return {"s1": self.s1[:, y : y + 4, x : x + 4], "s2": self.s2[:, y : y + 4, x : x + 4]}

    def mask(self, row, top, left, size):
        return np.full((size, size), row)


@pytest.mark.parametrize("placed", [True, False])
def test_patches_become_the_image_they_were_cut_from_and_those_that_lie_nowhere_a_square(tmp_path, placed):
    source = Patches()
    if not placed:
        source.catalog = source.catalog.assign(x=np.nan, y=np.nan, resolution=np.nan, epsg=0)
    s2, s1, truth = ch13.mosaic(source, tmp_path)
    with Scene(s2, s1) as scene:
        found, bounds = scene.read(0, 0, 8, 8), scene.grid.bounds
    assert not placed or bounds[:2] == (500_000, 4_000_000 - 80)
    np.testing.assert_allclose(found["s2"], source.s2, atol=1e-6)
    np.testing.assert_allclose(found["s1"], source.s1, rtol=1e-6)
    np.testing.assert_array_equal(truth, np.kron([[0, 1], [2, 3]], np.ones((4, 4))))


def test_without_the_real_scene_the_simulated_place_is_mapped_and_the_page_says_so(tmp_path, monkeypatch):
    def absent(_):
        raise DataError("no network")

    monkeypatch.setattr(ch13, "fetch", absent)
    path, note = ch13.real_scene(None, tmp_path / "place.tif", tmp_path)
    assert path == tmp_path / "place.tif" and "no network" in note and "a place of this run" in note


def test_a_seam_is_a_step_from_tile_to_tile():
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(24.0), indexing="ij")
    valid = torch.ones(16, 24, dtype=torch.bool)
    slope = torch.stack([y + x, -y - x])
    assert ch13.seam(slope, valid, 8) == pytest.approx(1)
    stairs = slope + 4 * (x // 8) + 4 * (y // 8) * torch.tensor([1.0, -1.0])[:, None, None]
    stairs[1] -= 8 * (x // 8)
    assert ch13.seam(stairs, valid, 8) == pytest.approx(5)


@pytest.mark.parametrize("size", [120, 128, 64])
def test_tiles_side_by_side_leave_no_pixel_out_and_start_at_the_corner(size):
    images = {"valid": torch.ones(size, size), "x": torch.arange(size * size).view(1, size, size).float()}
    found = ch13.side_by_side(lambda batch: batch["x"].expand(1, 8, 64, 64) + 1, images, 64)
    assert torch.equal(found[3], images["x"][0] + 1)
    corners = ch13.side_by_side(lambda batch: batch["x"][..., :1, :1].expand(1, 8, 64, 64), images, 64)
    assert corners[0, 0, 0] == corners[0, 63, 63] == 0


def test_a_map_is_set_against_two_indices_and_its_own_confidence():
    s2, codes = np.zeros((13, 1, 4)), np.array([[7, 0, 7, 5]])
    s2[2], s2[3], s2[7] = 0.1, 0.05, [[0.05, 0.05, 0.4, 0.4]]  # green, red; water, water, canopy, canopy
    found = ch13.against_indices(s2, codes)
    assert found.tolist() == [0.5, 0.5, 0.5, 0.5, 1.0]
    probability = np.full((8, 1, 4), 0.05)
    probability[7, 0], probability[0, 0, 1], probability[5, 0, 3] = [0.9, 0, 0.3, 0], 0.8, 0.6
    table = ch13.by_class(codes, probability)
    assert table.loc["Water"].tolist() == pytest.approx([0.5, 0.6, 0.5]) and table.index[0] == "Water"


def test_the_better_model_on_validation_is_taken():
    rows = [("segment", "unet", 1.0, 0.4), ("segment", "swinunet-finetune", 1.0, 0.5)]
    rows += [("segment", "unet", 0.1, 0.9), ("single", "unet", 1.0, 0.9), ("segment", "ensemble", 1.0, 0.9)]
    table = pd.DataFrame(rows, columns=["task", "method", "fraction", "val_score"])
    assert ch13.best_model(table) == "swinunet-finetune"
