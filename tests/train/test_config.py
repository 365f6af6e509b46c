"""Settings: unknown names and impossible values are refused by name; presets hold the papers' values."""

import pytest

from eo_ssl.errors import ConfigError
from eo_ssl.profiles import get_profile
from eo_ssl.train.config import (
    METHODS,
    PROFILES,
    DualSimCLRConfig,
    FinetuneConfig,
    MMAConfig,
    SimCLRConfig,
    config_from_dict,
    preset,
)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DualSimCLRConfig.from_dict({"temprature": 0.1}), "'temprature'; did you mean temperature"),
        (lambda: preset("dual_simclr", "paper"), "did you mean dual-simclr"),
        (lambda: preset("mma", "laptpo"), "did you mean laptop"),
        (lambda: MMAConfig(image_size=64, second_crop=72), "second_crop"),
        (lambda: FinetuneConfig(task="segment"), "does not do"),
        (lambda: FinetuneConfig(mode="frozen"), "pretrained"),
        (lambda: FinetuneConfig(model="unet", task="segment", init="x"), "scratch"),
    ],
)
def test_names_and_settings_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    ("field", "value"),
    [("epochs", 0), ("lr", -1.0), ("lr", "nan"), ("batch_size", 1), ("precision", "fp8"),
     ("epochs", 2.5), ("warmup_epochs", 100), ("mask_overlaps", "maybe")],
)  # fmt: skip
def test_impossible_values_are_refused_by_field_name(field, value):
    with pytest.raises(ConfigError, match=field.removesuffix("s")):
        DualSimCLRConfig.from_dict({"epochs": 50, field: value})


def test_strings_take_the_type_of_their_field():
    config = preset("mma", "laptop", epochs="7", lr="1e-4", mask_overlaps="false")
    assert (config.epochs, config.lr, config.mask_overlaps) == (7, 1e-4, False)


def test_the_digest_changes_with_any_setting_and_only_then():
    assert DualSimCLRConfig().digest() == DualSimCLRConfig().digest()
    assert DualSimCLRConfig().digest() != DualSimCLRConfig(seed=1).digest()
    assert SimCLRConfig().digest() != SimCLRConfig(bands="rgb").digest()
    for config in (DualSimCLRConfig, FinetuneConfig):  # how it is computed is no other model
        assert config().digest() == config(micro_batch=3, precision="32").digest()


@pytest.mark.parametrize("method", METHODS)
def test_a_preset_survives_a_round_trip_and_has_the_network_and_the_crop_of_its_family(method):
    """So that a grid finds the checkpoint that pretraining has written."""
    family = {"mma": "vgg", "swin-pair": "swin"}.get(method, "resnet")
    for profile in PROFILES:
        config = preset(method, profile)
        assert config_from_dict(config.to_dict()) == config == preset(method, profile, family)
        assert config.name == method and config.image_size == get_profile(profile).crop(family)


def test_the_rehearsal_of_paper_differs_from_it_in_counts_only():
    counts = {"backbone", "image_size", "batch_size", "epochs", "warmup_epochs", "second_crop"}
    for method in METHODS:
        paper, rehearsal = (preset(method, name).to_dict() for name in ("paper", "paper-rehearsal"))
        assert {key for key in paper if paper[key] != rehearsal[key]} <= counts
