"""One backbone, two heads: what is shared is the same memory, and the figures count it."""

import copy

import numpy as np
import pytest
import torch

from eo_ssl.errors import ConfigError
from eo_ssl.models.dual import DualEncoder
from eo_ssl.models.encoders import make_encoder
from eo_ssl.models.fusion import Classifier
from eo_ssl.models.swin_unet import SwinUNet
from eo_ssl.models.unet import UNet
from eo_ssl.show import backbone


@pytest.fixture(scope="module")
def pair():
    return DualEncoder(make_encoder("swin_nano", 2, 32), make_encoder("swin_nano", 13, 32))


def test_shared_numbers_are_the_same_memory_not_equal_values(pair):
    classifier, segmenter = Classifier(pair), SwinUNet(pair.s1, pair.s2)
    inside = sum(p.numel() for p in pair.parameters())
    assert backbone.shared(pair, classifier) == (inside, inside)
    assert backbone.shared(classifier, segmenter)[0] == inside
    assert backbone.shared(pair, copy.deepcopy(classifier))[0] == 0


def test_parameters_add_up_and_the_bars_say_them(pair):
    models = {"classifier": Classifier(pair), "SwinUNet": SwinUNet(pair.s1, pair.s2)}
    for model in models.values():
        assert sum(backbone.parameters(model).values()) == sum(p.numel() for p in model.parameters())
    counts = {name: backbone.parameters(model)["head"] for name, model in models.items()}
    assert counts["classifier"] == 8 * (pair.dim + 1) < counts["SwinUNet"]
    assert f"head {counts['SwinUNet']:,}" in backbone.parameter_bars(models).eo_alt


def test_a_model_without_a_pair_is_refused():
    with pytest.raises(ConfigError, match="no pair of encoders"):
        backbone.parameters(UNet(15, 8, 4))


def test_two_answers_are_said_in_words_and_unlabelled_pixels_do_not_count():
    truth = np.zeros((8, 8), np.uint8)
    truth[:4] = 255
    found = np.zeros((8, 8), np.int64)
    found[4, :4] = 3
    share = torch.tensor([0.6, 0.4, 0, 0, 0, 0, 0, 0]).numpy()
    rng = np.random.default_rng(0)
    fig = backbone.two_answers(rng.normal(-12, 3, (2, 8, 8)), rng.random((13, 8, 8)), share, found, truth)
    assert (
        "Forest with 60%" in fig.eo_alt
        and "right in 88%" in fig.eo_alt
        and "mostly Forest, 100%" in fig.eo_alt
    )
