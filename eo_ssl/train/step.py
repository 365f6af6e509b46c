"""One update of a contrastive method, at once or in micro-batches, with the same gradient.

Ordinary gradient accumulation would shrink the contrastive batch: each micro-batch would see only its own
negatives. Cached gradients (Gao et al. 2021, "Scaling deep contrastive learning batch size under memory
limited setup") keep it whole:

1. embed all micro-batches without keeping activations;
2. the loss of the *whole* batch gives dL/dz for every embedding;
3. embed each micro-batch again, with activations, and push its share of dL/dz back into the weights.

Two forward passes instead of one; memory of one micro-batch. Dropout and drop-path draw the same numbers
in both passes. BatchNorm takes its statistics from the micro-batch, so that with BatchNorm the gradient
is that of "ghost" batches of that size (frozen statistics, LayerNorm and GroupNorm give the exact
gradient); running statistics are updated once.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Views = dict[str, Tensor]
# Of all outputs of the model (two embeddings, or one tensor of logits), and the mask of false negatives.
WholeLoss = Callable[..., Tensor]


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
    them → ().
    """
    first = next(iter(views.values()))
    if not 0 < micro_batch < len(first):
        loss = loss_function(*_outputs(model, views), false_negatives)
        fabric.backward(loss)
        return loss.detach()
    parts = [
        {name: x[start : start + micro_batch] for name, x in views.items()}
        for start in range(0, len(first), micro_batch)
    ]
    embeddings, states = _embed_without_gradient(model, parts)
    loss, gradients = _embedding_gradients(loss_function, embeddings, false_negatives, micro_batch)
    for i, (part, gradient) in enumerate(zip(parts, gradients)):
        last = i == len(parts) - 1
        with fabric.no_backward_sync(model, enabled=not last), _replayed(states[i], first.device):
            # d(surrogate)/dw = dL/dz · dz/dw, and a scalar passes through the loss scaling of fp16.
            fabric.backward(sum((z * g).sum() for z, g in zip(_outputs(model, part), gradient)))
    return loss


def _outputs(model: nn.Module, views: Views) -> tuple[Tensor, ...]:
    found = model(views)
    return found if isinstance(found, tuple) else (found,)


@torch.no_grad()
def _embed_without_gradient(model: nn.Module, parts: list[Views]) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    """Embeddings of all parts, and the state of the random generator before each."""
    embedded, states = [], []
    with _running_statistics_kept(model):
        for part in parts:
            states.append(generator_state(next(iter(part.values())).device))
            embedded.append(_outputs(model, part))
    return tuple(torch.cat(z) for z in zip(*embedded)), states


def _embedding_gradients(
    loss_function: WholeLoss,
    embeddings: tuple[Tensor, ...],
    false_negatives: Tensor | None,
    micro_batch: int,
) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
    """Loss of the whole batch and dL/dz, cut into micro-batches."""
    leaves = tuple(z.detach().requires_grad_() for z in embeddings)
    loss = loss_function(*leaves, false_negatives)
    gradients = torch.autograd.grad(loss, leaves)
    return loss.detach(), list(zip(*(g.split(micro_batch) for g in gradients)))


def generator_state(device: torch.device) -> Tensor:
    """State of torch's random numbers on a device."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def set_generator_state(state: Tensor, device: torch.device) -> None:
    """Draw random numbers on a device as from `state`."""
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


@contextmanager
def _replayed(state: Tensor, device: torch.device) -> Iterator[None]:
    """Draw random numbers as from `state`, then go on as if nothing had been drawn."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        set_generator_state(state, device)
        yield


@contextmanager
def _running_statistics_kept(model: nn.Module) -> Iterator[None]:
    """Let BatchNorm use its batch statistics without moving its running ones (momentum 0)."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta):
            norm.momentum = momentum


def freeze_statistics(model: nn.Module) -> None:
    """Put every BatchNorm into eval mode; call it after `model.train()`, which would undo it."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()


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
    import numpy as np

    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))
