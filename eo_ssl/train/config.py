"""Settings of the pretraining methods, one small frozen dataclass each; their values are in `train.presets`."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

from eo_ssl.errors import ConfigError, nearest
from eo_ssl.train.fields import coerce, not_negative, one_of, positive


@dataclass(frozen=True)
class PretrainConfig:
    """What all methods share. Rates are those of each update: nothing is scaled by batch or devices.

    Args:
        backbone: encoder name as `eo_ssl.models.encoders.make_encoder` takes it, one per modality.
        image_size: side of the training crop in pixels (10 m each).
        batch_size: pairs that see each other in the loss, over all devices together.
        micro_batch: pairs per forward pass on one device; 0 means all at once. Smaller values save memory
            and leave the contrastive batch whole (see `eo_ssl.train.step`).
        epochs, warmup_epochs: length of the run and of the linear warm-up; both are turned into updates.
        lr, min_lr: peak and end of the cosine, set anew before every update.
        optimizer: "adamw" (decoupled decay, none on biases and norms) or "adam" (decay in the gradient).
        clip_norm: largest total gradient norm, 0 to leave gradients alone.
        temperature: τ of the loss.
        mask_overlaps: leave pairs of patches that share ground out of the negatives.
        batch_norm: "local" statistics of each device's micro-batch, "sync" over devices (GPU only), or
            "frozen" at their initial values (mean 0, variance 1).
        precision: "32", "bf16", "16", or "auto" for bf16 where the device computes in it, else 32.
    """

    backbone: str = "resnet18"
    image_size: int = 128
    batch_size: int = 256
    micro_batch: int = 0
    epochs: int = 100
    warmup_epochs: float = 5.0
    lr: float = 1e-3
    min_lr: float = 1e-6
    optimizer: str = "adamw"
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    temperature: float = 0.1
    mask_overlaps: bool = True
    batch_norm: str = "local"
    precision: str = "auto"
    seed: int = 0

    method: ClassVar[str] = ""

    def __post_init__(self) -> None:
        positive(self, "image_size", "batch_size", "epochs", "lr", "temperature")
        not_negative(self, "micro_batch", "warmup_epochs", "min_lr", "weight_decay", "clip_norm", "seed")
        one_of(self, "optimizer", ("adamw", "adam"))
        one_of(self, "batch_norm", ("local", "sync", "frozen"))
        one_of(self, "precision", ("auto", "32", "bf16", "16"))
        if self.batch_size < 2:
            raise ConfigError("batch_size 1 leaves no negatives; take 2 or more")
        if self.warmup_epochs >= self.epochs:
            raise ConfigError(
                f"warmup_epochs {self.warmup_epochs:g} must be smaller than epochs {self.epochs}; lower it"
            )

    @property
    def name(self) -> str:
        """Method name as on the command line and in folder names."""
        return self.method

    @property
    def modalities(self) -> tuple[str, ...]:
        """Which encoders the method trains."""
        return ("s1", "s2")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, the method's name included."""
        return {"method": self.name, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from a mapping; raises `ConfigError` naming the nearest field for one that does not exist."""
        values = {key: value for key, value in values.items() if key != "method"}
        return cls(**coerce(cls, values))

    def with_(self, **changes: Any) -> Self:
        """A copy with some fields changed; strings from a command line are converted to the field's type."""
        return replace(self, **coerce(type(self), changes))

    def digest(self) -> str:
        """Twelve hex digits that change when any setting changes."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class DualSimCLRConfig(PretrainConfig):
    """Dual-SimCLR: one encoder per sensor, NT-Xent on co-located crops, no augmentation beyond the crop.

    `projection_dim` is the width of what the loss sees, 0: no head. Source: ISPRS Annals V-3-2022, 705–711.
    """

    projection_dim: int = 128
    method: ClassVar[str] = "dual-simclr"

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative(self, "projection_dim")


@dataclass(frozen=True)
class SwinPairConfig(DualSimCLRConfig):
    """Two Swin encoders with the same loss as Dual-SimCLR.

    The paper's figure shows a projection head of two layers; its published code has none and puts the loss
    on the pooled features. We follow the figure; `projection_dim=0` follows the code.
    Source: CVPRW EarthVision 2022, 1422–1431.
    """

    backbone: str = "swin_tiny_patch4_window7_224"
    image_size: int = 224
    method: ClassVar[str] = "swin-pair"


@dataclass(frozen=True)
class SimCLRConfig(PretrainConfig):
    """SimCLR on Sentinel-2: two augmented views of one image, a shared encoder, NT-Xent.

    `bands` is "all" or "rgb"; with "rgb" the encoder keeps its 13 inputs, but the weights of the other ten
    are zero and stay zero. Augmentations keep the physics: crops of at least `crop_scale` of the area, flips,
    quarter turns, dropped bands (`band_drop`), a change of illumination common to all bands (`jitter`); no
    hue, no grey scale, no per-band colour shifts. Source: Chen et al. 2020; ISPRS Annals V-3-2022.
    """

    projection_dim: int = 128
    bands: str = "all"
    crop_scale: float = 0.3
    jitter: float = 0.2
    band_drop: float = 0.1
    method: ClassVar[str] = "simclr"

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative(self, "projection_dim", "jitter", "band_drop")
        positive(self, "crop_scale")
        one_of(self, "bands", ("all", "rgb"))
        if self.crop_scale > 1 or self.band_drop >= 1:
            raise ConfigError("crop_scale must lie in (0, 1] and band_drop in [0, 1)")

    @property
    def name(self) -> str:
        return "simclr-rgb" if self.bands == "rgb" else "simclr"

    @property
    def modalities(self) -> tuple[str, ...]:
        return ("s2",)


@dataclass(frozen=True)
class MMAConfig(PretrainConfig):
    """Multi-modal alignment: the map of an S2 crop of `second_crop` pixels is searched for in the map of S1.

    With `second_crop=0` both crops are equal: there is one offset and the maximum does nothing. Source: Windsor
    et al. 2021; ISPRS Annals V-3-2022.
    """

    backbone: str = "vgg_mma"
    temperature: float = 0.005
    second_crop: int = 96
    method: ClassVar[str] = "mma"

    def __post_init__(self) -> None:
        super().__post_init__()
        not_negative(self, "second_crop")
        if self.second_crop > self.image_size:
            raise ConfigError(
                f"second_crop {self.second_crop} must not be larger than image_size {self.image_size}"
            )


METHODS: dict[str, type[PretrainConfig]] = {
    "simclr": SimCLRConfig,
    "simclr-rgb": SimCLRConfig,
    "dual-simclr": DualSimCLRConfig,
    "mma": MMAConfig,
    "swin-pair": SwinPairConfig,
}


def config_from_dict(values: Mapping[str, Any]) -> PretrainConfig:
    """The configuration that `to_dict` wrote, whichever method it belongs to.

    >>> config_from_dict(MMAConfig(epochs=9).to_dict()).epochs
    9
    """
    name = values.get("method", "")
    if name not in METHODS:
        raise ConfigError(f"no method called {name!r}{nearest(name, METHODS)}")
    return METHODS[name].from_dict(values)
