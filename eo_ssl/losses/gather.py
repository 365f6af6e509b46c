"""The one place where the losses talk to other processes: gather embeddings, average the loss.

Every rank holds n of the N = world·n pairs. It compares its own n anchors with all N keys, so that the work
is shared, not repeated. Two facts make the result equal to one process on the whole batch:

- a key's gradient is summed over the ranks that used it (the backward pass of `gather`);
- `DistributedDataParallel` then *averages* parameter gradients, which turns the mean over n anchors on each
  rank into the mean over all N. Nothing needs to be multiplied by the world size.
"""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from eo_ssl.errors import ConfigError


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


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx, loss: Tensor) -> Tensor:
        mean = loss.clone()
        dist.all_reduce(mean)
        return mean / world_size()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> Tensor:
        return grad  # each rank differentiates its own share; DDP averages


def gather(x: Tensor) -> Tensor:
    """Rows of all ranks, in the order of the ranks, with gradient; `x` itself in a single process.

    Shape: (n, ...) on every rank → (world·n, ...). Raises `ConfigError` where ranks hold unequal batches.
    """
    if world_size() == 1:
        return x
    sizes = [torch.zeros(1, dtype=torch.long, device=x.device) for _ in range(world_size())]
    dist.all_gather(sizes, torch.tensor([len(x)], device=x.device))
    if len(set(torch.cat(sizes).tolist())) > 1:
        raise ConfigError(
            f"ranks hold unequal batches ({torch.cat(sizes).tolist()} pairs); load data with drop_last=True"
        )
    return _Gather.apply(x.contiguous())


def mean_over_ranks(loss: Tensor) -> Tensor:
    """Mean of a scalar over the ranks; its gradient stays local, because DDP averages gradients."""
    return loss if world_size() == 1 else _Mean.apply(loss)
