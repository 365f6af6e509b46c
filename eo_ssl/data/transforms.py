"""Normalisation of a batch, on the batch's device; the augmentations are re-exported here."""

import torch
from torch import Tensor

from eo_ssl.data.augment import Augmentation, Compose, CropResize, Flip, Rotate90
from eo_ssl.data.radiometry import BandDrop, Illumination, Speckle
from eo_ssl.data.statistics import Statistics

__all__ = [
    "Augmentation",
    "BandDrop",
    "Compose",
    "CropResize",
    "Flip",
    "Illumination",
    "Normalise",
    "Rotate90",
    "Speckle",
    "Statistics",
]

Batch = dict[str, Tensor]


class Normalise:
    """Standardise both sensors band by band, z = (x − mean) / sd, with the training statistics.

    Takes and returns a batch dict; the result is a new dict on the same device, other entries are passed on
    as they are. Invalid pixels (NaN) are filled with the band mean, that is with 0 after standardisation.
    Works on a single sample without the batch dimension as well. s1 (B, 2, H, W) in dB, s2 (B, 13, H, W)
    in reflectance become unitless.
    """

    def __init__(self, statistics: Statistics) -> None:
        self.statistics = statistics
        self._cache: dict[torch.device, dict[str, tuple[Tensor, Tensor]]] = {}

    def __call__(self, batch: Batch) -> Batch:
        result = dict(batch)
        for key in ("s1", "s2"):
            if key in batch:
                scale, shift = self._affine(batch[key].device)[key]
                value = batch[key] * scale
                value += shift
                # The dataset adds `valid` whenever an image has a NaN: without it there is none to fill.
                result[key] = value.nan_to_num_(nan=0.0) if "valid" in batch else value
        return result

    def _affine(self, device: torch.device) -> dict[str, tuple[Tensor, Tensor]]:
        if device not in self._cache:
            self._cache[device] = {key: self._pair(key, device) for key in ("s1", "s2")}
        return self._cache[device]

    def _pair(self, key: str, device: torch.device) -> tuple[Tensor, Tensor]:
        mean = torch.tensor(getattr(self.statistics, f"{key}_mean"), dtype=torch.float64)
        std = torch.tensor(getattr(self.statistics, f"{key}_std"), dtype=torch.float64)
        pair = (1 / std, -mean / std)
        return tuple(x.to(torch.float32).view(-1, 1, 1).to(device) for x in pair)  # type: ignore[return-value]
