"""Fusion models: what each reads, and what happens when a sensor is missing."""

import pytest
import torch
import torch.nn.functional as F

from eo_ssl.errors import ConfigError
from eo_ssl.models.dual import DualEncoder
from eo_ssl.models.fusion import FUSIONS, FeatureHead, make_classifier, stack


def batch():
    generator = torch.Generator().manual_seed(0)
    return {k: torch.randn(3, c, 32, 32, generator=generator) for k, c in (("s1", 2), ("s2", 13))}


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_model_depends_on_its_own_sensors_only_and_on_every_parameter(fusion):
    model, x = make_classifier(fusion, "resnet_nano", 32), batch()
    logits = model(x)
    assert logits.shape == (3, 8)
    logits.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    model.eval()
    for sensor in ("s1", "s2"):
        changed = model({**x, sensor: x[sensor] + 1})
        assert changed.equal(model(x)) == (sensor not in FUSIONS[fusion])


def test_two_encoders_stand_side_by_side_and_one_alone_is_enough():
    model, x = make_classifier("late", "resnet_nano", 32).backbone.eval(), batch()
    features = model.features(x)
    assert features["s1"].equal(model.s1(x["s1"])) and features["s2"].equal(model.s2(x["s2"]))
    assert model(x).equal(torch.cat([features["s1"], features["s2"]], dim=1))
    for sensor in ("s1", "s2"):
        assert model({sensor: x[sensor]}).equal(features[sensor])
    with pytest.raises(ConfigError, match="the model reads s1 and s2, which the batch does not hold"):
        model({})
    alone = DualEncoder(None, model.s2)
    assert alone(x).equal(features["s2"]) and alone.dim == features["s2"].shape[1]


@pytest.mark.parametrize("missing", ["s1", "s2"])
def test_early_fusion_sees_the_training_mean_in_place_of_a_missing_sensor(missing):
    model, x = make_classifier("early", "resnet_nano", 32).eval(), batch()
    gone = {k: v for k, v in x.items() if k != missing}
    assert model(gone).equal(model({**x, missing: torch.zeros_like(x[missing])}))


@pytest.mark.parametrize("missing", ["s1", "s2"])
def test_a_missing_sensor_adds_nothing_to_a_head_that_knows_the_mean_feature(missing):
    model, x = make_classifier("late", "resnet_nano", 32).eval(), batch()
    model.head.standardise(7 + torch.randn(20, model.backbone.dim))
    found = model({k: v for k, v in x.items() if k != missing})
    known = model.encode(x) - model.head.mean
    half = model.backbone.s1.dim
    known[:, slice(half) if missing == "s1" else slice(half, None)] = 0
    torch.testing.assert_close(found, model.head(known + model.head.mean))


def test_stacked_bands_keep_their_order_and_what_cannot_be_read_is_named():
    x = batch()
    assert stack(x, ("s1", "s2")).equal(torch.cat([x["s1"], x["s2"]], dim=1))
    with pytest.raises(ConfigError, match="unknown fusion 'middle'"):
        make_classifier("middle", "resnet_nano", 32)
    with pytest.raises(ConfigError, match="the model reads s1"):
        make_classifier("s1", "resnet_nano", 32)({"s2": x["s2"]})


def test_band_statistics_are_means_and_deviations_of_both_sensors():
    x = batch()
    image = torch.cat([x["s1"], x["s2"]], dim=1)
    expected = torch.cat([image.mean((2, 3)), image.std((2, 3))], dim=1)
    torch.testing.assert_close(make_classifier("bands", "", 32).encode(x), expected)


def test_a_standardised_head_sees_mean_zero_and_deviation_one_and_says_what_a_plain_one_can():
    head, x = FeatureHead(5, 3), torch.randn(40, 5) * torch.tensor([1e3, 1.0, 0.1, 2.0, 5.0]) + 7
    torch.testing.assert_close(head(x), F.linear(x, head.weight, head.bias))
    head.standardise(x)
    same = (x - x.mean(0)) / x.std(0).clamp(min=1e-2 * x.std(0).mean())
    torch.testing.assert_close(head(x), F.linear(same, head.weight, head.bias))
