"""Augmentations that keep pixels where they belong: mirroring, rotation, crop and resize.

Every augmentation is a callable `batch, generator -> batch` on a batch dict: s1 (B, 2, H, W), s2
(B, 13, H, W), optionally mask and valid (B, H, W). It draws for each sample separately, returns a new
dict, and moves both sensors and the label map together, so that pixels stay co-located. The docstrings say
why each is valid for co-registered radar and optical images, or within which limits.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

Batch = dict[str, Tensor]
IMAGES = ("s1", "s2")
MAPS = ("mask", "valid")


class Augmentation(Protocol):
    """What all augmentations have in common."""

    def __call__(self, batch: Batch, generator: Generator) -> Batch: ...


class Compose:
    """Apply augmentations one after the other."""

    def __init__(self, steps: Sequence[Augmentation]) -> None:
        self.steps = tuple(steps)

    def __call__(self, batch: Batch, generator: Generator) -> Batch:
        for step in self.steps:
            batch = step(batch, generator)
        return batch


class Flip:
    """Mirror left–right and top–bottom, each with probability `p`.

    Valid for optical images: seen from above, no direction is special (shadows do point away from the sun,
    and a mirrored one points wrongly: a small lie). Less so for radar, which looks sideways: slopes facing
    the sensor are bright, and mirroring turns the look direction, as an ascending instead of a descending
    orbit would. At 10 m over mostly flat land the gain outweighs it; over mountains leave it out.
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def __call__(self, batch: Batch, generator: Generator) -> Batch:
        result = dict(batch)
        for axis in (-1, -2):
            chosen = uniform(batch, generator) < self.p  # (B,)
            for key in present(batch, IMAGES + MAPS):
                x = result[key]
                result[key] = torch.where(expand(chosen, x), x.flip(axis), x)
        return result


class Rotate90:
    """Rotate by a random multiple of 90°.

    Valid for the same reason as mirroring, and free of interpolation, so that texture and speckle keep
    their statistics; a rotation by any other angle would smooth the speckle and is not offered. It turns
    the radar's look direction by 90°, which no Sentinel-1 orbit does: street grids and furrows change
    brightness with it in reality, not here.
    """

    def __call__(self, batch: Batch, generator: Generator) -> Batch:
        turns = (uniform(batch, generator) * 4).long()  # (B,)
        result = dict(batch)
        for key in present(batch, IMAGES + MAPS):
            value = batch[key].clone()
            for k in (1, 2, 3):
                chosen = turns == k
                value[chosen] = torch.rot90(batch[key][chosen], k, (-2, -1))
            result[key] = value
        return result


class CropResize:
    """Cut a random square with `scale` times the area and resize it to the full size.

    Images are resampled bilinearly, label maps by the nearest neighbour. Valid within limits: land cover
    keeps its meaning, but ground resolution is physical. Fields have a size in metres, and stretching by
    two makes 10 m pixels look like 20 m ones and smooths the speckle. Keep the area above about a half
    (the default); the 8 % of natural-image recipes is not valid here. `label` and `multilabel` still
    describe the full crop.
    """

    def __init__(self, scale: tuple[float, float] = (0.5, 1.0)) -> None:
        self.scale = scale

    def __call__(self, batch: Batch, generator: Generator) -> Batch:
        low, high = self.scale
        side = (low + (high - low) * uniform(batch, generator)).sqrt()  # (B,) share of the width
        shift = [(1 - side) * (2 * uniform(batch, generator) - 1) for _ in range(2)]
        zero = torch.zeros_like(side)
        theta = torch.stack(
            [torch.stack([side, zero, shift[0]], 1), torch.stack([zero, side, shift[1]], 1)], 1
        )
        image = next(batch[key] for key in present(batch, IMAGES))
        grid = F.affine_grid(theta, [len(image), 1, *image.shape[-2:]], align_corners=False)  # (B, H, W, 2)
        result = dict(batch)
        for key in present(batch, IMAGES):
            result[key] = F.grid_sample(batch[key], grid, "bilinear", "border", align_corners=False)
        for key in present(batch, MAPS):
            near = F.grid_sample(batch[key][:, None].float(), grid, "nearest", "border", align_corners=False)
            result[key] = near[:, 0].to(batch[key].dtype)
        return result


def present(batch: Batch, keys: Sequence[str]) -> list[str]:
    """Those of `keys` that the batch has."""
    return [key for key in keys if key in batch]


def uniform(batch: Batch, generator: Generator, columns: int | None = None) -> Tensor:
    """Numbers in [0, 1) on the batch's device: (B,) or (B, columns), one draw per sample."""
    image = next(batch[key] for key in present(batch, IMAGES))
    shape = (len(image),) if columns is None else (len(image), columns)
    return torch.rand(shape, generator=generator, device=generator.device).to(image.device)


def expand(chosen: Tensor, like: Tensor) -> Tensor:
    """(B,) with as many trailing axes of length one as `like` has."""
    return chosen.view(-1, *[1] * (like.dim() - 1))
