"""Augmentations of the values: dropped bands, new speckle, other illumination; see `augment` for the form.

They need physical units. `statistics` says that the batch is standardised already (and undoes it in the
formula); without it the batch is in dB and reflectance.
"""

import math

import torch
import torch.nn.functional as F
from torch import Generator

from eo_ssl.data.augment import IMAGES, Batch, present, uniform
from eo_ssl.data.statistics import Statistics


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
        for key in present(batch, IMAGES):
            x = batch[key]
            draw = uniform(batch, generator, x.shape[1])  # (B, C)
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
        gain = torch.exp(span * (2 * uniform(batch, generator) - 1)).view(-1, 1, 1, 1)
        if self.ratio is None:
            return {**batch, "s2": s2 * gain}
        # z = (x − m) / s; scaling x by g gives g·z + (g − 1)·m/s.
        return {**batch, "s2": s2 * gain + (gain - 1) * self.ratio.to(s2.device).view(-1, 1, 1)}
