"""The pair of encoders: features side by side, also of one sensor alone."""

import pytest
import torch

from eo_ssl.errors import ConfigError
from eo_ssl.models.dual import DualEncoder
from eo_ssl.models.encoders import make_encoder


def batch(size=32, n=3):
    generator = torch.Generator().manual_seed(0)
    return {k: torch.randn(n, c, size, size, generator=generator) for k, c in (("s1", 2), ("s2", 13))}


def test_features_stand_side_by_side_and_those_of_a_missing_sensor_are_left_out():
    model = DualEncoder(*(make_encoder("resnet_nano", bands, 32) for bands in (2, 13))).eval()
    x = batch()
    features = model.features(x)
    assert features["s1"].equal(model.s1(x["s1"])) and features["s2"].equal(model.s2(x["s2"]))
    assert model(x).equal(torch.cat([features["s1"], features["s2"]], dim=1))
    assert model(x).shape == (3, model.dim)
    for sensor in ("s1", "s2"):
        assert model({sensor: x[sensor]}).equal(features[sensor])
    with pytest.raises(ConfigError, match="the model reads s1 and s2, which the batch does not hold"):
        model({})


def test_one_encoder_alone_is_enough():
    model = DualEncoder(None, make_encoder("resnet_nano", 13, 32))
    assert model.dim == 64 and model.features(batch()).keys() == {"s2"}
    assert model(batch()).shape == (3, 64)
