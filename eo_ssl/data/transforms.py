"""Normalisation and augmentations of a batch, on the batch's device.

Every augmentation is a callable `batch, generator -> batch` on a batch dict: s1 (B, 2, H, W), s2 (B, 13, H, W),
optionally mask and valid (B, H, W). It draws for each sample separately and returns a new dict. Those that change
values work in dB and reflectance, or, given the `statistics`, on a standardised batch. The docstrings say why each is
valid for co-registered radar and optical images, or within which limits.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from eo_ssl.data.source import Affine
from eo_ssl.data.statistics import Statistics

Batch = dict[str, Tensor]
Augmentation = Callable[[Batch, Generator], Batch]
IMAGES = ("s1", "s2")
MAPS = ("mask", "valid")


class Normalise:
    """Standardise both sensors band by band, z = (x − mean) / sd, with the training statistics.

    S2 of another product `level` than that of the statistics is converted first (`eo_ssl.sensors.level_change`).

    s1 (B, 2, H, W) in dB and s2 (B, 13, H, W) in reflectance, or a single sample without the batch dimension, become
    unitless in a new dict; other entries are passed on. Invalid pixels (NaN) are filled with the band mean, that is 0.
    """

    def __init__(self, statistics: Statistics, level: str = "L1C") -> None:
        affine = Affine.standardise(statistics, level)  # (C, 1, 1) each
        self.scale = {"s1": torch.from_numpy(affine.s1_scale), "s2": torch.from_numpy(affine.s2_scale)}
        self.shift = {"s1": torch.from_numpy(affine.s1_shift), "s2": torch.from_numpy(affine.s2_shift)}

    def __call__(self, batch: Batch) -> Batch:
        result = dict(batch)
        for key in _present(batch, IMAGES):
            value = batch[key] * self.scale[key].to(batch[key].device)
            value += self.shift[key].to(value.device)
            # The dataset adds `valid` whenever an image has a NaN: without it there is none to fill.
            result[key] = value.nan_to_num_(nan=0.0) if "valid" in batch else value
        return result


@dataclass(frozen=True)
class Compose:
    """Apply augmentations one after the other."""

    steps: Sequence[Augmentation]

    def __call__(self, batch: Batch, generator: Generator) -> Batch:
        for step in self.steps:
            batch = step(batch, generator)
        return batch


@dataclass(frozen=True)
class Flip:
    """Mirror left–right and top–bottom, each with probability `p`.

    Valid for optical images: seen from above, no direction is special (but shadows then point wrongly: a small lie).
    Less so for radar, which looks sideways: slopes facing the sensor are bright, and mirroring turns the look
    direction, as an ascending instead of a descending orbit would. Over mountains leave it out.
    """

    p: float = 0.5

    def __call__(self, batch: Batch, generator: Generator) -> Batch:
        result = dict(batch)
        for axis in (-1, -2):
            chosen = _uniform(batch, generator) < self.p  # (B,)
            for key in _present(batch, IMAGES + MAPS):
                x = result[key]
                result[key] = torch.where(chosen.view(-1, *[1] * (x.dim() - 1)), x.flip(axis), x)
        return result


class Rotate90:
    """Rotate by a random multiple of 90°.

    Valid for the same reason as mirroring, and free of interpolation, so that texture and speckle keep their
    statistics; any other angle would smooth the speckle. It turns the radar's look direction by 90°, which no
    Sentinel-1 orbit does: street grids and furrows change brightness with it in reality, not here.
    """

    def __call__(self, batch: Batch, generator: Generator) -> Batch:
        turns = (_uniform(batch, generator) * 4).long()  # (B,)
        result = dict(batch)
        for key in _present(batch, IMAGES + MAPS):
            value = batch[key].clone()
            for k in (1, 2, 3):
                value[turns == k] = torch.rot90(batch[key][turns == k], k, (-2, -1))
            result[key] = value
        return result


@dataclass(frozen=True)
class CropResize:
    """Cut a random square with `scale` times the area and resize it to the full size.

    Images are resampled bilinearly, label maps by the nearest neighbour; `label` and `multilabel` still describe the
    full crop. Valid within limits: land cover keeps its meaning, but ground resolution is physical, and stretching by
    two makes 10 m pixels look like 20 m ones and smooths the speckle. Keep the area above about a half (the default);
    the 8 % of natural-image recipes is not valid here.
    """

    scale: tuple[float, float] = (0.5, 1.0)

    def __call__(self, batch: Batch, generator: Generator) -> Batch:
        low, high = self.scale
        side = (low + (high - low) * _uniform(batch, generator)).sqrt()  # (B,) share of the width
        right, down = ((1 - side) * (2 * _uniform(batch, generator) - 1) for _ in range(2))
        zero = torch.zeros_like(side)
        theta = torch.stack([side, zero, right, zero, side, down], 1).view(-1, 2, 3)
        image = batch[_present(batch, IMAGES)[0]]
        grid = F.affine_grid(theta, [len(image), 1, *image.shape[-2:]], align_corners=False)  # (B, H, W, 2)
        result = dict(batch)
        for key in _present(batch, IMAGES + MAPS):
            x = batch[key] if key in IMAGES else batch[key][:, None].float()
            how = "bilinear" if key in IMAGES else "nearest"
            moved = F.grid_sample(x, grid, how, "border", align_corners=False)
            result[key] = moved.view_as(batch[key]).to(batch[key].dtype)
        return result


@dataclass(frozen=True)
class BandDrop:
    """Replace each band by a constant, its mean, with probability `p`; at least one band per sensor stays.

    Valid: it teaches not to lean on one band, as when B10 is missing (Level-2A), a polarisation was not recorded or a
    band is saturated. It imitates nothing on the ground. In physical units the mean is that over the batch.
    """

    p: float = 0.1
    statistics: Statistics | None = None

    def __call__(self, batch: Batch, generator: Generator) -> Batch:
        result = dict(batch)
        for key in _present(batch, IMAGES):
            x = batch[key]
            draw = _uniform(batch, generator, x.shape[1])  # (B, C)
            drop = (draw < self.p) & (draw < draw.max(1, keepdim=True).values)
            fill = torch.zeros_like(x[:1, :, :1, :1]) if self.statistics else x.nanmean((0, 2, 3), True)
            result[key] = torch.where(drop[:, :, None, None], fill, x)
        return result


@dataclass(frozen=True)
class Speckle:
    """Multiply the radar power by new, spatially correlated speckle of `looks` looks.

    Valid: speckle is the one part of a radar image that another pass over unchanged ground would draw anew. It comes
    on top, 1/L' ≈ 1/L + 1/looks, so keep `looks` above that of the data (about 5). Power is gamma distributed; its
    logarithm is drawn as a Gaussian with the same standard deviation, (10 / ln 10) · √ψ′(looks) dB, a good likeness
    above about four looks, smoothed over three pixels for a lag-1 correlation of 0.7, as in Sentinel-1 GRD.
    """

    looks: float = 10.0
    statistics: Statistics | None = None

    def __call__(self, batch: Batch, generator: Generator) -> Batch:
        if "s1" not in batch:
            return batch
        s1 = batch["s1"]
        b, c, h, w = s1.shape
        noise = torch.randn(b * c, 1, h + 2, w + 2, generator=generator, device=generator.device)
        noise = noise.to(s1.device)
        line = torch.tensor([0.6, 1.0, 0.6], device=s1.device)
        line = line / line.norm()  # keeps the variance
        noise = F.conv2d(F.conv2d(noise, line.view(1, 1, 1, 3)), line.view(1, 1, 3, 1)).view(b, c, h, w)
        trigamma = torch.polygamma(1, torch.tensor(self.looks).double()).item()
        sd = torch.tensor(self.statistics.s1_std if self.statistics else (1.0, 1.0), device=s1.device)
        scale = 10 / math.log(10) * math.sqrt(trigamma) / sd  # (2,)
        return {**batch, "s1": s1 + noise * scale.view(-1, 1, 1)}


@dataclass(frozen=True)
class Illumination:
    """Multiply the reflectance of all bands by one factor per sample, log-uniform within ± `strength`.

    Valid for optical images: sun height and slope scale all bands of a scene nearly alike, so that the shape of the
    spectrum is kept; changing bands one by one (colour jitter) would turn one cover into another. Not valid for radar,
    which brings its own light: σ⁰ is calibrated, and scaling it means moister or rougher ground.
    """

    strength: float = 0.2
    statistics: Statistics | None = None

    def __call__(self, batch: Batch, generator: Generator) -> Batch:
        if "s2" not in batch:
            return batch
        s2 = batch["s2"]
        span = math.log1p(self.strength)
        gain = torch.exp(span * (2 * _uniform(batch, generator) - 1)).view(-1, 1, 1, 1)
        # z = (x − m) / s; scaling x by g gives g·z + (g − 1)·m/s.
        known = self.statistics
        ratio = torch.tensor(known.s2_mean) / torch.tensor(known.s2_std) if known else torch.zeros(1)
        return {**batch, "s2": s2 * gain + (gain - 1) * ratio.to(s2.device).view(-1, 1, 1)}


def _present(batch: Batch, keys: Sequence[str]) -> list[str]:
    """Those of `keys` that the batch has."""
    return [key for key in keys if key in batch]


def _uniform(batch: Batch, generator: Generator, *columns: int) -> Tensor:
    """Numbers in [0, 1) on the batch's device, (B, *columns): one draw per sample."""
    image = batch[_present(batch, IMAGES)[0]]
    return torch.rand(len(image), *columns, generator=generator, device=generator.device).to(image.device)
