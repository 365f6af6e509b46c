"""The pair of encoders: missing sensors, joined pyramids."""

import pytest
import torch

from eo_ssl.errors import ConfigError
from eo_ssl.models.dual import DualEncoder
from eo_ssl.models.encoders import make_encoder


def pair(name="resnet_nano", size=32):
    return DualEncoder(make_encoder(name, 2, size), make_encoder(name, 13, size)).eval()


def batch(size=32, n=3):
    generator = torch.Generator().manual_seed(0)
    return {k: torch.randn(n, c, size, size, generator=generator) for k, c in (("s1", 2), ("s2", 13))}


def test_features_stand_side_by_side():
    model, x = pair(), batch()
    features = model.features(x)
    assert features["s1"].equal(model.s1(x["s1"])) and features["s2"].equal(model.s2(x["s2"]))
    assert model(x).equal(torch.cat([features["s1"], features["s2"]], dim=1))
    assert model(x).shape == (3, model.dim)


@pytest.mark.parametrize("name", ["resnet_nano", "swin_nano"])
@pytest.mark.parametrize("missing", ["s1", "s2"])
@pytest.mark.parametrize("size", [32, 50])
def test_a_missing_sensor_is_zeros_of_the_right_shape(name, missing, size):
    model, x = pair(name), batch(size)
    for gone in ({k: v for k, v in x.items() if k != missing}, {**x, missing: None}):
        other = "s2" if missing == "s1" else "s1"
        features, full = model.features(gone), model.features(x)
        assert not features[missing].any() and features[missing].shape == full[missing].shape
        assert features[other].equal(full[other])
        maps, all_maps = model.pyramids(gone), model.pyramids(x)
        assert [m.shape for m in maps[missing]] == [m.shape for m in all_maps[missing]]
        assert not any(m.any() for m in maps[missing])


def test_one_encoder_alone_is_enough_but_some_do_not_fit():
    model = DualEncoder(None, make_encoder("resnet_nano", 13, 32))
    assert model.dim == 64 and model.features(batch()).keys() == {"s2"}
    assert model(batch()).shape == (3, 64)
    with pytest.raises(ConfigError, match="at least one"):
        DualEncoder(None, None)
    with pytest.raises(ConfigError, match="neither"):
        model({})
    with pytest.raises(ConfigError, match="strides"):
        DualEncoder(make_encoder("resnet_nano", 2, 32), make_encoder("swin_nano", 13, 32))
