"""Downstream models: what stands on the encoders, its inputs, its learning rates, and how it is kept on disk."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard
from torch import Tensor, nn

from eo_ssl.data.statistics import Statistics
from eo_ssl.data.transforms import Normalise
from eo_ssl.errors import CheckpointError, ConfigError
from eo_ssl.files import sha256
from eo_ssl.models.fusion import Classifier, StackedEncoder, make_classifier
from eo_ssl.models.swin_unet import SwinUNet
from eo_ssl.models.unet import UNet
from eo_ssl.sensors import CLASS_NAMES
from eo_ssl.train.checkpoint import SavedModel, load_dual, read_model
from eo_ssl.train.config import FRESH, FinetuneConfig
from eo_ssl.train.methods import only_rgb
from eo_ssl.train.step import decay_groups, seeded

Batch = dict[str, Tensor]
NEEDS = {"s1": ["s1"], "s2": ["s2"], "late": ["s1", "s2"], "swin-unet": ["s1", "s2"]}  # pretrained encoders


class Downstream(nn.Module, SavedModel):
    """A trained or trainable `model`, and `prepare`, which turns a batch of physical units into its input.

    All arguments but `model` are plain values and go into config.json, from which the model is rebuilt without
    the checkpoint it started from; `pretrained` is the method of that checkpoint, "" from scratch; with `rgb` all
    other bands are 0; `level` is the product level of the batches.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        statistics: dict[str, Any],
        pretrained: str = "",
        rgb: bool = False,
        model: nn.Module | None = None,
        level: str = "L1C",
    ) -> None:
        super().__init__()
        self.config, self.statistics = FinetuneConfig.from_dict(settings), Statistics.from_dict(statistics)
        self.pretrained = pretrained
        self.model = model if model is not None else architecture(self.config)
        self.rgb, self.level, self.device = rgb, level, torch.device("cpu")

    def prepare(self, batch: Batch, level: str = "") -> Batch:
        """A batch of physical units, of the own product level or another, on the device and standardised."""
        normalise = Normalise(self.statistics, level or self.level)
        batch = normalise({name: value.to(self.device) for name, value in batch.items()})
        return {**batch, "s2": only_rgb(batch["s2"])} if self.rgb else batch

    def forward(self, batch: Batch) -> Tensor:
        """Logits of a batch in physical units. Shape: s1 (B, 2, H, W), s2 (B, 13, H, W) → (B, K[, H, W])."""
        return self.model(self.prepare(batch))

    def to(self, device: torch.device | str) -> "Downstream":  # type: ignore[override]
        """Model and inputs on another device."""
        self.device = torch.device(device)
        return super().to(device)

    def saved(self) -> nn.Module:
        return self.model

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        c = self.config
        return ModelCard(
            f"---\nlibrary_name: eo_ssl\nlicense: mit\n---\n# {c.model} · {c.task}\n\n"
            f"Land cover from Sentinel-1 and Sentinel-2, trained on {c.fraction:.0%} of the labels, starting from "
            f"{self.pretrained or 'scratch'}; classes: {', '.join(CLASS_NAMES)}.\n\n"
            '`Downstream.from_pretrained("path/to/this/folder")`\n'
        )


def architecture(config: FinetuneConfig) -> nn.Module:
    """The model with fresh weights; pretrained encoders fit into the same one."""
    if config.model == "unet":
        return UNet(config.unet_width)
    if config.model == "swin-unet":
        pair = make_classifier("late", config.backbone, config.image_size).backbone
        return SwinUNet(pair.s1, pair.s2)
    return make_classifier(config.model, config.backbone, config.image_size)


def build(config: FinetuneConfig, source: Any, device: torch.device | str) -> Downstream:
    """Model with weights drawn from `config.seed`, encoders from `config.init`, frozen if asked for.

    With fresh weights inputs are standardised with the statistics of the labelled training split, otherwise with those of
    the checkpoint. Raises `CheckpointError` where that lacks a sensor.
    """
    with seeded(config.seed, 7):
        if config.init in FRESH:
            model, pretrained, rgb = architecture(config), "", False
            statistics = source.stats("train").to_dict()
        else:
            model, meta = _pretrained(config)
            pretrained, rgb = meta["method"], meta["config"].get("bands") == "rgb"
            statistics = meta["statistics"]
    down = Downstream(config.to_dict(), statistics, pretrained, rgb, model, source.level)
    if config.mode == "frozen":
        down.model.backbone.freeze()
    return down.to(device)


def _pretrained(config: FinetuneConfig) -> tuple[nn.Module, dict[str, Any]]:
    dual, meta = load_dual(config.init)
    if config.model not in NEEDS:
        raise ConfigError(f"no pretraining fits model {config.model}; use {', '.join(NEEDS)}")
    if missing := [name for name in NEEDS[config.model] if getattr(dual, name) is None]:
        raise CheckpointError(f"{config.init}: no encoder for {', '.join(missing)}; {config.model} needs it")
    if meta["backbone"] != config.backbone:
        raise CheckpointError(f"{config.init}: backbone is {meta['backbone']}, not {config.backbone}")
    if config.model == "swin-unet":
        return SwinUNet(dual.s1, dual.s2), meta
    if config.model == "late":
        return Classifier(dual), meta
    return Classifier(StackedEncoder(getattr(dual, config.model), (config.model,))), meta


def init_stamp(init: str) -> str:
    """Identifies the weights a model starts from: "scratch", "untrained", or the checksum of a checkpoint's weights."""
    if init in FRESH:
        return init
    path = Path(init) / "model.safetensors"
    if not path.is_file():
        raise CheckpointError(f"{init}: no checkpoint here; pretrain first")
    return sha256(path)[:16]


def load_trained(folder: str | Path, device: torch.device | str = "cpu") -> tuple[Downstream, FinetuneConfig]:
    """A model that `finetune` kept, in eval mode; raises `CheckpointError` if it is missing or broken."""
    down = read_model(Downstream, folder)
    return down.to(device), down.config


def parameter_groups(model: nn.Module, config: FinetuneConfig) -> list[dict[str, Any]]:
    """Backbone and head with their own peak rate, biases, norms and position tables without decay.

    From scratch there is nothing to protect: every layer learns at `lr_head`.
    """
    apart = config.init != "scratch" and config.lr_backbone != config.lr_head
    pretrained, new = [], []
    for name, parameter in model.named_parameters():
        (pretrained if apart and name.startswith("backbone.") else new).append((name, parameter))
    groups = []
    for rate, part in ((config.lr_backbone, pretrained), (config.lr_head, new)):
        groups += decay_groups(part, config.weight_decay, lr=rate, peak=rate)
    return groups


def ensemble(members: Sequence[Downstream]) -> Callable[[Batch], Tensor]:
    """Mean probability of trained models, each on its own inputs, as log-probabilities (B, K) or (B, K, H, W)."""

    @torch.no_grad()
    def forward(batch: Batch) -> Tensor:
        mean = torch.stack([member(batch).float().softmax(1) for member in members]).mean(0)
        return mean.clamp_min(torch.finfo(mean.dtype).tiny).log()

    return forward
