"""Frozen means bit-identical: parameters and buffers, whatever happens around them."""

import pytest
import torch

from eo_ssl.models.encoders import make_encoder
from eo_ssl.models.fusion import make_classifier
from eo_ssl.models.swin_unet import SwinUNet

SIZE = 32


def swin_unet(*_):
    s1, s2 = make_encoder("swin_nano", 2, SIZE), make_encoder("swin_nano", 13, SIZE)
    return SwinUNet(s1, s2)


def batch():
    generator = torch.Generator().manual_seed(0)
    return {k: torch.randn(4, c, SIZE, SIZE, generator=generator) for k, c in (("s1", 2), ("s2", 13))}


def train(model, steps=3):
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=0.1, weight_decay=0.1)
    for _ in range(steps):
        optimiser.zero_grad()
        model(batch()).square().mean().backward()
        optimiser.step()


def state(module):
    return {k: v.clone() for k, v in module.state_dict().items()}


MODELS = [
    (make_classifier, "late", "resnet_nano"),
    (make_classifier, "early", "resnet_nano"),
    (make_classifier, "late", "swin_nano"),
    (swin_unet, "late", "swin_nano"),
]


@pytest.mark.parametrize(("make", "fusion", "backbone"), MODELS)
def test_a_frozen_backbone_is_bit_identical_after_training(make, fusion, backbone):
    model = make(fusion, backbone, SIZE)
    model.backbone.freeze()
    before, head = state(model.backbone), state(model.head)
    train(model)
    after = state(model.backbone)
    assert before.keys() == after.keys() and all(after[k].equal(before[k]) for k in before)
    assert not model.head.weight.equal(head["weight"])


@pytest.mark.parametrize(("make", "fusion", "backbone"), MODELS)
def test_an_unfrozen_backbone_does_change(make, fusion, backbone):
    model = make(fusion, backbone, SIZE)
    before = state(model.backbone)
    train(model)
    changed = {k for k, v in state(model.backbone).items() if not v.equal(before[k])}
    assert any("weight" in k for k in changed)
    assert backbone != "resnet_nano" or any("running_mean" in k for k in changed)


def test_frozen_modules_stay_in_eval_mode_under_train_without_drop_path_and_the_rest_does_not():
    model = make_classifier("late", "resnet_nano", SIZE)
    model.backbone.freeze()
    assert model.training and model.head.training  # a new model trains
    assert not any(m.training for m in model.backbone.modules())
    model.eval().train()
    assert model.head.training and not any(m.training for m in model.backbone.modules())
    free, x = make_encoder("swin_tiny_patch4_window7_224", 2, SIZE), batch()["s1"]
    assert not free(x).equal(free(x))
    frozen = free.freeze().train()
    assert frozen(x).equal(frozen(x))


def test_freezing_one_encoder_leaves_the_other_free():
    model = make_classifier("late", "resnet_nano", SIZE)
    model.backbone.s1.freeze()
    s1, s2 = state(model.backbone.s1), state(model.backbone.s2)
    train(model)
    assert all(v.equal(s1[k]) for k, v in state(model.backbone.s1).items())
    assert not all(v.equal(s2[k]) for k, v in state(model.backbone.s2).items())
