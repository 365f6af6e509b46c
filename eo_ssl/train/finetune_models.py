"""From a `FinetuneConfig` to a model, its input statistics and its groups of learning rates."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from eo_ssl.data.transforms import Normalise, Statistics
from eo_ssl.errors import CheckpointError, ConfigError
from eo_ssl.files import sha256
from eo_ssl.models.dual import DualEncoder
from eo_ssl.models.fusion import Classifier, StackedEncoder, make_classifier
from eo_ssl.models.swin_unet import SwinUNet
from eo_ssl.models.unet import UNet
from eo_ssl.sensors import NUM_CLASSES, RGB, S1_BANDS, S2_BANDS, band_index
from eo_ssl.train.checkpoint import load_dual
from eo_ssl.train.finetune_config import FinetuneConfig
from eo_ssl.train.step import seeded

Batch = dict[str, Tensor]
NEEDS = {"s1": {"s1"}, "s2": {"s2"}, "early": set(), "late": {"s1", "s2"}, "swin-unet": {"s1", "s2"}}


@dataclass(frozen=True)
class Downstream:
    """A model on its device, and `prepare`, which turns a batch of physical units into its input."""

    model: nn.Module
    prepare: Callable[[Batch], Batch]
    statistics: Statistics
    pretrained: str  # method of the checkpoint, "" from scratch


def build(config: FinetuneConfig, source: Any, device: torch.device) -> Downstream:
    """Model with weights drawn from `config.seed`, encoders from `config.init`, frozen if asked for.

    From scratch the inputs are standardised with the statistics of the labelled training split; a pretrained
    encoder keeps those it was trained with. Raises `CheckpointError` when the checkpoint lacks a sensor.
    """
    with seeded(config.seed, 7):
        if config.init == "scratch":
            model, statistics, meta = architecture(config), source.stats("train"), {}
        else:
            model, statistics, meta = _pretrained(config)
    model.to(device)
    if config.mode == "frozen":
        model.freeze()
    prepare = Prepare(statistics, device, rgb=meta.get("config", {}).get("bands") == "rgb")
    return Downstream(model, prepare, statistics, meta.get("method", ""))


def architecture(config: FinetuneConfig) -> nn.Module:
    """The model with fresh weights; pretrained encoders fit into the same one."""
    if config.model == "unet":
        return UNet(len(S1_BANDS) + len(S2_BANDS), NUM_CLASSES, config.unet_width)
    if config.model == "swin-unet":
        pair = make_classifier("late", config.backbone, config.image_size).backbone
        return SwinUNet(pair.s1, pair.s2, NUM_CLASSES)
    return make_classifier(config.model, config.backbone, config.image_size, NUM_CLASSES)


def _pretrained(config: FinetuneConfig) -> tuple[nn.Module, Statistics, dict[str, Any]]:
    dual, meta = load_dual(config.init)
    encoders = {"s1": dual.s1, "s2": dual.s2}
    if not NEEDS.get(config.model):
        raise ConfigError(f"no pretraining fits model {config.model}; use s1, s2, late or swin-unet")
    missing = [name for name in sorted(NEEDS[config.model]) if encoders[name] is None]
    if missing:
        raise CheckpointError(
            f"{config.init}: no encoder for {', '.join(missing)}, which {config.model} needs"
        )
    for encoder in encoders.values():
        if encoder is not None and encoder.name != config.backbone:
            raise CheckpointError(f"{config.init}: backbone is {encoder.name}, not {config.backbone}")
    statistics = Statistics.from_dict(meta["statistics"])
    if config.model == "swin-unet":
        return SwinUNet(dual.s1, dual.s2, NUM_CLASSES), statistics, meta
    if config.model == "late":
        return Classifier(DualEncoder(dual.s1, dual.s2), NUM_CLASSES), statistics, meta
    return Classifier(StackedEncoder(encoders[config.model], (config.model,)), NUM_CLASSES), statistics, meta


class Prepare:
    """Move a batch to the device and standardise it; with `rgb` all other bands are 0."""

    def __init__(self, statistics: Statistics, device: torch.device, rgb: bool = False) -> None:
        self.normalise, self.device = Normalise(statistics), device
        self.keep = torch.ones(len(S2_BANDS), 1, 1, device=device)
        if rgb:
            self.keep.zero_()[band_index(RGB)] = 1.0
        self.rgb = rgb

    def __call__(self, batch: Batch) -> Batch:
        batch = self.normalise({name: value.to(self.device) for name, value in batch.items()})
        return {**batch, "s2": batch["s2"] * self.keep} if self.rgb else batch


def parameter_groups(model: nn.Module, config: FinetuneConfig) -> list[dict[str, Any]]:
    """Backbone and head with their own peak rate, biases and norms without decay; frozen weights in none.

    From scratch there is nothing to protect: every layer learns at `lr_head`.
    """
    backbone = {id(p) for p in model.backbone_parameters()} if config.init != "scratch" else set()
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            rate = config.lr_backbone if id(parameter) in backbone else config.lr_head
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": p, "lr": r, "peak": r, "weight_decay": d} for (r, d), p in groups.items()]


def init_stamp(init: str) -> str:
    """Identifies the weights a model starts from: "scratch", or the checksum of the checkpoint's weights."""
    if init == "scratch":
        return init
    path = Path(init) / "model.safetensors"
    if not path.is_file():
        raise CheckpointError(f"{init}: no checkpoint here; pretrain first")
    return sha256(path)[:16]
