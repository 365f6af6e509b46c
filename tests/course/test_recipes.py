"""Real pairs become the batch the encoders know: nothing invalid, absent bands at the training mean."""

import numpy as np
import pytest
import torch

from eo_ssl.course.recipes import pair_batch
from eo_ssl.data.pair import Pair
from eo_ssl.data.statistics import Statistics
from eo_ssl.errors import DataError
from eo_ssl.sensors import S2_BANDS, S2_BANDS_L2A

STATISTICS = Statistics((-12.0, -18.0), (4.0, 4.0), tuple(0.1 + 0.01 * i for i in range(13)), (0.05,) * 13)


def pair(size=20, bands=S2_BANDS_L2A):
    rng = np.random.default_rng(0)
    s1 = rng.normal(-12, 3, (2, size, size)).astype(np.float32)
    s2 = rng.uniform(0, 0.5, (len(bands), size, size)).astype(np.float32)
    return Pair("a pair", s1, s2, bands, (), None, None, None, "Finland", "test")


def test_a_band_that_level_2a_lacks_is_the_training_mean():
    batch = pair_batch([pair()], 16, STATISTICS)
    assert batch["s2"].shape == (1, 13, 16, 16) and torch.isfinite(batch["s2"]).all()
    assert batch["s2"][0, S2_BANDS.index("B10")].abs().max() < 1e-5


def test_other_bands_are_standardised_centre_crops():
    one = pair()
    batch = pair_batch([one], 16, STATISTICS)
    for name in ("B02", "B12"):
        i = S2_BANDS.index(name)
        wanted = (one.band(name)[2:18, 2:18] - STATISTICS.s2_mean[i]) / STATISTICS.s2_std[i]
        np.testing.assert_allclose(batch["s2"][0, i].numpy(), wanted, atol=1e-4)
    np.testing.assert_allclose(batch["s1"][0, 0].numpy(), (one.band("VV")[2:18, 2:18] + 12) / 4, atol=1e-4)


def test_a_pair_smaller_than_the_crop_is_named():
    with pytest.raises(DataError, match="a pair: 20 × 20 px is smaller than the crop of 32"):
        pair_batch([pair()], 32, STATISTICS)
