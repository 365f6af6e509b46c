"""Fusion models: what each reads, and what happens when a sensor is missing; the projection head."""

import pytest
import torch

from eo_ssl.errors import ConfigError
from eo_ssl.models.fusion import FUSIONS, FeatureHead, make_classifier, stack
from eo_ssl.models.heads import ProjectionHead


def batch(size=32, n=3):
    generator = torch.Generator().manual_seed(0)
    return {k: torch.randn(n, c, size, size, generator=generator) for k, c in (("s1", 2), ("s2", 13))}


@pytest.mark.parametrize("backbone", ["resnet_nano", "swin_nano"])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_logits_have_a_class_axis_and_reach_every_parameter(fusion, backbone):
    model = make_classifier(fusion, backbone, 32)
    logits = model(batch())
    assert logits.shape == (3, 8)
    logits.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_model_depends_on_its_own_sensors_only(fusion):
    model, x = make_classifier(fusion, "resnet_nano", 32).eval(), batch()
    for sensor in ("s1", "s2"):
        changed = model({**x, sensor: x[sensor] + 1})
        assert changed.equal(model(x)) == (sensor not in FUSIONS[fusion])


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


@pytest.mark.parametrize("sensor", ["s1", "s2"])
def test_a_model_of_one_sensor_refuses_a_batch_without_it(sensor):
    x = batch()
    x.pop(sensor)
    with pytest.raises(ConfigError, match=f"the model reads {sensor}"):
        make_classifier(sensor, "resnet_nano", 32)(x)


def test_stacked_bands_keep_their_order_and_an_unknown_fusion_is_named():
    x = batch()
    assert stack(x, ("s1", "s2")).equal(torch.cat([x["s1"], x["s2"]], dim=1))
    with pytest.raises(ConfigError, match="unknown fusion 'middle'"):
        make_classifier("middle", "resnet_nano", 32)


def test_band_statistics_are_means_and_deviations_of_both_sensors():
    x = {"s1": torch.randn(3, 2, 9, 9), "s2": torch.randn(3, 13, 9, 9)}
    image = torch.cat([x["s1"], x["s2"]], dim=1)
    expected = torch.cat([image.mean((2, 3)), image.std((2, 3))], dim=1)
    torch.testing.assert_close(make_classifier("bands", "", 9).encode(x), expected)


def test_a_standardised_head_sees_mean_zero_and_deviation_one_and_says_what_a_plain_one_can():
    head, x = FeatureHead(5, 3), torch.randn(40, 5) * torch.tensor([1e3, 1.0, 0.1, 2.0, 5.0]) + 7
    torch.testing.assert_close(head(x), torch.nn.functional.linear(x, head.weight, head.bias))
    head.standardise(x)
    plain = torch.nn.functional.linear(
        (x - x.mean(0)) / x.std(0).clamp(min=1e-2 * x.std(0).mean()), head.weight, head.bias
    )
    torch.testing.assert_close(head(x), plain)


def test_projection_is_linear_relu_linear_with_128_outputs():
    head = ProjectionHead(24)
    assert [type(layer).__name__ for layer in head.layers] == ["Linear", "ReLU", "Linear"]
    assert head(torch.randn(3, 24)).shape == (3, 128)
    assert head.layers[0].out_features == 24
    assert ProjectionHead(24, hidden=8, out=4)(torch.randn(3, 24)).shape == (3, 4)
