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


class PyramidHead(nn.Module):
    """Logits per pixel from a pyramid: each level through a 1×1 convolution, summed at the finest level.

    Shape: [(B, Cᵢ, Hᵢ, Wᵢ)] → (B, num_classes, H, W).
    Source: Kirillov et al. (2019), "Panoptic feature pyramid networks", without its 3×3 convolutions.
    """

    def __init__(self, channels: tuple[int, ...], num_classes: int = 8, width: int = 64) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.logits = nn.Conv2d(width, num_classes, 1)

    def forward(self, maps: list[Tensor], size: tuple[int, int]) -> Tensor:
        finest = maps[0].shape[2:]
        levels = [resize(conv(x), finest) for conv, x in zip(self.lateral, maps, strict=True)]
        x = torch.stack(levels).sum(0).relu()  # (B, width, H/4, W/4)
        return resize(self.logits(x), size)  # (B, num_classes, H, W)


def resize(x: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Bilinear, pixel centres aligned. Shape: (B, C, h, w) → (B, C, H, W)."""
    return nn.functional.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
