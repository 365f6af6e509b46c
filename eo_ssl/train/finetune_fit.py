"""The one training loop of all downstream models: the same budget, schedule and selection for each."""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from eo_ssl.errors import EOError
from eo_ssl.train.finetune_config import FinetuneConfig
from eo_ssl.train.memory import frugal_backward
from eo_ssl.train.resume import load_state, save_state
from eo_ssl.train.schedule import learning_rate
from eo_ssl.train.step import seeded

Batch = dict[str, Tensor]
# Batch number `step`, ready for the model; a pure function of the step, so that a resumed run sees the same.
Batches = Callable[[int], Batch]
# Validation metrics of the model as it is now.
Validate = Callable[[], dict[str, Any]]


@dataclass
class Fit:
    """What training chose: the update with the best validation score, and every look at validation."""

    score: float = -1.0
    step: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    stopped: bool = False
    micro_batch: int = 0  # samples at a time, where the memory did not hold a batch
    seconds: float = 0.0  # in updates, without the looks at validation


def fit(
    fabric: Fabric,
    model: nn.Module,
    groups: list[dict[str, Any]],
    loss_of: Callable[[Tensor, Batch], Tensor],
    batches: Batches,
    validate: Validate,
    config: FinetuneConfig,
    state: Path | None = None,
    save_seconds: float = 60.0,
) -> Fit:
    """Train for `config.updates` updates and leave the best validated weights in `model`.

    With a `state` folder the run can be killed and called again: it goes on from the last look at validation
    and ends with the same weights (CPU); the state is written every `save_seconds` at most. Raises `EOError`
    when the loss is no longer finite.
    """
    # Fused: a tenth faster where the network is small; fp16 needs the gradients unscaled in between.
    optimiser = torch.optim.AdamW(groups, fused=config.precision != "16")
    wrapped, optimiser = fabric.setup(model, optimiser)
    found, best, start = _resume(state, model, optimiser)
    saved = began = time.monotonic()
    for step in range(start, config.updates):
        if found.stopped:
            break
        loss = update(fabric, wrapped, optimiser, loss_of, batches, config, step, found)
        if (step + 1) % config.eval_every and step + 1 < config.updates:
            continue
        if not torch.isfinite(loss):
            raise EOError(f"the loss is {float(loss)} after {step + 1} updates; lower the learning rate")
        found.seconds += time.monotonic() - began
        model.eval()
        improved = _look(found, validate(), config, step + 1, float(loss))
        if improved:
            best = _copy(model)
        if state is not None:
            saved = _save(state, saved, save_seconds, step + 1, model, optimiser, best, found)
        began = time.monotonic()
    model.load_state_dict(best)
    model.eval()
    return found


def update(
    fabric: Fabric,
    model: Any,
    optimiser: Any,
    loss_of: Callable[[Tensor, Batch], Tensor],
    batches: Batches,
    config: FinetuneConfig,
    step: int,
    found: Fit,
) -> Tensor:
    """One update; drop-path and dropout draw numbers that depend on seed and step only.

    Where the memory does not hold the batch, it is taken in parts from then on, with the same gradient.
    """
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(step, config.updates, config.warmup, group["peak"], 0.0)
    model.train()
    optimiser.zero_grad(set_to_none=True)
    with seeded(config.seed, step, 3):
        batch = batches(step)
        loss, found.micro_batch = frugal_backward(
            fabric, model, lambda logits, _: loss_of(logits, batch), batch, None, found.micro_batch, _say
        )
    fabric.clip_gradients(model, optimiser, max_norm=1.0, error_if_nonfinite=False)
    optimiser.step()
    return loss.detach()


def _say(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=2)


def _look(found: Fit, metrics: dict[str, Any], config: FinetuneConfig, step: int, loss: float) -> bool:
    """Write down a look at validation; True if it is the best so far."""
    score = metrics[config.select_by]
    if score is None:
        raise EOError(f"validation has no labels for {config.select_by}; the model cannot be chosen")
    found.history.append({"step": step, "loss": loss, config.select_by: score})
    if score > found.score:
        found.score, found.step, found.metrics = score, step, metrics
        return True
    waited = (step - found.step) // config.eval_every
    found.stopped = bool(config.patience) and waited >= config.patience
    return False


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _save(state: Path, saved: float, wait: float, step: int, model: nn.Module, *rest: Any) -> float:
    """Write the state unless the last one is younger than `wait` seconds; the time of the last one."""
    if time.monotonic() - saved < wait:
        return saved
    optimiser, best, found = rest
    save_state(state, step, _copy(model), best, {"optimiser": optimiser.state_dict(), "found": vars(found)})
    return time.monotonic()


def _resume(state: Path | None, model: nn.Module, optimiser: Any) -> tuple[Fit, dict[str, Tensor], int]:
    """Weights, optimiser and record of the last look, or a fresh start."""
    loaded = load_state(state) if state is not None else None
    if loaded is None:
        return Fit(), _copy(model), 0
    weights, best, rest = loaded
    model.load_state_dict(weights)
    optimiser.load_state_dict(rest["optimiser"])
    found = Fit(**rest["found"])
    return found, best, int(found.history[-1]["step"])
