"""Chapter 02: what leaks, is drawn or damaged, against slow or closed forms."""

import fake_patches as fake
import numpy as np
import pandas as pd
import pytest

from chapters import ch02
from eo_ssl.data.catalog import find
from eo_ssl.data.check import check


def frame_of(places, epsg=32632):
    return pd.DataFrame(places, columns=["x", "y"]).assign(epsg=epsg, resolution=10.0)


def test_shared_ground_is_the_share_of_the_square_that_training_squares_of_its_zone_cover_counted_once():
    frame = frame_of([(0, 0), (640, 0), (640, -640), (5000, 0), (1280, 0)])
    in_test = np.array([True, False, False, True, False])
    shares = ch02.shared_ground(frame, in_test, size=128, cells=64)
    assert shares == pytest.approx([0.5, 0.0], abs=0.02)  # the corner patch covers nothing more
    frame, in_test = frame_of([(0, 0), (640, 0), (640, 0)]), np.array([True, False, False])
    assert ch02.shared_ground(frame, in_test, 128)[0] == pytest.approx(0.5)
    assert ch02.shared_ground(frame.assign(epsg=[32632, 32633, 32633]), in_test, 128).tolist() == [0.0]


def test_the_formula_for_unique_patches_agrees_with_drawing_them():
    counts = [76, 37, 101, 180, 156, 62, 23, 351]
    labels = np.repeat(np.arange(8), counts)
    for fraction in (0.01, 0.1, 0.5):
        drawn = [np.unique(ch02.draw_from_balanced_list(labels, fraction, seed)).size for seed in range(20)]
        formula = sum(n * (1 - (1 - fraction) ** (max(counts) / n)) for n in counts)
        assert np.mean(drawn) == pytest.approx(formula, rel=0.02)
    drawn = ch02.draw_from_balanced_list(np.array([0, 0, 1, 255, 255]), 1.0)  # nothing without a class
    assert set(drawn.tolist()) == {0, 1, 2} and len(drawn) == 4  # class 1 stands twice in the list


def test_a_compact_sample_takes_whole_scenes_and_in_large_ones_the_middle():
    x = np.arange(9) * 640.0
    catalog = pd.DataFrame({"scene": ["a"] * 9 + ["b"] * 9, "x": [*x, *x], "y": 0.0})
    assert ch02.compact_sample(catalog, range(18), scenes=2, per_scene=9) == list(range(18))
    middle = ch02.compact_sample(catalog, range(9), scenes=1, per_scene=3)
    assert middle == [3, 4, 5]


def test_the_check_finds_every_damage_and_nothing_else(tmp_path):
    root = fake.make(tmp_path / "root", fake.layout_a("test", each=3))
    patches = find(root)
    done = ch02.damaged_copy(root, patches, tmp_path / "copy")
    found = {p.id: p.kind for p in check(tmp_path / "copy", workers=1).problems if p.id.startswith("ROIs")}
    assert found.keys() == done.keys() and len(done) == 4
    assert set(found.values()) == {"NaN", "missing partner", "range", "unreadable"}
    originals = check(root, workers=1).problems
    assert not any(p.id.startswith("ROIs") for p in originals)
