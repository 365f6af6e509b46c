"""Encoders: shapes, sizes, names; frozen means frozen."""

import pytest
import torch

from eo_ssl.errors import ConfigError
from eo_ssl.models.dual import DualEncoder
from eo_ssl.models.encoders import SMALL, make_encoder
from eo_ssl.models.fusion import make_classifier
from eo_ssl.train.methods import SensorPair

TIMM = ("resnet18", "swin_tiny_patch4_window7_224", "convnext_atto")


def image(bands, height, width=None, batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, bands, height, width or height, generator=generator)


@pytest.mark.parametrize("name", [*SMALL, *TIMM])
def test_pooled_feature_and_pyramid_have_the_announced_shapes(name):
    encoder, x = make_encoder(name, 13, 64).eval(), image(13, 64)
    assert encoder(x).shape == (2, encoder.dim)
    maps = encoder.pyramid(x)
    assert [m.shape for m in maps] == [
        (2, c, 64 // s, 64 // s) for c, s in zip(encoder.channels, encoder.strides, strict=True)
    ]
    assert encoder.maps(x).equal(maps[-1])
    if name in SMALL:
        torch.testing.assert_close(encoder(x), maps[-1].mean((2, 3)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("size", [(96, 64), (61, 75)])
def test_other_sizes_than_the_built_one_work_and_come_back(name, size):
    encoder = make_encoder(name, 2, 64).eval()
    before = encoder(image(2, 64))
    maps = encoder.pyramid(image(2, *size))
    assert torch.isfinite(maps[-1]).all()
    assert all(abs(m.shape[2] - size[0] / s) < 1 for m, s in zip(maps, encoder.strides, strict=True))
    assert encoder(image(2, 64)).equal(before)


def test_a_swin_sees_the_same_at_another_size_as_one_built_for_it():
    big = make_encoder("swin_mini", 2, 128).eval()
    small = make_encoder("swin_mini", 2, 64).eval()
    small.load_state_dict(big.state_dict())
    x = image(2, 128)
    torch.testing.assert_close(big.pyramid(x)[0], small.pyramid(x)[0])


def test_a_name_that_is_unknown_or_promises_weights_is_answered_with_the_right_one():
    with pytest.raises(ConfigError, match=r"unknown encoder 'resnet_minni'; did you mean resnet_mini"):
        make_encoder("resnet_minni", 2, 64)
    with pytest.raises(ConfigError, match=r"resnet50.a1_in1k: .* not loaded here.*ask for 'resnet50'"):
        make_encoder("resnet50.a1_in1k", 13, 64)


def test_wrong_input_is_refused():
    encoder = make_encoder("resnet_nano", 13, 64)
    with pytest.raises(ConfigError, match=r"expects \(B, 13, H, W\)"):
        encoder(image(2, 64))
    with pytest.raises(ConfigError, match="image_size"):
        make_encoder("resnet_nano", 2, 4)
    with pytest.raises(ConfigError, match="built for 64 pixels"):
        make_encoder("vit_tiny_patch16_224", 2, 64)(image(2, 96))


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_learns(name):
    encoder = make_encoder(name, 2, 32)
    encoder(image(2, 32, batch=4)).square().sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_frozen_encoders_stay_in_eval_mode_under_train_without_drop_path_and_the_head_does_not():
    model = make_classifier("late", "resnet_nano", 32)
    model.backbone.freeze()
    for trained in (model, model.eval().train()):
        assert trained.training and trained.head.training
        assert not any(module.training for module in trained.backbone.modules())
    free, x = make_encoder("swin_tiny_patch4_window7_224", 2, 32), image(2, 32)
    assert not free(x).equal(free(x))
    frozen = free.freeze().train()
    assert frozen(x).equal(frozen(x))


@pytest.mark.parametrize("grid", [1, 2])
def test_a_network_whose_pooled_feature_is_wider_than_its_maps_has_heads_that_fit(grid):
    encoders = [make_encoder("mobilenetv3_small_050", bands, 64) for bands in (2, 13)]
    assert encoders[0].dim > encoders[0].maps(image(2, 64)).shape[1] == encoders[0].channels[-1]
    pair = SensorPair(DualEncoder(*encoders), 8, grid)
    z1, z2 = pair({"s1": image(2, 64), "s2": image(13, 64)})
    assert z1.shape == z2.shape == (2, 8)
