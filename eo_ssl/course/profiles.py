"""The four sizes of the course: one table of settings that every chapter reads."""

import difflib
from dataclasses import dataclass

from eo_ssl.errors import ConfigError


@dataclass(frozen=True)
class Profile:
    """What a profile fixes: data, models, seeds and budget.

    `fractions` are the label fractions of the headline methods, `minor_fractions` those of the
    methods that only complete a table. `pretrain_minutes` is a cap for each pretraining run on the
    hardware the profile is meant for (None: no cap). `is_evidence` is False where the runs are too
    short to support any statement about the methods.
    """

    name: str
    simulate: str
    image_size: int
    swin_image_size: int
    resnet: str
    swin: str
    vgg: str
    pretrain_minutes: float | None
    finetune_epochs: int
    fractions: tuple[float, ...]
    minor_fractions: tuple[float, ...]
    pretrain_seeds: tuple[int, ...]
    finetune_seeds: tuple[int, ...]
    is_evidence: bool
    requires_gpu: bool
    disk_mb: int
    budget: str


PROFILES: dict[str, Profile] = {
    "smoke": Profile(
        name="smoke",
        simulate="smoke",
        image_size=32,
        swin_image_size=32,
        resnet="resnet_nano",
        swin="swin_nano",
        vgg="vgg_mma_mini",
        pretrain_minutes=0.05,
        finetune_epochs=1,
        fractions=(0.1, 1.0),
        minor_fractions=(1.0,),
        pretrain_seeds=(0,),
        finetune_seeds=(0,),
        is_evidence=False,
        requires_gpu=False,
        disk_mb=300,
        budget="6 minutes on two CPU cores",
    ),
    "laptop": Profile(
        name="laptop",
        simulate="laptop",
        image_size=64,
        swin_image_size=64,
        resnet="resnet_mini",
        swin="swin_mini",
        vgg="vgg_mma_mini",
        pretrain_minutes=2.5,
        finetune_epochs=8,
        fractions=(0.01, 0.1, 0.5, 1.0),
        minor_fractions=(0.1, 1.0),
        pretrain_seeds=(0,),
        finetune_seeds=(0, 1, 2),
        is_evidence=True,
        requires_gpu=False,
        disk_mb=2_500,
        budget="30 minutes on two CPU cores",
    ),
    "gpu": Profile(
        name="gpu",
        simulate="gpu",
        image_size=128,
        swin_image_size=224,
        resnet="resnet18",
        swin="swin_tiny_patch4_window7_224",
        vgg="vgg_mma",
        pretrain_minutes=1.5,
        finetune_epochs=20,
        fractions=(0.01, 0.1, 0.5, 1.0),
        minor_fractions=(0.1, 1.0),
        pretrain_seeds=(0, 1, 2),
        finetune_seeds=(0, 1, 2),
        is_evidence=True,
        requires_gpu=True,
        disk_mb=40_000,
        budget="30 minutes on one recent GPU",
    ),
    "paper": Profile(
        name="paper",
        simulate="paper",
        image_size=128,
        swin_image_size=224,
        resnet="resnet18",
        swin="swin_tiny_patch4_window7_224",
        vgg="vgg_mma",
        pretrain_minutes=None,
        finetune_epochs=200,
        fractions=(0.01, 0.1, 0.5, 1.0),
        minor_fractions=(0.01, 0.1, 0.5, 1.0),
        pretrain_seeds=(0, 1, 2, 3, 4),
        finetune_seeds=(0, 1, 2, 3, 4),
        is_evidence=True,
        requires_gpu=True,
        disk_mb=50_000,
        budget="days on GPUs; `eo-ssl course run --profile paper --dry-run` estimates it",
    ),
}


def did_you_mean(word: str, known: list[str] | tuple[str, ...]) -> str:
    """`word`'s nearest neighbours as "; did you mean …?", or "" when nothing is near.

    >>> did_you_mean("laptp", list(PROFILES))
    '; did you mean laptop?'
    """
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def get_profile(name: str) -> Profile:
    """The profile called `name`; raises `ConfigError` naming the profiles there are."""
    if name not in PROFILES:
        known = ", ".join(PROFILES)
        raise ConfigError(
            f"profile {name!r} does not exist (there are {known}){did_you_mean(name, list(PROFILES))}"
        )
    return PROFILES[name]
