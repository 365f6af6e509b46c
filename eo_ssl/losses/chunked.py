"""Sum a loss over blocks of anchors, so that memory grows with N and not with N²."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from eo_ssl.errors import ConfigError

BlockLoss = Callable[[slice, Tensor, Tensor], Tensor]

# Elements of one block of logits: about what stays in the cache of a CPU, and a fair share of a GPU's memory.
_BLOCK = {"cpu": 2**20, "cuda": 2**25}


class _SumOverChunks(torch.autograd.Function):
    """Loss and gradient of each block in one go; the block's logits are gone before the next begins."""

    @staticmethod
    def forward(ctx, block_loss: BlockLoss, chunk: int, anchors: Tensor, keys: Tensor) -> Tensor:
        wanted = any(ctx.needs_input_grad)
        total, keys_grad = 0.0, None
        # One place for all gradients: small tensors kept between the large blocks would scatter the memory.
        anchors_grad = torch.empty_like(anchors) if wanted and chunk < len(anchors) else None
        k = keys.detach().requires_grad_(wanted)
        for start in range(0, len(anchors), chunk):
            rows = slice(start, min(start + chunk, len(anchors)))
            a = anchors[rows].detach().requires_grad_(wanted)
            with torch.set_grad_enabled(wanted):
                loss = block_loss(rows, a, k)
            total = total + loss.detach()
            if wanted:
                grad, part = torch.autograd.grad(loss, (a, k))
                keys_grad = part if keys_grad is None else keys_grad.add_(part)
                if anchors_grad is None:
                    anchors_grad = grad
                else:
                    anchors_grad[rows] = grad
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

    The gradient is taken block by block during the forward pass (as in fused linear cross-entropy), so that a
    block's logits (chunk, N) are never stored: peak memory is linear in N, and nothing is computed twice.

    Shape: anchors (M, ...), keys (N, ...) → (). It can be differentiated once.
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
