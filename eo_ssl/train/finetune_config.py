"""Settings of one downstream model: what is trained, from which weights, on how many labels."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from eo_ssl.errors import ConfigError
from eo_ssl.train.fields import coerce, not_negative, one_of, positive

CLASSIFIERS = ("s1", "s2", "early", "late")
SEGMENTERS = ("unet", "swin-unet")
SELECT_BY = {"single": "aa", "multi": "f1_macro", "segment": "miou"}


@dataclass(frozen=True)
class FinetuneConfig:
    """One downstream model. The budget is counted in updates, the same for every label fraction and method.

    Args:
        model: "s1", "s2", "early" or "late" fusion for classification, "unet" or "swin-unet" for
        segmentation. task: "single" (majority class of the crop), "multi" (classes that cover 10 %),
        "segment" (every pixel). init: "scratch", or the folder of a pretrained checkpoint.
        mode: "finetune" trains all weights, "frozen" only the new layers; the encoders stay bit for bit as
        they
            are. For frozen classifiers the features of `cached_crops` augmented crops per patch are computed
            once.
        fraction: share of the labelled training patches, drawn by `seed`.
        updates, batch_size: the budget. `evaluations` looks at validation are spread over it; training stops
            after `patience` looks without a gain (0: never), and the best look's weights are kept.
        lr_head, lr_backbone: peak rates of new and pretrained layers; warm-up over a tenth, then cosine to 0.
        balanced: draw patches so that each majority class is equally frequent.
        augment: mirror and turn by 90° at random. Crops are random in any case.
        unet_width: channels of the first level of the UNet.
        dice: weight of the Dice loss beside cross-entropy (segmentation).
        val_tiles, test_tiles: tiles of each patch that are evaluated; 0 means all, as it should be. The test
        set
            is always tiled, never randomly cropped.
        precision: "32", "bf16", "16" or "auto".
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
    evaluations: int = 20
    patience: int = 0
    lr_head: float = 1e-3
    lr_backbone: float = 1e-3
    weight_decay: float = 1e-4
    balanced: bool = True
    augment: bool = True
    cached_crops: int = 4
    dice: float = 0.0
    unet_width: int = 64
    val_tiles: int = 0
    test_tiles: int = 0
    precision: str = "auto"

    def __post_init__(self) -> None:
        positive(
            self, "image_size", "fraction", "updates", "batch_size", "evaluations", "lr_head", "cached_crops"
        )
        not_negative(
            self, "seed", "patience", "lr_backbone", "weight_decay", "dice", "val_tiles", "test_tiles"
        )
        one_of(self, "model", CLASSIFIERS + SEGMENTERS)
        one_of(self, "task", tuple(SELECT_BY))
        one_of(self, "mode", ("finetune", "frozen"))
        one_of(self, "precision", ("auto", "32", "bf16", "16"))
        if self.fraction > 1:
            raise ConfigError(f"fraction must lie in (0, 1], not {self.fraction:g}")
        if (self.task == "segment") != (self.model in SEGMENTERS):
            fits = SEGMENTERS if self.task == "segment" else CLASSIFIERS
            raise ConfigError(f"model {self.model} does not do task {self.task}; choose {' or '.join(fits)}")
        if self.mode == "frozen" and self.init == "scratch":
            raise ConfigError("a frozen backbone needs pretrained weights: give init a checkpoint folder")
        if self.model == "unet" and self.init != "scratch":
            raise ConfigError(
                "the UNet baseline is trained from scratch; use swin-unet with pretrained encoders"
            )

    @property
    def select_by(self) -> str:
        """The validation metric that chooses the weights."""
        return SELECT_BY[self.task]

    @property
    def eval_every(self) -> int:
        """Updates between two looks at validation."""
        return max(1, -(-self.updates // self.evaluations))

    @property
    def warmup(self) -> int:
        """Updates of linear warm-up."""
        return max(1, self.updates // 10)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from a mapping; raises `ConfigError` naming the nearest field for one that does not exist."""
        return cls(**coerce(cls, values))

    def with_(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return replace(self, **coerce(type(self), changes))

    def digest(self) -> str:
        """Twelve hex digits that change when any setting changes."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:12]
