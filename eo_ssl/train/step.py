"""One update: gradients of a contrastive batch, at once or in micro-batches, learning rate, optimiser, seeds.

Ordinary gradient accumulation would show each micro-batch only its own negatives. Cached gradients (Gao et al. 2021,
"Scaling deep contrastive learning batch size under memory limited setup") keep the batch whole:

1. embed all micro-batches without keeping activations;
2. the loss of the *whole* batch gives dL/dz for every embedding;
3. embed each micro-batch again, with activations, and push its share of dL/dz back into the weights.

Two forward passes instead of one; memory of one micro-batch. Dropout and drop-path draw the same numbers in both
passes. BatchNorm takes its statistics from the micro-batch ("ghost" batches; frozen statistics, LayerNorm and
GroupNorm give the exact gradient); running statistics are updated once.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from eo_ssl.errors import ConfigError

Views = dict[str, Tensor]
Named = tuple[str, nn.Parameter]
WholeLoss = Callable[..., Tensor]  # of all outputs of the model (two embeddings, or logits), and the mask


def backward_pass(
    fabric: Fabric,
    model: nn.Module,
    loss_function: WholeLoss,
    views: Views,
    false_negatives: Tensor | None = None,
    micro_batch: int = 0,
) -> Tensor:
    """Add the gradient of the loss of N pairs, z1, z2 = model(views), to the weights; return the loss.

    A model with one output works alike. Shape: views {name: (N, ...)}, false_negatives as the loss takes
    them → (). Raises `ConfigError` that names a smaller `micro_batch` where the memory does not suffice.
    """
    size = len(next(iter(views.values())))
    try:
        if not 0 < micro_batch < size:
            loss = loss_function(*_outputs(model, views), false_negatives)
            fabric.backward(loss)
            return loss.detach()
        parts = [dict(zip(views, part)) for part in zip(*(x.split(micro_batch) for x in views.values()))]
        embeddings, states = _embed_without_gradient(model, parts)
        leaves = tuple(z.detach().requires_grad_() for z in embeddings)
        loss = loss_function(*leaves, false_negatives)  # of the whole batch
        gradients = zip(*(g.split(micro_batch) for g in torch.autograd.grad(loss, leaves)))
        for i, (part, gradient) in enumerate(zip(parts, gradients)):
            with (
                fabric.no_backward_sync(model, enabled=i < len(parts) - 1),
                _replayed(states[i], loss.device),
            ):
                # d(surrogate)/dw = dL/dz · dz/dw
                fabric.backward(sum((z * g).sum() for z, g in zip(_outputs(model, part), gradient)))
        return loss.detach()
    except torch.OutOfMemoryError as error:
        raise ConfigError(out_of_memory(micro_batch, size)) from error


def out_of_memory(micro_batch: int, size: int) -> str:
    """What to do when so many samples at a time are too many.

    >>> out_of_memory(0, 200)[:62]
    'out of memory with 200 samples at a time: set micro_batch=100 '
    """
    now = min(micro_batch or size, size)
    if now < 4:  # BatchNorm has no statistics of one value
        return f"out of memory with only {now} samples at a time: take a smaller image_size or backbone"
    return (
        f"out of memory with {now} samples at a time: set micro_batch={now // 2} and start again; the batch of "
        f"{size} and its gradient stay whole, and the run goes on from its last saved state"
    )


def _outputs(model: nn.Module, views: Views) -> tuple[Tensor, ...]:
    found = model(views)
    return found if isinstance(found, tuple) else (found,)


@torch.no_grad()
def _embed_without_gradient(model: nn.Module, parts: list[Views]) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    """Embeddings of all parts, and the state of the random generator before each.

    With momentum 0 BatchNorm uses its batch statistics without moving its running ones.
    """
    on_gpu = next(iter(parts[0].values())).device.type == "cuda"
    norms = {norm: norm.momentum for norm in model.modules() if isinstance(norm, _BatchNorm)}
    embedded, states = [], []
    try:
        for norm in norms:
            norm.momentum = 0.0
        for part in parts:
            states.append(torch.cuda.get_rng_state() if on_gpu else torch.get_rng_state())
            embedded.append(_outputs(model, part))
    finally:
        for norm, momentum in norms.items():
            norm.momentum = momentum
    return tuple(torch.cat(z) for z in zip(*embedded)), states


@contextmanager
def _replayed(state: Tensor, device: torch.device) -> Iterator[None]:
    """Draw random numbers as from `state`, then go on as if nothing had been drawn."""
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        (torch.cuda if on_gpu else torch).set_rng_state(state)
        yield


def freeze_statistics(model: nn.Module) -> None:
    """Put every BatchNorm into eval mode; call it after `model.train()`, which would undo it."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()


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


def decay_groups(parameters: Iterable[Named], weight_decay: float, **options: Any) -> list[dict[str, Any]]:
    """Parameter groups for AdamW: decay on matrices and kernels, none on biases, norms and position tables.

    `options` go into each group; parameters without gradient are left out.
    """
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in parameters:
        if parameter.requires_grad:
            groups[parameter.ndim > 1 and "relative_position_bias" not in name].append(parameter)
    return [
        {"params": group, "weight_decay": weight_decay if decayed else 0.0, **options}
        for decayed, group in groups.items()
        if group
    ]


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Draw torch's random numbers in the block as a function of `key`, and leave the caller's stream alone.

    An epoch that is run again after a kill thus sees the same drop-path and augmentations.

    >>> with seeded(0, 1):
    ...     a = torch.rand(1)
    >>> with seeded(0, 1):
    ...     a == torch.rand(1)
    tensor([True])
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if torch.cuda.is_available() else []):
        torch.manual_seed(mixed_seed(*key))
        yield


def mixed_seed(*key: int) -> int:
    """One 63-bit seed from several numbers, well mixed.

    >>> mixed_seed(0, 1) == mixed_seed(0, 1), mixed_seed(0, 1) == mixed_seed(1, 0)
    (True, False)
    """
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))
