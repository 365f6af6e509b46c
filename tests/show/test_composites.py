"""Pictures from bands: in range, by name, the same limits for the same values."""

import matplotlib.pyplot as plt
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


@given(reflectance, decibels, st.sampled_from(sorted(composites.PRESETS)))
def test_pictures_lie_between_0_and_1_and_red_is_ordered_by_red(s2, s1, preset):
    red = composites.true_colour(s2, S2_BANDS_L2A)
    for picture in (
        composites.composite(s2, composites.PRESETS[preset], S2_BANDS_L2A),
        red,
        composites.radar(s1),
    ):
        assert picture.shape == (6, 5, 3) and picture.min() >= 0 and picture.max() <= 1
    order = np.argsort(s2[S2_BANDS_L2A.index("B04")].ravel(), kind="stable")
    assert (np.diff(red[..., 0].ravel()[order]) >= -1e-6).all()


def test_bands_are_taken_by_name_whatever_their_number():
    s2 = np.zeros((13, 2, 2), np.float32)
    s2[S2_BANDS.index("B11"), 0] = 1
    picture = composites.composite(s2, ("B11", "B02", "B03"), S2_BANDS)
    assert picture[0, :, 0].min() == 1 and picture[..., 1:].max() == 0
    with pytest.raises(DataError, match="band B10 not found"):
        composites.composite(s2[:12], ("B10", "B02", "B03"), S2_BANDS_L2A)


def test_invalid_pixels_do_not_spoil_the_stretch():
    values = np.array([[0.0, 1.0], [np.nan, np.inf]])
    assert composites.limits(values, 0, 100) == (0.0, 1.0)
    assert np.isfinite(composites.stretch(np.array([np.nan, 0.5]), 0, 1)).all()
    assert composites.limits(np.full((2, 2), np.nan), 2, 98) == (0.0, 1.0)


def test_each_class_is_drawn_in_the_colour_of_the_legend_and_the_rest_white():
    picture = composites.label_map(np.array([[c.code for c in CLASSES], [255] * 8], dtype=np.uint8))
    ax = plt.subplots()[1]
    composites.legend(ax)
    shown = [patch.get_facecolor()[:3] for patch in ax.get_legend().get_patches()]
    np.testing.assert_allclose(picture, [shown, np.ones((8, 3))])
