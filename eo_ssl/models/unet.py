"""The classic UNet: the baseline every segmentation model has to beat."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eo_ssl.models.dual import SENSORS, Batch
from eo_ssl.models.encoders import DoubleConv
from eo_ssl.models.fusion import BANDS, stack
from eo_ssl.sensors import NUM_CLASSES


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until H and W divide. Shape: (B, C, H, W) → (B, C, H', W')."""
    h, w = x.shape[2:]
    pad = (0, -w % multiple, 0, -h % multiple)
    return F.pad(x, pad, mode="replicate") if any(pad) else x


class UNet(nn.Module):
    """Four times down, four times up, a skip at every level; nothing in it is pretrained.

    It reads the bands of both sensors (a missing one is zeros, the training mean). The levels have
    width·(1, 2, 4, 8, 16) channels; 64 is the classic width (31 M parameters).

    Shape: batch → (B, 8, H, W) logits, for any H and W (padded to a multiple of 16, then cropped).
    Source: Ronneberger et al. (2015), with padding, batch norm and bilinear upsampling.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        c = [width * 2**i for i in range(5)]
        self.stem = DoubleConv(sum(BANDS.values()), c[0])
        self.down = nn.ModuleList(DoubleConv(c[i], c[i + 1]) for i in range(4))
        self.up = nn.ModuleList(DoubleConv(c[i + 1] + c[i], c[i]) for i in reversed(range(4)))
        self.head = nn.Conv2d(c[0], NUM_CLASSES, 1)
        self.to(memory_format=torch.channels_last)

    def forward(self, batch: Batch) -> Tensor:
        image = stack(batch, SENSORS)  # (B, 15, H, W)
        h, w = image.shape[2:]
        x = pad_to_multiple(image, 16).contiguous(memory_format=torch.channels_last)
        skips = [self.stem(x)]
        for block in self.down:
            skips.append(block(F.max_pool2d(skips[-1], 2)))  # (B, 2C, H/2, W/2)
        x = skips.pop()
        for block in self.up:
            skip = skips.pop()
            up = F.interpolate(x, size=skip.shape[2:], mode="bilinear", align_corners=False)  # (B, C, 2H, 2W)
            x = block(torch.cat([skip, up], dim=1))  # (B, C/2, 2H, 2W)
        return self.head(x)[:, :, :h, :w]
