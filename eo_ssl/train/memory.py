"""Out of memory is no reason to stop: the update is made again in smaller pieces, with the same gradient.

One process: an update that does not fit leaves no trace (no gradient, no random number, no running
statistics) and is repeated with half the micro-batch, until it fits. Several processes cannot do so: the
others already wait for this one's embeddings or gradients. They find the micro-batch that fits all of them
before the first update, in a trial without any exchange.

`eo_ssl.train.step` says what a smaller micro-batch changes: nothing, but for BatchNorm, which takes its
statistics from the micro-batch, and for the random numbers of dropout and drop-path.
"""

from collections.abc import Callable
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from eo_ssl.errors import ConfigError
from eo_ssl.train.step import Views, WholeLoss, backward_pass, generator_state, set_generator_state

SMALLEST = 2  # pairs: BatchNorm has no statistics of one value


class _Before:
    """What an update changes before the optimiser steps: random numbers and running statistics."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.device, self.state = device, generator_state(device)
        norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.training]
        buffers = [buffer for norm in norms for buffer in norm.buffers()]
        self.copies = [(buffer, buffer.clone()) for buffer in buffers]

    def restore(self, model: nn.Module) -> None:
        """Undo the update and give the memory back."""
        model.zero_grad(set_to_none=True)
        for buffer, copy in self.copies:
            buffer.copy_(copy)
        set_generator_state(self.state, self.device)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def frugal_backward(
    fabric: Fabric,
    model: nn.Module,
    loss_function: WholeLoss,
    views: Views,
    false_negatives: Tensor | None,
    micro_batch: int,
    say: Callable[[str], None],
) -> tuple[Tensor, int]:
    """`backward_pass`, repeated with smaller micro-batches while it runs out of memory.

    Returns the loss and the micro-batch that fitted (0: all at once), to be used from then on. Gradients
    must be empty before. Raises `ConfigError` where not even two samples at a time fit.
    """
    size = len(next(iter(views.values())))
    while True:
        before = _Before(model, fabric.device) if fabric.world_size == 1 else None
        try:
            loss = backward_pass(fabric, model, loss_function, views, false_negatives, micro_batch)
            return loss, micro_batch
        except torch.OutOfMemoryError as error:
            if before is None:
                raise ConfigError(
                    f"a GPU ran out of memory at micro_batch {micro_batch or size}; start again with "
                    f"micro_batch={smaller(micro_batch, size)}: the run goes on from the last epoch"
                ) from error
        before.restore(model)  # after the handler: its traceback holds on to the activations
        micro_batch = smaller(micro_batch, size)
        say(shrunk(micro_batch, size))


def smaller(micro_batch: int, size: int) -> int:
    """Half the micro-batch; raises `ConfigError` where that would be less than two.

    >>> smaller(0, 200), smaller(25, 200)
    (100, 12)
    """
    half = min(micro_batch or size, size) // 2
    if half < SMALLEST:
        raise ConfigError(
            "out of memory with only two or three samples at a time; take a smaller image_size or backbone, "
            "or close what else uses the GPU"
        )
    return half


def shrunk(micro_batch: int, size: int) -> str:
    """What is said to the reader."""
    return (
        f"out of memory: going on with micro-batches of {micro_batch}; the batch of {size} and its gradient "
        "stay as they are (BatchNorm sees a micro-batch at a time)"
    )


def agree(fabric: Fabric, trial: Callable[[int], Any], micro_batch: int, size: int) -> int:
    """The largest micro-batch whose `trial` fits on all ranks; the same on each.

    `trial(micro_batch)` must not talk to other ranks; every rank must call this at the same time.
    """
    while True:
        fits = True
        try:
            trial(micro_batch)
        except torch.OutOfMemoryError:
            fits = False
        if fabric.device.type == "cuda":
            torch.cuda.empty_cache()
        short = fabric.all_reduce(torch.tensor(float(not fits), device=fabric.device), reduce_op="sum")
        if not float(short):
            return micro_batch
        micro_batch = smaller(micro_batch, size)


def rehearse(fabric: Fabric, model: nn.Module, views: Views, micro_batch: int) -> None:
    """Forward and backward pass of one micro-batch without any exchange, leaving no trace.

    `model` is the bare module: the one that Fabric has wrapped would talk to the other ranks.
    """
    part = {name: x[: micro_batch or len(x)] for name, x in views.items()}
    before = _Before(model, fabric.device)
    try:
        with fabric.autocast():
            outputs = model(part)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        sum(z.float().square().sum() for z in outputs).backward()
    finally:
        before.restore(model)
