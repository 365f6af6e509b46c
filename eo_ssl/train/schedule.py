"""Learning rate and optimiser: warm-up and cosine counted in updates, decay only where it belongs."""

import math

import torch
from torch import nn

from eo_ssl.train.config import PretrainConfig


def learning_rate(step: int, steps: int, warmup: int, peak: float, floor: float) -> float:
    """Learning rate of update `step` (0-based) of `steps`.

    Linear from peak/warmup to peak over the first `warmup` updates, then
    floor + (peak − floor)·½(1 + cos(π·t)), where t runs from 0 to 1 at the last update.

    >>> [round(learning_rate(s, 6, 2, 1.0, 0.0), 3) for s in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.25, 0.0]
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    t = (step - warmup) / max(1, steps - warmup - 1)
    return floor + (peak - floor) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, t)))


def set_learning_rate(
    optimizer: torch.optim.Optimizer, config: PretrainConfig, step: int, per_epoch: int
) -> float:
    """Set the rate of update `step` in every parameter group and return it; call it before each update."""
    warmup = round(config.warmup_epochs * per_epoch)
    rate = learning_rate(step, config.epochs * per_epoch, warmup, config.lr, config.min_lr)
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate


def make_optimizer(config: PretrainConfig, model: nn.Module) -> torch.optim.Optimizer:
    """AdamW without decay on biases, norms and position tables; or Adam with decay on all, as published.

    One fused kernel does the update; fp16 needs the plain form, whose gradients can be unscaled and clipped.
    """
    options = {"lr": config.lr, "fused": config.precision != "16"}
    if config.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), weight_decay=config.weight_decay, **options)
    decayed, rest = [], []
    for name, parameter in model.named_parameters():
        plain = parameter.ndim < 2 or "relative_position_bias" in name
        (rest if plain else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], **options)
