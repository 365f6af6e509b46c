"""Normalisation and augmentations of a batch, on the batch's device.

Every augmentation is a callable `batch, generator -> batch` on a batch dict: s1 (B, 2, H, W), s2 (B, 13, H, W),
optionally mask and valid (B, H, W). It draws for each sample separately and returns a new dict. `Flip`, `Rotate90` and
`CropResize` move both sensors and the label map together, so that pixels stay co-located. `BandDrop`, `Speckle` and
`Illumination` change values and need physical units: `statistics` says that the batch is standardised already (and
undoes it in the formula); without it the batch is in dB and reflectance. The docstrings say why each is valid for
co-registered radar and optical images, or within which limits.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from eo_ssl.data.statistics import Statistics

Batch = dict[str, Tensor]
IMAGES = ("s1", "s2")
MAPS = ("mask", "valid")


class Normalise:
    """Standardise both sensors band by band, z = (x − mean) / sd, with the training statistics.

    Takes and returns a batch dict; the result is a new dict on the same device, other entries are passed on
    as they are. Invalid pixels (NaN) are filled with the band mean, that is with 0 after standardisation.
    Works on a single sample without the batch dimension as well. s1 (B, 2, H, W) in dB, s2 (B, 13, H, W)
    in reflectance become unitless.
    """

    def __init__(self, statistics: Statistics) -> None:
        self.statistics = statistics
        self._cache: dict[tuple[str, torch.device], list[Tensor]] = {}

    def __call__(self, batch: Batch) -> Batch:
        result = dict(batch)
        for key in ("s1", "s2"):
            if key in batch:
                scale, shift = self._affine(key, batch[key].device)
                value = batch[key] * scale
                value += shift
                # The dataset adds `valid` whenever an image has a NaN: without it there is none to fill.
                result[key] = value.nan_to_num_(nan=0.0) if "valid" in batch else value
        return result

    def _affine(self, key: str, device: torch.device) -> list[Tensor]:
        """Scale and shift (C, 1, 1) of a sensor; computed once per device, in double precision."""
        if (key, device) not in self._cache:
            known = (getattr(self.statistics, f"{key}_{part}") for part in ("mean", "std"))
            mean, std = (torch.tensor(values, dtype=torch.float64) for values in known)
            pair = (1 / std, -mean / std)
            self._cache[key, device] = [x.to(torch.float32).view(-1, 1, 1).to(device) for x in pair]
        return self._cache[key, device]


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
            chosen = _uniform(batch, generator) < self.p  # (B,)
            for key in _present(batch, IMAGES + MAPS):
                x = result[key]
                result[key] = torch.where(_expand(chosen, x), x.flip(axis), x)
        return result


class Rotate90:
    """Rotate by a random multiple of 90°.

    Valid for the same reason as mirroring, and free of interpolation, so that texture and speckle keep
    their statistics; a rotation by any other angle would smooth the speckle and is not offered. It turns
    the radar's look direction by 90°, which no Sentinel-1 orbit does: street grids and furrows change
    brightness with it in reality, not here.
    """

    def __call__(self, batch: Batch, generator: Generator) -> Batch:
        turns = (_uniform(batch, generator) * 4).long()  # (B,)
        result = dict(batch)
        for key in _present(batch, IMAGES + MAPS):
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
        side = (low + (high - low) * _uniform(batch, generator)).sqrt()  # (B,) share of the width
        shift = [(1 - side) * (2 * _uniform(batch, generator) - 1) for _ in range(2)]
        zero = torch.zeros_like(side)
        theta = torch.stack(
            [torch.stack([side, zero, shift[0]], 1), torch.stack([zero, side, shift[1]], 1)], 1
        )
        image = next(batch[key] for key in _present(batch, IMAGES))
        grid = F.affine_grid(theta, [len(image), 1, *image.shape[-2:]], align_corners=False)  # (B, H, W, 2)
        result = dict(batch)
        for key in _present(batch, IMAGES):
            result[key] = F.grid_sample(batch[key], grid, "bilinear", "border", align_corners=False)
        for key in _present(batch, MAPS):
            near = F.grid_sample(batch[key][:, None].float(), grid, "nearest", "border", align_corners=False)
            result[key] = near[:, 0].to(batch[key].dtype)
        return result


class BandDrop:
    """Replace each band by a constant, its mean, with probability `p`; at least one band per sensor stays.

    Valid: it teaches not to lean on one band, as when B10 is missing (Level-2A), a polarisation was not
    recorded or a band is saturated. It imitates nothing on the ground. The constant is 0 in a
    standardised batch (give `statistics`), otherwise the mean of the band over the batch.
    """

    def __init__(self, p: float = 0.1, statistics: Statistics | None = None) -> None:
        self.p = p
        self.statistics = statistics

    def __call__(self, batch: Batch, generator: Generator) -> Batch:
        result = dict(batch)
        for key in _present(batch, IMAGES):
            x = batch[key]
            draw = _uniform(batch, generator, x.shape[1])  # (B, C)
            drop = (draw < self.p) & (draw < draw.max(1, keepdim=True).values)
            fill = torch.zeros((), device=x.device) if self.statistics else x.nanmean((0, 2, 3), keepdim=True)
            result[key] = torch.where(drop[:, :, None, None], fill.to(x.dtype), x)
        return result


class Speckle:
    """Multiply the radar power by new, spatially correlated speckle of `looks` looks.

    Valid: speckle is the one part of a radar image that another pass over unchanged ground would draw
    anew. What is added comes on top, 1/L' ≈ 1/L + 1/looks, so keep `looks` above that of the data (about
    5). Power is gamma distributed; its logarithm is drawn as a Gaussian with the same standard deviation,
    (10 / ln 10) · √ψ′(looks) dB, a good likeness above about four looks, smoothed over three pixels for a
    lag-1 correlation of 0.7, as measured in Sentinel-1 GRD. White noise would be wrong.
    """

    def __init__(self, looks: float = 10.0, statistics: Statistics | None = None) -> None:
        self.sigma = 10 / math.log(10) * math.sqrt(torch.polygamma(1, torch.tensor(looks).double()).item())
        self.std = None if statistics is None else torch.tensor(statistics.s1_std)

    def __call__(self, batch: Batch, generator: Generator) -> Batch:
        if "s1" not in batch:
            return batch
        s1 = batch["s1"]
        b, c, h, w = s1.shape
        noise = torch.randn(b * c, 1, h + 2, w + 2, generator=generator, device=generator.device).to(
            s1.device
        )
        line = torch.tensor([0.6, 1.0, 0.6], device=s1.device)
        line = line / line.norm()  # keeps the variance
        noise = F.conv2d(F.conv2d(noise, line.view(1, 1, 1, 3)), line.view(1, 1, 3, 1)).view(b, c, h, w)
        scale = self.sigma if self.std is None else (self.sigma / self.std.to(s1.device)).view(-1, 1, 1)
        return {**batch, "s1": s1 + noise * scale}


class Illumination:
    """Multiply the reflectance of all bands by one factor per sample, log-uniform within ± `strength`.

    Valid for optical images: sun height and slope scale all bands of a scene nearly alike, so that the
    shape of the spectrum is kept; changing bands one by one (colour jitter) would turn one cover into
    another. Not valid for radar, which brings its own light: σ⁰ is calibrated, and scaling it means
    moister or rougher ground, so S1 is left alone.
    """

    def __init__(self, strength: float = 0.2, statistics: Statistics | None = None) -> None:
        self.strength = strength
        pair = None if statistics is None else (statistics.s2_mean, statistics.s2_std)
        self.ratio = None if pair is None else torch.tensor(pair[0]) / torch.tensor(pair[1])

    def __call__(self, batch: Batch, generator: Generator) -> Batch:
        if "s2" not in batch:
            return batch
        s2 = batch["s2"]
        span = math.log1p(self.strength)
        gain = torch.exp(span * (2 * _uniform(batch, generator) - 1)).view(-1, 1, 1, 1)
        if self.ratio is None:
            return {**batch, "s2": s2 * gain}
        # z = (x − m) / s; scaling x by g gives g·z + (g − 1)·m/s.
        return {**batch, "s2": s2 * gain + (gain - 1) * self.ratio.to(s2.device).view(-1, 1, 1)}


def _present(batch: Batch, keys: Sequence[str]) -> list[str]:
    """Those of `keys` that the batch has."""
    return [key for key in keys if key in batch]


def _uniform(batch: Batch, generator: Generator, columns: int | None = None) -> Tensor:
    """Numbers in [0, 1) on the batch's device: (B,) or (B, columns), one draw per sample."""
    image = next(batch[key] for key in _present(batch, IMAGES))
    shape = (len(image),) if columns is None else (len(image), columns)
    return torch.rand(shape, generator=generator, device=generator.device).to(image.device)


def _expand(chosen: Tensor, like: Tensor) -> Tensor:
    """(B,) with as many trailing axes of length one as `like` has."""
    return chosen.view(-1, *[1] * (like.dim() - 1))
