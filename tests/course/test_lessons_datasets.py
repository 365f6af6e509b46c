"""Computations of chapter 02: what leaks, what is drawn, what is damaged, against slow or closed forms."""

import numpy as np
import pandas as pd
import pytest
import rasterio
from rasterio.transform import from_origin

from chapters import ch02 as lesson
from eo_ssl.data.check import check
from eo_ssl.errors import DataError


def frame_of(places, epsg=32632):
    return pd.DataFrame(places, columns=["x", "y"]).assign(epsg=epsg, resolution=10.0)


def test_shared_ground_is_the_share_of_the_square_that_training_squares_cover():
    frame = frame_of([(0, 0), (640, 0), (640, -640), (5000, 0), (1280, 0)])
    in_test = np.array([True, False, False, True, False])
    shares = lesson.shared_ground(frame, in_test, size=128, cells=64)
    assert shares == pytest.approx([0.5, 0.0], abs=0.02)  # the corner patch covers nothing more


def test_squares_that_overlap_each_other_are_not_counted_twice():
    frame = frame_of([(0, 0), (640, 0), (640, 0)])
    assert lesson.shared_ground(frame, np.array([True, False, False]), 128)[0] == pytest.approx(0.5)


def test_the_same_coordinates_in_another_zone_share_nothing():
    frame = frame_of([(0, 0), (0, 0)])
    frame["epsg"] = [32632, 32633]
    assert lesson.shared_ground(frame, np.array([True, False]), 128).tolist() == [0.0]


def test_the_formula_for_unique_patches_agrees_with_drawing_them():
    counts = [76, 37, 101, 180, 156, 62, 23, 351]
    labels = np.repeat(np.arange(8), counts)
    for fraction in (0.01, 0.1, 0.5):
        drawn = [
            len(set(lesson.draw_from_balanced_list(labels, fraction, seed).tolist())) for seed in range(20)
        ]
        assert np.mean(drawn) == pytest.approx(lesson.unique_in_balanced_list(counts, fraction), rel=0.02)


def test_nothing_is_drawn_that_has_no_class():
    labels = np.array([0, 0, 1, 255, 255])
    drawn = lesson.draw_from_balanced_list(labels, 1.0)
    assert set(drawn.tolist()) == {0, 1, 2} and len(drawn) == 4  # class 1 stands twice in the list


def test_the_own_maximum_of_every_channel_is_one():
    rng = np.random.default_rng(0)
    s1, s2 = lesson.per_image_maximum(rng.uniform(-40, 5, (2, 8, 8)), rng.uniform(0, 2, (13, 8, 8)))
    assert s1.max((1, 2)) == pytest.approx(1) and s2.max((1, 2)) == pytest.approx(1) and s1.min() == 0


class Patches:
    """A source with given patches."""

    def __init__(self, s1, s2, valid):
        self.patch = {"s1": s1, "s2": s2, "valid": valid}

    def read(self, row):
        return self.patch


def test_invalid_pixels_do_not_enter_the_band_features():
    s1, s2 = np.ones((2, 4, 4), np.float32), np.ones((13, 4, 4), np.float32)
    s1[:, 0, 0] = np.nan
    valid = np.ones((4, 4), bool)
    valid[0, 0] = False
    features = lesson.band_features(Patches(s1, s2, valid), [0])
    assert features[0].tolist() == [1.0] * 15 + [0.0] * 15


def test_a_compact_sample_takes_whole_scenes_and_in_large_ones_the_middle():
    x = np.arange(9) * 640.0
    catalog = pd.DataFrame({"scene": ["a"] * 9 + ["b"] * 9, "x": [*x, *x], "y": 0.0})
    assert lesson.compact_sample(catalog, range(18), scenes=2, per_scene=9) == list(range(18))
    middle = lesson.compact_sample(catalog, range(9), scenes=1, per_scene=3)
    assert middle == [3, 4, 5]


def test_confusion_counts_add_up_to_a_confusion_matrix_of_labelled_patches():
    truth, guess = np.array([0, 0, 3, 255]), np.array([0, 1, 3, 2])
    total = lesson.confusion_counts(truth, guess).sum(0)
    assert total.sum() == 3 and total[0, 0] == total[0, 1] == total[3, 3] == 1


@pytest.fixture
def root(tmp_path):
    """Five labelled patches in layout A."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "root"
    for sensor, data in (("s1", rng.uniform(-20, -5, (2, 16, 16)).astype("float32")),
                         ("s2", rng.integers(200, 3000, (13, 16, 16)).astype("uint16")),
                         ("dfc", rng.integers(1, 8, (1, 16, 16)).astype("uint8"))):  # fmt: skip
        for n in range(5):
            path = folder / f"ROIs0000_test/{sensor}_0/ROIs0000_test_{sensor}_0_p{n}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            place = from_origin(5e5 + n * 160, 5e6, 10, 10)
            with rasterio.open(path, "w", driver="GTiff", width=16, height=16, count=len(data), dtype=data.dtype,
                               crs="EPSG:32632", transform=place) as image:  # fmt: skip
                image.write(data)
    return folder


def test_the_check_finds_every_damage_and_nothing_else(root, tmp_path):
    from eo_ssl.data.catalog import find

    patches = find(root)
    done = lesson.damaged_copy(root, patches, tmp_path / "copy")
    found = {p.id: p.kind for p in check(tmp_path / "copy", workers=1).problems if p.id.startswith("ROIs")}
    assert found.keys() == done.keys() and len(done) == 4
    assert set(found.values()) == {"NaN", "missing partner", "range", "unreadable"}
    assert not [
        p for p in check(root, workers=1).problems if p.id.startswith("ROIs")
    ]  # the originals are whole


def test_three_patches_are_too_few_to_damage_four(root, tmp_path):
    from eo_ssl.data.catalog import find

    with pytest.raises(DataError, match="at least 4"):
        lesson.damaged_copy(root, find(root).iloc[:3], tmp_path / "copy")
