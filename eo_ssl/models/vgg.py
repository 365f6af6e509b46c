"""The VGG-style encoder of MMA: a feature map, not a vector."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn


def _block(in_chans: int, out_chans: int) -> nn.Sequential:
    """(conv 3×3 – batch norm – ReLU) twice."""
    layers: list[nn.Module] = []
    for chans in (in_chans, out_chans):
        layers += [
            nn.Conv2d(chans, out_chans, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_chans),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


class VGG(nn.Module):
    """Four blocks with a 2×2 max-pool between them: maps at stride 1, 2, 4 and 8.

    Shape: (B, in_chans, H, W) → (B, E, H/8, W/8). Source: Windsor et al. (2021), code.
    """

    def __init__(self, in_chans: int, channels: tuple[int, ...] = (64, 128, 256, 128)) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_block(a, b) for a, b in pairwise((in_chans, *channels)))
        self.num_features = channels[-1]
        self.feature_info = [{"num_chs": c, "reduction": 2**i} for i, c in enumerate(channels)]

    def forward_intermediates(self, x: Tensor, **_: object) -> list[Tensor]:
        """Maps of all blocks, the finest first (the interface of timm)."""
        maps = [self.blocks[0](x)]
        for block in self.blocks[1:]:
            maps.append(block(F.max_pool2d(maps[-1], 2)))  # (B, C, H/2, W/2)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_intermediates(x)[-1].mean((2, 3))  # (B, E)
