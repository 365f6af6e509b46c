"""Heads: what stands on the features while they are pretrained."""

from torch import Tensor, nn


class ProjectionHead(nn.Module):
    """Linear – ReLU – Linear: the space in which the contrastive loss is taken, dropped afterwards.

    Shape: (B, dim) → (B, out). Source: Chen et al. (2020), section 4.2.
    """

    def __init__(self, dim: int, hidden: int | None = None, out: int = 128) -> None:
        super().__init__()
        hidden = hidden or dim
        self.layers = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, out))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
