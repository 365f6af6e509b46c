"""What every contrastive loss asks of its inputs, and float32 inside autocast."""

import math
from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F
from torch import Tensor

from eo_ssl.errors import ConfigError, EOError
from eo_ssl.losses.gather import world_size


class NonFiniteError(EOError, ValueError):
    """A loss of NaN or infinity: the embeddings or maps held such a value."""


def check_pairs(x1: Tensor, x2: Tensor, temperature: float | Tensor, dims: int = 2) -> None:
    """Raise `ConfigError` unless x1, x2 are two floating tensors of N ≥ 2 pairs and temperature > 0."""
    for name, x in (("first", x1), ("second", x2)):
        if x.ndim != dims or not x.is_floating_point():
            want = "(N, D)" if dims == 2 else "(N, E, h, w)"
            raise ConfigError(f"the {name} input must be floating {want}, got {x.dtype} {tuple(x.shape)}")
    if x1.shape[:2] != x2.shape[:2] or (dims == 2 and x1.shape != x2.shape):
        raise ConfigError(f"the two inputs must pair up, got shapes {tuple(x1.shape)} and {tuple(x2.shape)}")
    if len(x1) * world_size() < 2:
        raise ConfigError(f"a contrastive loss needs at least 2 pairs for a negative, got {len(x1)}")
    tau = float(temperature.detach() if isinstance(temperature, Tensor) else temperature)
    if not (math.isfinite(tau) and tau > 0):
        raise ConfigError(f"temperature must be a number above 0, got {tau}")


def checked(loss: Tensor) -> Tensor:
    """The loss itself; raises `NonFiniteError` where it is NaN or infinite, on all ranks alike.

    Not on a GPU, which would have to be waited for in every update: there the training loop looks, now and then.
    """
    if loss.device.type != "cuda" and not bool(torch.isfinite(loss)):
        raise NonFiniteError(
            f"the loss is {float(loss.detach())}: the embeddings hold NaN or infinite values"
        )
    return loss


def full_precision(x: Tensor) -> AbstractContextManager:
    """Switch autocast off: similarities divided by a small temperature do not fit half precision."""
    return torch.autocast(x.device.type, enabled=False)


def unit(x: Tensor) -> Tensor:
    """Length 1 over dimension 1, in float32 (float64 stays): x / ‖x‖. Shape: (N, D, ...) → the same."""
    return F.normalize(x if x.dtype == torch.float64 else x.float(), dim=1)
