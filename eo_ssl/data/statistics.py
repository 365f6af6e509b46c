"""Mean and standard deviation per band, from the training rows only; they travel with every checkpoint."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from eo_ssl.errors import DataError
from eo_ssl.sensors import S1_BANDS, S2_BANDS


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation per band: S1 in dB (VV, VH), S2 in reflectance (13 bands)."""

    s1_mean: tuple[float, ...]
    s1_std: tuple[float, ...]
    s2_mean: tuple[float, ...]
    s2_std: tuple[float, ...]
    s1_bands: tuple[str, ...] = S1_BANDS
    s2_bands: tuple[str, ...] = S2_BANDS

    def __post_init__(self) -> None:
        for sensor in ("s1", "s2"):
            mean, std, bands = (getattr(self, f"{sensor}_{part}") for part in ("mean", "std", "bands"))
            if not len(mean) == len(std) == len(bands):
                counts = f"{len(bands)} bands, {len(mean)} means, {len(std)} sds"
                raise DataError(f"statistics of {sensor}: {counts}")
            if not np.isfinite([*mean, *std]).all() or min(std) <= 0:
                raise DataError(f"statistics of {sensor}: means must be finite and sds positive")

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, ready for JSON."""
        return {key: list(value) for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Statistics":
        """Inverse of `to_dict`; raises `DataError` if a field is missing or unknown."""
        wrong = value.keys() ^ {field.name for field in fields(cls)}
        if wrong:
            raise DataError(f"statistics with missing or unknown fields: {', '.join(sorted(wrong))}")
        return cls(**{key: tuple(items) for key, items in value.items()})


@dataclass
class Sums:
    """Count, sum and sum of squares per band, (15,) float64: S1 dB, then S2 reflectance; they add up in any order."""

    count: np.ndarray
    total: np.ndarray
    square: np.ndarray

    @classmethod
    def zero(cls) -> "Sums":
        """Nothing counted yet."""
        return cls(*np.zeros((3, len(S1_BANDS) + len(S2_BANDS))))

    @classmethod
    def of(cls, s1: np.ndarray, s2: np.ndarray) -> "Sums":
        """Sums over one image: s1 (2, H, W) dB, s2 (13, H, W) reflectance; NaN pixels do not count."""
        pixels = np.concatenate([s1, s2]).reshape(len(s1) + len(s2), -1).astype(np.float64)  # (15, H·W)
        valid = np.isfinite(pixels)
        pixels[~valid] = 0
        return cls(valid.sum(1).astype(float), pixels.sum(1), np.einsum("cp,cp->c", pixels, pixels))

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(self.count + other.count, self.total + other.total, self.square + other.square)

    def statistics(self, of: str = "these images") -> Statistics:
        """Mean and population standard deviation, √(E[x²] − E[x]²); a constant band gets the deviation 1."""
        if not self.count.all():
            raise DataError(f"{of}: no valid pixel in at least one band; statistics need a training image")
        mean = self.total / self.count
        std = np.sqrt(np.maximum(self.square / self.count - mean**2, 0))
        std = np.where(std > 1e-6, std, 1.0)
        n = len(S1_BANDS)
        return Statistics(*(tuple(part.tolist()) for part in (mean[:n], std[:n], mean[n:], std[n:])))
