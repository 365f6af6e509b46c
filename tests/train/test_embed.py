"""Real pairs become the batch the encoders know."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from eo_ssl.data.samples import Pair
from eo_ssl.data.statistics import Statistics
from eo_ssl.errors import DataError
from eo_ssl.sensors import S2_BANDS, S2_BANDS_L2A
from eo_ssl.train.config import preset
from eo_ssl.train.embed import embed_batch, pair_batch
from eo_ssl.train.methods import make_method

STATISTICS = Statistics((-12.0, -18.0), (4.0, 4.0), tuple(0.1 + 0.01 * i for i in range(13)), (0.05,) * 13)


def pair(size=20, bands=S2_BANDS_L2A, seed=0, level="L1C"):
    rng = np.random.default_rng(seed)
    s1 = rng.normal(-12, 3, (2, size, size)).astype(np.float32)
    s2 = rng.uniform(0, 0.5, (len(bands), size, size)).astype(np.float32)
    return Pair("a pair", s1, s2, bands, (), None, None, None, "Finland", "test", level=level)


def test_bands_are_standardised_centre_crops_and_one_that_level_2a_lacks_is_the_training_mean():
    batch = pair_batch([pair()], 16, STATISTICS)
    assert batch["s2"].shape == (1, 13, 16, 16) and torch.isfinite(batch["s2"]).all()
    assert batch["s2"][0, S2_BANDS.index("B10")].abs().max() < 1e-5
    one = pair()
    batch = pair_batch([one], 16, STATISTICS)
    for name in ("B02", "B12"):
        i = S2_BANDS.index(name)
        wanted = (one.band(name)[2:18, 2:18] - STATISTICS.s2_mean[i]) / STATISTICS.s2_std[i]
        np.testing.assert_allclose(batch["s2"][0, i].numpy(), wanted, atol=1e-4)
    np.testing.assert_allclose(batch["s1"][0, 0].numpy(), (one.band("VV")[2:18, 2:18] + 12) / 4, atol=1e-4)


def test_surface_reflectance_is_taken_to_the_sensor_for_encoders_that_know_l1c():
    """ρ · through + path of clear air, and B10, which no ground can tell, at the mean."""
    one = pair(level="L2A")
    batch = pair_batch([one, pair(bands=S2_BANDS)], 16, STATISTICS)  # levels side by side
    for name, through, path in (("B01", 0.8, 0.105), ("B08", 0.93, 0.011), ("B09", 0.28, 0.004)):
        i = S2_BANDS.index(name)
        top = one.band(name)[2:18, 2:18] * through + path
        wanted = (top - STATISTICS.s2_mean[i]) / STATISTICS.s2_std[i]
        np.testing.assert_allclose(batch["s2"][0, i].numpy(), wanted, atol=1e-4)
    assert not batch["s2"][0, S2_BANDS.index("B10")].any() and batch["s2"][1].ne(0).all()
    same = pair_batch([one], 16, replace(STATISTICS, level="L2A"))["s2"]
    assert same.equal(pair_batch([pair()], 16, STATISTICS)["s2"])


def test_a_pair_smaller_than_the_crop_is_continued_by_its_mirror_image_and_below_half_of_it_named():
    """Real patches have 120 pixels, the crops of large profiles 128 and 224."""
    small, whole = (pair_batch([pair()], size, STATISTICS) for size in (20, 33))
    assert torch.equal(whole["s1"][..., 6:26, 6:26], small["s1"])
    assert torch.equal(whole["s2"][..., 6:26, 5], whole["s2"][..., 6:26, 7])
    assert whole["s2"].shape[-2:] == (33, 33)
    with pytest.raises(DataError, match="a pair: 20 × 20 px is smaller than half the crop of 48"):
        pair_batch([pair()], 48, STATISTICS)


def test_a_pixel_without_a_value_is_the_training_mean_and_changes_no_other():
    whole, holed = pair(), pair()
    holed.s1[0, 10, 10] = np.nan
    a, b = (pair_batch([p], 16, STATISTICS) for p in (whole, holed))
    assert b["s1"][0, 0, 8, 8] == 0 and a["s1"][0, 0, 8, 8] != 0
    assert int((a["s1"] != b["s1"]).sum()) == 1 and a["s2"].equal(b["s2"])


def test_no_pairs_are_an_error_that_says_how_to_get_them():
    with pytest.raises(DataError, match="eo-ssl data fetch"):
        pair_batch([], 16, STATISTICS)


def test_features_and_embeddings_are_those_of_the_method():
    method = make_method(preset("dual-simclr", "smoke", image_size=16), STATISTICS)
    method.model.eval()
    batch = pair_batch([pair(seed=k) for k in range(3)], 16, STATISTICS)
    found = embed_batch(method, batch)
    assert found.h1.shape[0] == 3 and torch.equal(found.z1, method.model(batch)[0].detach())
    assert embed_batch(make_method(preset("simclr", "smoke"), STATISTICS), batch).z1 is None
