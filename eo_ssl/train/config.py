"""All settings of training: one frozen dataclass per method, one for downstream models, and their presets.

The presets (presets.toml, with what differs from the papers) are the papers' values, and values that fit a laptop,
one GPU or a test.
"""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

from eo_ssl.errors import ConfigError, nearest
from eo_ssl.profiles import get_profile

PRECISIONS = ("auto", "32", "bf16")
CLASSIFIERS = ("s1", "s2", "early", "late", "bands")
SEGMENTERS = ("unet", "swin-unet")
_BOOLS = {"true": True, "false": False}
_PRESETS: dict[str, Any] = tomllib.loads(Path(__file__).with_name("presets.toml").read_text("utf-8"))
PROFILES = tuple(_PRESETS)
FRESH = ("scratch", "untrained")  # where a model starts from when no weights are read
SELECT_BY = {"single": "aa", "multi": "f1_macro", "segment": "miou"}


def digest(*facts: Any) -> str:
    """Twelve hex digits that change when any of the facts, plain JSON values, changes."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Settings:
    """What all settings can do: plain values out and in, copies with changes, an identity.

    No number may be negative; `POSITIVE` names those that may not be 0 either, `CHOICES` the values of words. `HOW`
    names the fields that say how a model is computed, not which: they may change while a run is resumed.
    """

    POSITIVE: ClassVar[tuple[str, ...]] = ()
    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = {}
    HOW: ClassVar[tuple[str, ...]] = ("micro_batch", "precision")

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, int | float) and not (value > 0 if name in self.POSITIVE else value >= 0):
                least = "greater than 0" if name in self.POSITIVE else "0 or more"
                raise ConfigError(f"{name} must be {least}, not {value!r}")
            if value not in (allowed := self.CHOICES.get(name, (value,))):
                raise ConfigError(f"{name} cannot be {value!r}{nearest(value, allowed)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of `to_dict`, also of strings from a command line, each in the type of its field.

        Raises `ConfigError` naming the nearest field for one that does not exist.
        """
        types: dict[str, Any] = {field.name: field.type for field in fields(cls)}
        converted = {}
        for key, value in values.items():
            if key == "method":
                continue
            if key not in types:
                raise ConfigError(f"{cls.__name__} has no field {key!r}{nearest(key, types)}")
            kind, text = types[key], str(value)
            try:
                converted[key] = _BOOLS[text.lower()] if kind is bool else kind(text)
            except (KeyError, ValueError):
                raise ConfigError(f"{key} takes a value of type {kind.__name__}, not {value!r}") from None
        return cls(**converted)

    def with_(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return self.from_dict({**self.to_dict(), **changes})

    def identity(self) -> dict[str, Any]:
        """The settings that decide which model comes out: all but `HOW`."""
        return {key: value for key, value in self.to_dict().items() if key not in self.HOW}

    def digest(self) -> str:
        """Twelve hex digits that change when the identity changes."""
        return digest(self.identity())


@dataclass(frozen=True)
class PretrainConfig(Settings):
    """What all methods share. Rates are those of each update: nothing is scaled by batch or devices.

    Args:
        backbone: encoder name as `eo_ssl.models.encoders.make_encoder` takes it, one per modality.
        image_size: side of the training crop in pixels (10 m each).
        batch_size: pairs that see each other in the loss, over all devices together.
        micro_batch: pairs per forward pass on one device, 0 for all; smaller values save memory and leave the
            contrastive batch whole (see `eo_ssl.train.step`).
        epochs, warmup_epochs: length of the run and of the linear warm-up; both are turned into updates.
        lr, min_lr: peak and end of the cosine, set anew before every update.
        optimizer: "adamw" (decoupled decay, none on biases and norms) or "adam" (decay in the gradient).
        clip_norm: largest total gradient norm, 0 to leave gradients alone.
        temperature: τ of the loss.
        mask_overlaps: leave pairs of patches that share ground out of the negatives.
        batch_norm: "auto" takes statistics over all GPUs of a run (on CPUs each process its own), "local" those
            of each device, "sync" insists on all devices (GPUs only), "frozen" keeps mean 0 and variance 1.
        precision: "32", "bf16", or "auto" for bf16 where the device computes in it, else 32.
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
    batch_norm: str = "auto"
    precision: str = "auto"
    seed: int = 0

    name: ClassVar[str] = ""  # as on the command line and in the names of folders
    modalities: ClassVar[tuple[str, ...]] = ("s1", "s2")  # whose encoders the method trains
    POSITIVE = ("image_size", "batch_size", "epochs", "lr", "temperature")
    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = {
        "optimizer": ("adamw", "adam"),
        "batch_norm": ("auto", "local", "sync", "frozen"),
        "precision": PRECISIONS,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size < 2:
            raise ConfigError("batch_size 1 leaves no negatives; take 2 or more")
        if self.warmup_epochs >= self.epochs:
            raise ConfigError(f"warmup_epochs {self.warmup_epochs:g} is not less than epochs {self.epochs}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, the method's name included."""
        return {"method": self.name, **super().to_dict()}


@dataclass(frozen=True)
class DualSimCLRConfig(PretrainConfig):
    """Dual-SimCLR: one encoder per sensor, NT-Xent on co-located crops, no augmentation beyond the crop.

    `projection_dim` is the width of what the loss sees, 0: no head. The head reads the encoder's last map averaged to
    `head_grid` × `head_grid` places: 1 is the pooled feature, as in the paper; with 2 it sees in which quarter of the
    crop a thing lies. The pooled feature is what remains in both cases. Source: ISPRS Annals V-3-2022, 705–711.
    """

    projection_dim: int = 128
    head_grid: int = 1
    POSITIVE = (*PretrainConfig.POSITIVE, "head_grid")
    name: ClassVar[str] = "dual-simclr"


@dataclass(frozen=True)
class SwinPairConfig(DualSimCLRConfig):
    """Two Swin encoders with the same loss as Dual-SimCLR.

    Its figure shows a projection head of two layers, its published code puts the loss on the pooled features
    (`projection_dim=0`); we follow the figure. Source: CVPRW EarthVision 2022, 1422–1431.
    """

    backbone: str = "swin_tiny_patch4_window7_224"
    image_size: int = 224
    name: ClassVar[str] = "swin-pair"


@dataclass(frozen=True)
class SimCLRConfig(PretrainConfig):
    """SimCLR on Sentinel-2: two augmented views of one image, a shared encoder, NT-Xent.

    With `bands="rgb"` the encoder keeps its 13 inputs, but the weights of the other ten are zero and stay zero.
    Augmentations keep the physics: crops of at least `crop_scale` of the area, flips, quarter turns, dropped bands
    (`band_drop`), a change of illumination common to all bands (`jitter`); no hue, no grey scale, no per-band
    colour shifts. Source: Chen et al. 2020; ISPRS Annals V-3-2022.
    """

    projection_dim: int = 128
    bands: str = "all"
    crop_scale: float = 0.3
    jitter: float = 0.2
    band_drop: float = 0.1
    modalities: ClassVar[tuple[str, ...]] = ("s2",)
    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = {**PretrainConfig.CHOICES, "bands": ("all", "rgb")}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.crop_scale <= 1 or self.band_drop >= 1:
            raise ConfigError("crop_scale must lie in (0, 1] and band_drop in [0, 1)")

    @property
    def name(self) -> str:  # type: ignore[override]
        return "simclr-rgb" if self.bands == "rgb" else "simclr"


@dataclass(frozen=True)
class MMAConfig(PretrainConfig):
    """Multi-modal alignment: the map of an S2 crop of `second_crop` pixels is searched for in the map of S1.

    With `second_crop=0` both crops are equal: there is one offset and the maximum does nothing. Source: Windsor
    et al. 2021; ISPRS Annals V-3-2022.
    """

    backbone: str = "vgg_mma"
    temperature: float = 0.005
    second_crop: int = 96
    name: ClassVar[str] = "mma"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.second_crop > self.image_size:
            raise ConfigError(f"second_crop {self.second_crop} is larger than image_size {self.image_size}")


METHODS: dict[str, type[PretrainConfig]] = {
    "simclr": SimCLRConfig,
    "simclr-rgb": SimCLRConfig,
    "dual-simclr": DualSimCLRConfig,
    "mma": MMAConfig,
    "swin-pair": SwinPairConfig,
}


def pretrain_folder(run_dir: str | Path, method: str, backbone: str, seed: int) -> Path:
    """Where a run folder keeps the checkpoint of one pretraining."""
    return Path(run_dir) / "pretrain" / f"{method}-{backbone}-seed{seed}"


def released(method: str) -> Path:
    """The folder of the encoders that come with the course; `ConfigError` where they are not."""
    folder = Path(__file__).parents[2] / "book" / "results" / "encoders" / method
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{folder}: no released encoders; scripts/release_encoders.py makes them")
    return folder


def config_from_dict(values: Mapping[str, Any]) -> PretrainConfig:
    """The configuration that `to_dict` wrote, whichever method it belongs to.

    >>> config_from_dict(MMAConfig(epochs=9).to_dict()).epochs
    9
    """
    return _class_of(values.get("method", "")).from_dict(values)


def _class_of(method: str) -> type[PretrainConfig]:
    if method not in METHODS:
        raise ConfigError(f"no method called {method!r}{nearest(method, METHODS)}")
    return METHODS[method]


@dataclass(frozen=True)
class FinetuneConfig(Settings):
    """One downstream model. The budget is counted in updates, the same for every label fraction and method.

    Patches are drawn so that each majority class is equally frequent; of each a random crop, mirrored and turned.

    Args:
        model: "s1", "s2", "early" or "late" fusion or "bands" (no network: mean and deviation of each band) for
            classification, "unet" or "swin-unet" for segmentation.
        task: "single" (majority class of the crop), "multi" (classes that cover 10 %), "segment" (every pixel).
        init: "scratch", the folder of a pretrained checkpoint, or "untrained": weights as "scratch" draws them, to
            be frozen like pretrained ones.
        mode: "finetune" trains all weights, "frozen" only the new layers, the encoders stay bit for bit as they
            are; for frozen classifiers the features of `cached_crops` augmented crops per patch are computed once.
        fraction: share of the labelled training patches, drawn by `seed`.
        updates, batch_size: the budget; `evaluations` looks at validation choose the weights that are kept.
        micro_batch: samples per forward pass, 0 for all; smaller values save memory and leave the gradient as it is.
        lr_head, lr_backbone: peak rates of new and pretrained layers; warm-up over a tenth, then cosine to 0.
        unet_width: channels of the first level of the UNet.
        val_tiles, test_tiles: tiles of each patch that are evaluated, never cropped at random; 0 means all, as it
            should be.
        precision: "32", "bf16" or "auto".
    """

    model: str = "late"
    task: str = "single"
    backbone: str = "resnet18"
    image_size: int = 128
    init: str = "scratch"
    mode: str = "finetune"
    fraction: float = 1.0
    seed: int = 0
    updates: int = 2000
    batch_size: int = 32
    micro_batch: int = 0
    evaluations: int = 20
    lr_head: float = 1e-3
    lr_backbone: float = 1e-3
    weight_decay: float = 1e-4
    cached_crops: int = 4
    unet_width: int = 64
    val_tiles: int = 0
    test_tiles: int = 0
    precision: str = "auto"

    POSITIVE = ("image_size", "fraction", "updates", "batch_size", "evaluations", "lr_head", "cached_crops")
    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = {
        "model": CLASSIFIERS + SEGMENTERS,
        "task": tuple(SELECT_BY),
        "mode": ("finetune", "frozen"),
        "precision": PRECISIONS,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fraction > 1:
            raise ConfigError(f"fraction must lie in (0, 1], not {self.fraction:g}")
        if (self.task == "segment") != (self.model in SEGMENTERS):
            fits = SEGMENTERS if self.task == "segment" else CLASSIFIERS
            raise ConfigError(f"model {self.model} does not do task {self.task}; choose {' or '.join(fits)}")
        if self.mode == "frozen" and self.init == "scratch":
            raise ConfigError(
                'a frozen backbone needs pretrained weights: give init a checkpoint folder, or "untrained"'
            )
        if self.model == "bands" and self.mode != "frozen":
            raise ConfigError("band statistics have no weights to fine-tune: mode must be frozen")
        if self.model == "unet" and self.init != "scratch":
            raise ConfigError("the UNet baseline is trained from scratch; pretrained encoders fit swin-unet")


def preset(method: str, profile: str, family: str = "", **changes: Any) -> PretrainConfig:
    """The settings of a method at a profile, with changed fields; raises `ConfigError` with the nearest name.

    `family` ("resnet", "deep", "swin", "vgg") takes the network and the crop that the profile has for it.

    >>> preset("dual-simclr", "paper").temperature, preset("dual-simclr", "paper", "deep").backbone
    (0.07, 'resnet50')
    """
    kind = _class_of(method)
    if profile not in PROFILES:
        raise ConfigError(f"no preset called {profile!r}{nearest(profile, PROFILES)}")
    values = _table(profile, method.removesuffix("-rgb"))
    if method == "simclr-rgb":
        values |= {"bands": "rgb"}
    if family:
        sizes = get_profile(profile)
        values |= {"backbone": getattr(sizes, family), "image_size": sizes.crop(family)}
        values |= _PRESETS[profile].get("deep", {}) if family == "deep" else {}
    return kind.from_dict({**values, **changes})


def _table(profile: str, method: str) -> dict[str, Any]:
    """What presets.toml says: the profile it is like, the values of the profile, those of the method."""
    own = _PRESETS[profile]
    values = _table(own["like"], method) if "like" in own else {}
    shared = {key: value for key, value in own.items() if not isinstance(value, dict) and key != "like"}
    return values | shared | own.get(method, {})
