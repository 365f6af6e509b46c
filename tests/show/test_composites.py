"""Pictures from bands: in range, by name, the same limits for the same values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from eo_ssl.errors import DataError
from eo_ssl.sensors import CLASSES, S2_BANDS, S2_BANDS_L2A
from eo_ssl.show import composites

reflectance = hnp.arrays(np.float32, (12, 6, 5), elements=st.floats(0, 1.5, width=32))
decibels = hnp.arrays(np.float32, (2, 6, 5), elements=st.floats(-50, 20, width=32))


@given(reflectance, st.sampled_from(sorted(composites.PRESETS)))
def test_composites_lie_between_0_and_1(s2, preset):
    picture = composites.composite(s2, composites.PRESETS[preset], S2_BANDS_L2A)
    assert picture.shape == (6, 5, 3) and picture.min() >= 0 and picture.max() <= 1


@given(reflectance)
def test_true_colour_lies_between_0_and_1_and_orders_red_by_red(s2):
    picture = composites.true_colour(s2, S2_BANDS_L2A)
    assert picture.min() >= 0 and picture.max() <= 1
    order = np.argsort(s2[S2_BANDS_L2A.index("B04")].ravel(), kind="stable")
    assert (np.diff(picture[..., 0].ravel()[order]) >= -1e-6).all()


@given(decibels)
def test_radar_composites_lie_between_0_and_1(s1):
    picture = composites.radar(s1)
    assert picture.shape == (6, 5, 3) and picture.min() >= 0 and picture.max() <= 1


def test_bands_are_taken_by_name_whatever_their_number():
    s2 = np.zeros((13, 2, 2), np.float32)
    s2[S2_BANDS.index("B11")] = 1
    picture = composites.composite(s2, ("B11", "B02", "B03"), S2_BANDS, range=[(0, 1)] * 3)
    assert picture[..., 0].min() == 1 and picture[..., 1:].max() == 0
    with pytest.raises(DataError, match="band B10 not found"):
        composites.composite(s2[:12], ("B10", "B02", "B03"), S2_BANDS_L2A)


def test_invalid_pixels_do_not_spoil_the_stretch():
    values = np.array([[0.0, 1.0], [np.nan, np.inf]])
    assert composites.limits(values, 0, 100) == (0.0, 1.0)
    assert np.isfinite(composites.stretch(np.array([np.nan, 0.5]), 0, 1)).all()
    assert composites.limits(np.full((2, 2), np.nan)) == (0.0, 1.0)


@pytest.mark.parametrize("low, high", [(5, 5), (-1, 50), (50, 101), (90, 10)])
def test_impossible_percentiles_are_refused(low, high):
    with pytest.raises(DataError, match="percentiles"):
        composites.limits(np.arange(4.0), low, high)


def test_each_class_is_drawn_in_its_own_colour_and_the_rest_white():
    codes = np.array([[c.code for c in CLASSES], [255] * 8], dtype=np.uint8)
    picture = composites.label_map(codes)
    assert len({tuple(colour) for colour in picture[0]}) == 8
    np.testing.assert_array_equal(picture[1], np.ones((8, 3)))


def test_the_legend_names_only_what_occurs_with_its_share():
    import matplotlib.pyplot as plt

    fig, ax = plt.subplots()
    composites.legend(ax, np.array([[0, 0, 0, 7]]))
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["Forest 75%", "Water 25%"]
    plt.close(fig)
