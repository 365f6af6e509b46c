"""What all contrastive losses share: several processes, checked inputs, false negatives, blocks of logits.

Every rank holds n of the N = world·n pairs and compares its n anchors with all N keys. The result equals one
process on the whole batch, because a key's gradient is summed over the ranks that used it (`gather`) and
`DistributedDataParallel` averages parameter gradients: the mean over n anchors becomes the mean over all N.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from eo_ssl.errors import ConfigError, EOError

BlockLoss = Callable[[slice, Tensor, Tensor], Tensor]

# Logits of a block: what the cache of a CPU holds, a fair share of a GPU's memory.
_BLOCK = {"cpu": 2**20, "cuda": 2**25}


class NonFiniteError(EOError, ValueError):
    """A loss or score of NaN or infinity: the embeddings, maps or logits held such a value."""


# Several processes


def world_size() -> int:
    """Number of processes, 1 where `torch.distributed` is not running."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, 0 where `torch.distributed` is not running."""
    return dist.get_rank() if world_size() > 1 else 0


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(world_size())]
        dist.all_gather(parts, x)
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> Tensor:
        grad = grad.contiguous().clone()
        dist.all_reduce(grad)  # the sum over all ranks that used this rank's rows as keys
        return grad.chunk(world_size())[rank()]


def gather(x: Tensor) -> Tensor:
    """Rows of all ranks, in the order of the ranks, with gradient; `x` itself in a single process.

    Shape: (n, ...) on every rank → (world·n, ...). Raises `ConfigError` where ranks hold unequal batches.
    """
    if world_size() == 1:
        return x
    parts = [torch.zeros(1, dtype=torch.long, device=x.device) for _ in range(world_size())]
    dist.all_gather(parts, torch.tensor([len(x)], device=x.device))
    sizes = torch.cat(parts).tolist()
    if len(set(sizes)) > 1:
        raise ConfigError(f"ranks hold unequal batches ({sizes} pairs); load data with drop_last=True")
    return _Gather.apply(x.contiguous())


def mean_over_ranks(loss: Tensor) -> Tensor:
    """Mean of a scalar over the ranks; its gradient stays local, because DDP averages gradients."""
    if world_size() == 1:
        return loss
    mean = loss.detach().clone()
    dist.all_reduce(mean)
    return loss + (mean / world_size() - loss.detach())


# Inputs


def check_pairs(x1: Tensor, x2: Tensor, temperature: float | Tensor, dims: int = 2) -> None:
    """Raise `ConfigError` unless x1, x2 are two floating tensors of N ≥ 2 pairs and temperature > 0."""
    want = "(N, D)" if dims == 2 else "(N, E, h, w)"
    for x in (x1, x2):
        if x.ndim != dims or not x.is_floating_point():
            raise ConfigError(f"both inputs must be floating {want}, got {x.dtype} {tuple(x.shape)}")
    if x1.shape[:2] != x2.shape[:2]:  # the maps of two sensors may differ in height and width
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


def without_partners(false_negatives: Tensor | None, pairs: int) -> Tensor | None:
    """The mask of pairs that are no negatives, checked; a patch and itself are never marked.

    Shape: symmetric (N, N) bool, with several processes this rank's rows of it, (n, world·n) → the same.
    """
    if false_negatives is None:
        return None
    shape = (pairs, pairs * world_size())
    if false_negatives.shape != shape or false_negatives.dtype != torch.bool:
        found = f"{false_negatives.dtype} {tuple(false_negatives.shape)}"
        raise ConfigError(f"false_negatives must be {shape} bool, got {found}")
    itself = torch.arange(pairs, device=false_negatives.device)[:, None]
    return false_negatives.scatter(1, rank() * pairs + itself, False)


# Blocks of logits


class _SumOverChunks(torch.autograd.Function):
    """Loss and gradient of each block in one go; the block's logits are gone before the next begins."""

    @staticmethod
    def forward(ctx, block_loss: BlockLoss, chunk: int, anchors: Tensor, keys: Tensor) -> Tensor:
        wanted = any(ctx.needs_input_grad)
        total = 0.0
        # One place for all gradients: small tensors kept between the large blocks would scatter the memory.
        anchors_grad, keys_grad = (torch.zeros_like(x) if wanted else None for x in (anchors, keys))
        k = keys.detach().requires_grad_(wanted)
        for start in range(0, len(anchors), chunk):
            rows = slice(start, min(start + chunk, len(anchors)))
            a = anchors[rows].detach().requires_grad_(wanted)
            with torch.set_grad_enabled(wanted):
                loss = block_loss(rows, a, k)
            total = total + loss.detach()
            if wanted:
                anchors_grad[rows], part = torch.autograd.grad(loss, (a, k))
                keys_grad += part
        if wanted:
            ctx.save_for_backward(anchors_grad, keys_grad)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[None, None, Tensor, Tensor]:
        anchors_grad, keys_grad = ctx.saved_tensors
        return None, None, grad * anchors_grad, grad * keys_grad


def sum_over_chunks(block_loss: BlockLoss, anchors: Tensor, keys: Tensor, chunk: int) -> Tensor:
    """Σ over blocks of `block_loss(rows, anchors[rows], keys)`, with its exact gradient.

    The gradient is taken during the forward pass (as in fused linear cross-entropy), so that a block's logits
    (chunk, N) are never stored: peak memory is linear in N, nothing is computed twice, and it can be
    differentiated once. Shape: anchors (M, ...), keys (N, ...) → ().
    """
    return _SumOverChunks.apply(block_loss, chunk, anchors, keys)


def chunk_rows(chunk: int | None, row_elements: int, device: torch.device) -> int:
    """Rows a block: `chunk` where given, else as many as fit the device's block size.

    >>> chunk_rows(None, 2**16, torch.device("cpu"))
    16
    """
    if chunk is not None and chunk < 1:
        raise ConfigError(f"chunk must be at least 1 row, got {chunk}")
    return chunk or max(1, _BLOCK.get(device.type, _BLOCK["cuda"]) // max(1, row_elements))


def chance_level(others: np.ndarray, same_sensor: bool = True) -> float:
    """Loss of pure guessing, mean log of the number of candidates, in nats.

    `others` (N, N) bool marks the pairs that count as negatives (False on the diagonal). NT-Xent has a candidate
    per view (`same_sensor`), CLIP and MMA only those of the other sensor.

    >>> float(np.exp(chance_level(~np.eye(4, dtype=bool))).round(3))
    7.0
    """
    return float(np.log1p(others.sum(1) * (2 if same_sensor else 1)).mean())
