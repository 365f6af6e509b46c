"""Heads: what stands on the features."""

import torch
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


class LinearHead(nn.Linear):
    """Logits for one label (softmax) or several (sigmoid). Shape: (B, dim) → (B, num_classes)."""


class MapHead(nn.Module):
    """Logits per pixel from the maps of an encoder: 1×1 convolution, then bilinear to the image's size.

    Shape: (B, dim, h, w) → (B, num_classes, H, W).
    """

    def __init__(self, dim: int, num_classes: int = 8) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, num_classes, 1)

    def forward(self, maps: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
        return nn.functional.interpolate(
            self.conv(maps), size=tuple(size), mode="bilinear", align_corners=False
        )
