"""Settings by method and profile: the papers' values, and values that fit a laptop, one GPU or a test.

"paper" follows the published recipes where they could be read, with the intended schedule: linear warm-up
and one cosine over the whole run, set at every update. (The published code stepped schedules built for
updates once per epoch, so that the Swin pair stayed at a learning rate of 5e-7 and the ResNet's barely
fell.) The number of epochs for MMA was not published where we could read it; it takes that of Dual-
SimCLR. The papers did not mask overlapping neighbours; the other profiles do.
"""

from typing import Any

from eo_ssl.errors import ConfigError, nearest
from eo_ssl.train.config import (
    METHODS,
    DualSimCLRConfig,
    MMAConfig,
    PretrainConfig,
    SimCLRConfig,
    SwinPairConfig,
)

PROFILES = ("smoke", "laptop", "gpu", "paper", "paper-rehearsal")

# Published: Adam 3e-5, decay 1e-4, batch 200, 201 epochs, temperature 0.07; no clipping, no mask.
_PAPER_RESNET: dict[str, Any] = {
    "backbone": "resnet18", "image_size": 128, "batch_size": 200, "epochs": 201, "warmup_epochs": 10.0,
    "lr": 3e-5, "min_lr": 0.0, "optimizer": "adam", "weight_decay": 1e-4, "clip_norm": 0.0,
    "temperature": 0.07, "mask_overlaps": False,
}  # fmt: skip
_SMOKE: dict[str, Any] = {
    "image_size": 32, "batch_size": 32, "epochs": 2, "warmup_epochs": 1.0, "lr": 1e-3, "precision": "32",
}  # fmt: skip
_LAPTOP: dict[str, Any] = {
    "image_size": 64, "batch_size": 128, "epochs": 20, "warmup_epochs": 2.0, "lr": 2e-3, "weight_decay": 0.05,
}  # fmt: skip
_GPU: dict[str, Any] = {
    "backbone": "resnet18", "image_size": 128, "batch_size": 256, "epochs": 20, "warmup_epochs": 2.0,
    "lr": 1e-3,
}  # fmt: skip

_MAPS: dict[str, Any] = {"backbone": "vgg_mma_mini", "temperature": 0.05}

PRESETS: dict[tuple[str, str], PretrainConfig] = {
    ("simclr", "smoke"): SimCLRConfig(**_SMOKE | {"backbone": "resnet_nano"}),
    ("simclr", "laptop"): SimCLRConfig(**_LAPTOP | {"backbone": "resnet_mini"}),
    ("simclr", "gpu"): SimCLRConfig(**_GPU | {"epochs": 15, "warmup_epochs": 2.0}),
    ("simclr", "paper"): SimCLRConfig(**_PAPER_RESNET),
    ("dual-simclr", "smoke"): DualSimCLRConfig(**_SMOKE | {"backbone": "resnet_nano"}),
    ("dual-simclr", "laptop"): DualSimCLRConfig(**_LAPTOP | {"backbone": "resnet_mini", "epochs": 30}),
    ("dual-simclr", "gpu"): DualSimCLRConfig(**_GPU),
    ("dual-simclr", "paper"): DualSimCLRConfig(**_PAPER_RESNET),
    ("mma", "smoke"): MMAConfig(**_SMOKE | _MAPS | {"second_crop": 24}),
    ("mma", "laptop"): MMAConfig(**_LAPTOP | _MAPS | {"second_crop": 48, "lr": 1e-3, "epochs": 16}),
    ("mma", "gpu"): MMAConfig(**_GPU | _MAPS | {"backbone": "vgg_mma", "second_crop": 96, "epochs": 8, "warmup_epochs": 1.0}),
    # Windsor et al. 2021: E = 128, temperature 0.005, Adam 1e-5, batch 10.
    ("mma", "paper"): MMAConfig(
        **_PAPER_RESNET
        | {"backbone": "vgg_mma", "batch_size": 10, "lr": 1e-5, "temperature": 0.005, "second_crop": 96}
    ),
    ("swin-pair", "smoke"): SwinPairConfig(**_SMOKE | {"backbone": "swin_nano"}),
    ("swin-pair", "laptop"): SwinPairConfig(**_LAPTOP | {"backbone": "swin_mini", "lr": 1e-3}),
    ("swin-pair", "gpu"): SwinPairConfig(
        image_size=224, batch_size=128, epochs=6, warmup_epochs=1.0, lr=5e-4, temperature=0.1
    ),
    ("swin-pair", "paper"): SwinPairConfig(
        image_size=224, batch_size=50, epochs=300, warmup_epochs=20.0, lr=5e-4, min_lr=5e-6, weight_decay=0.0,
        clip_norm=0.0, temperature=0.2, mask_overlaps=False,
    ),
}  # fmt: skip
# The paper's settings, shrunk in counts only, for a run that proves that everything fits together.
_SMALL = {"image_size": 32, "batch_size": 10, "epochs": 2, "warmup_epochs": 1.0}
PRESETS |= {
    (method, "paper-rehearsal"): PRESETS[method, "paper"].with_(backbone=backbone, **_SMALL | more)
    for method, backbone, more in (
        ("simclr", "resnet_nano", {}),
        ("dual-simclr", "resnet_nano", {}),
        ("mma", "vgg_mma_mini", {"second_crop": 24}),
        ("swin-pair", "swin_nano", {}),
    )
}
PRESETS |= {("simclr-rgb", profile): PRESETS["simclr", profile].with_(bands="rgb") for profile in PROFILES}


# A deep ResNet needs memory for fewer pairs, and as many updates as the others get.
_DEEP: dict[str, dict[str, Any]] = {"gpu": {"batch_size": 128, "epochs": 5, "warmup_epochs": 1.0}}


def for_family(method: str, profile: str, family: str = "", **changes: Any) -> PretrainConfig:
    """The preset with the network and the crop of a family of the profile ("resnet", "deep", "swin", "vgg").

    >>> for_family("dual-simclr", "paper", "deep").backbone
    'resnet50'
    """
    if not family:
        return preset(method, profile, **changes)
    from eo_ssl.profiles import get_profile

    sizes = get_profile(profile)
    network = {"backbone": getattr(sizes, family), "image_size": sizes.crop(family)}
    own = _DEEP.get(profile, {}) if family == "deep" else {}
    return preset(method, profile, **network, **own | changes)


def preset(method: str, profile: str, **changes: Any) -> PretrainConfig:
    """The preset of a method for a profile, with changed fields; raises `ConfigError` with the nearest name.

    >>> preset("dual-simclr", "paper").temperature
    0.07
    """
    if method not in METHODS:
        raise ConfigError(f"no method called {method!r}{nearest(method, METHODS)}")
    if profile not in PROFILES:
        raise ConfigError(f"no preset called {profile!r}{nearest(profile, PROFILES)}")
    return PRESETS[method, profile].with_(**changes)
