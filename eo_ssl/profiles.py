"""The sizes of the course, and a rehearsal of the largest: one table of settings that every chapter reads."""

from dataclasses import dataclass, replace

from eo_ssl.errors import ConfigError, nearest

NO_EVIDENCE = "smoke run, not evidence"  # said wherever a run at a profile without `is_evidence` is shown


@dataclass(frozen=True)
class Profile:
    """What a profile fixes: data, models, seeds and needs.

    `resnet`, `deep`, `swin` and `vgg` name the network of each family of methods; the Swin pair and the deep
    ResNet it is compared with see crops of `swin_image_size` pixels, the others of `image_size`.
    `compile`: pretraining through torch.compile. `headline_seeds`: those of Dual-SimCLR, where it has more than
    others. `run_mb` is what a whole run leaves in its folder at most; the simulated data lie elsewhere. `memory_gb` is
    what all of its processes take together at most, on any number of cores. `real_data`: simulated patches will not do.
    `is_evidence` is False where the runs are too short to support any statement about the methods. How long each
    training is, and which are made, is in `eo_ssl.train.config` and `eo_ssl.experiments.plan`.
    """

    name: str
    simulate: str
    run_mb: int
    memory_gb: int
    budget: str
    image_size: int = 64
    swin_image_size: int = 64
    resnet: str = "resnet_mini"
    deep: str = "resnet_mini"
    swin: str = "swin_mini"
    vgg: str = "vgg_mma_mini"
    pretrain_seeds: tuple[int, ...] = (0,)
    headline_seeds: tuple[int, ...] = (0, 1)
    finetune_seeds: tuple[int, ...] = (0, 1, 2)
    is_evidence: bool = True
    requires_gpu: bool = False
    compile: bool = False
    real_data: bool = False

    def seeds_of(self, pretraining: str, family: str = "resnet") -> tuple[int, ...]:
        """Seeds of a pretraining; at least `headline_seeds` for Dual-SimCLR, whose luck must be in the intervals."""
        headline = pretraining == "dual-simclr" and family in ("", "resnet")
        return max(self.pretrain_seeds, self.headline_seeds if headline else (), key=len)

    def crop(self, family: str) -> int:
        """Side in pixels of what the networks of a family see."""
        return self.swin_image_size if family in ("swin", "deep") else self.image_size


_LAPTOP = Profile("laptop", "laptop", 1_000, 6, "about three quarters of an hour on two CPU cores")
_TINY = {
    "image_size": 32, "swin_image_size": 32, "resnet": "resnet_nano", "deep": "resnet_nano", "swin": "swin_nano",
    "vgg": "vgg_mma_mini", "is_evidence": False, "headline_seeds": (0,), "requires_gpu": False, "run_mb": 400,
    "memory_gb": 4,
}  # fmt: skip
_SMOKE = replace(
    _LAPTOP, **_TINY, name="smoke", simulate="smoke", finetune_seeds=(0,), budget="6 minutes on two CPU cores"
)
# Compiling costs about a minute per network: as long as a whole pretraining here, hours less than one of the
# papers'.
_GPU = replace(
    _LAPTOP,
    name="gpu",
    simulate="gpu",
    image_size=128,
    swin_image_size=224,
    resnet="resnet18",
    deep="resnet50",
    swin="swin_tiny_patch4_window7_224",
    vgg="vgg_mma",
    pretrain_seeds=(0, 1, 2),
    requires_gpu=True,
    run_mb=20_500,
    memory_gb=32,
    budget="30 minutes on one recent GPU",
)
_PAPER = replace(
    _GPU,
    name="paper",
    simulate="paper",
    pretrain_seeds=(0, 1, 2, 3, 4),
    finetune_seeds=(0, 1, 2, 3, 4),
    run_mb=33_000,
    memory_gb=64,
    compile=True,
    real_data=True,
    budget="days on GPUs; `eo-ssl course run --profile paper --dry-run` estimates it",
)
# The way of "paper", shrunk in counts only (pixels, layers, updates, seeds; see also presets and grids), to
# prove on any computer that a run of days will reach its end. No compiler is asked for.
_REHEARSAL = replace(
    _PAPER,
    **_TINY,
    name="paper-rehearsal",
    pretrain_seeds=(0, 1),
    finetune_seeds=(0, 1),
    compile=False,
    real_data=False,
    budget="a quarter of an hour on two CPU cores",
)

PROFILES: dict[str, Profile] = {p.name: p for p in (_SMOKE, _LAPTOP, _GPU, _PAPER, _REHEARSAL)}


def get_profile(name: str) -> Profile:
    """The profile called `name`; raises `ConfigError` naming the profiles there are."""
    if name not in PROFILES:
        raise ConfigError(f"profile {name!r} does not exist{nearest(name, PROFILES)}")
    return PROFILES[name]
