"""Real pairs become the batch the encoders know, and a pretrained folder looks for their partners."""

import numpy as np
import pytest
import torch

from eo_ssl.course import recipes
from eo_ssl.data.pair import Pair
from eo_ssl.data.statistics import Statistics
from eo_ssl.errors import ConfigError, DataError
from eo_ssl.sensors import S2_BANDS, S2_BANDS_L2A
from eo_ssl.train.checkpoint import base_meta, load_method, save_pretrained
from eo_ssl.train.embed import embed_batch, pair_batch, sample_retrieval
from eo_ssl.train.methods import make_method
from eo_ssl.train.config import preset
from eo_ssl.train.step import seeded

STATISTICS = Statistics((-12.0, -18.0), (4.0, 4.0), tuple(0.1 + 0.01 * i for i in range(13)), (0.05,) * 13)


def pair(size=20, bands=S2_BANDS_L2A, seed=0):
    rng = np.random.default_rng(seed)
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


def test_a_pair_smaller_than_the_crop_is_continued_by_its_mirror_image():
    """Real patches have 120 pixels, the crops of large profiles 128 and 224."""
    small, whole = (pair_batch([pair()], size, STATISTICS) for size in (20, 33))
    assert torch.equal(whole["s1"][..., 6:26, 6:26], small["s1"])
    assert torch.equal(whole["s2"][..., 6:26, 5], whole["s2"][..., 6:26, 7])
    assert whole["s2"].shape[-2:] == (33, 33)


def test_a_pair_smaller_than_half_the_crop_is_named():
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


def test_the_chapters_use_the_same_batch():
    assert recipes.pair_batch is pair_batch


@pytest.fixture
def folder(tmp_path):
    """`folder("dual-simclr")`: an untrained method as `pretrain` would leave it."""

    def make(name):
        crop = {"second_crop": 8} if name == "mma" else {}
        config = preset(name, "smoke", image_size=16, **crop)
        with seeded(0):
            method = make_method(config, STATISTICS)
        return save_pretrained(method, tmp_path / name, base_meta(config, STATISTICS))

    return make


@pytest.mark.parametrize("name", ["dual-simclr", "mma", "swin-pair"])
@pytest.mark.parametrize("adapt", [False, True])
def test_retrieval_of_real_pairs_is_that_of_their_similarities(folder, name, adapt):
    pairs = [pair(seed=k) for k in range(6)]
    found = sample_retrieval(folder(name), pairs, adapt)
    assert 1 <= found["mean_rank"] <= 6 and found["chance_top5"] == pytest.approx(5 / 6)
    if not adapt:
        method, statistics = load_method(folder(name))
        z = embed_batch(method, pair_batch(pairs, 16, statistics))
        own = method.similarity(z.z1, z.z2)
        first = torch.cat([m.argmax(1) == torch.arange(6) for m in (own, own.T)])
        assert found["top1"] == pytest.approx(first.float().mean().item())


def test_a_method_of_one_sensor_has_no_partners_to_find(folder):
    with pytest.raises(ConfigError, match="embeds one sensor"):
        sample_retrieval(folder("simclr"), [pair()])
