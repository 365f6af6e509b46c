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
                raise DataError(
                    f"statistics of {sensor}: {len(bands)} bands, {len(mean)} means, {len(std)} sds"
                )
            if not all(np.isfinite(mean)) or not all(np.isfinite(std)) or min(std) <= 0:
                raise DataError(
                    f"statistics of {sensor}: means must be finite and standard deviations positive"
                )

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, ready for JSON."""
        return {key: list(value) for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Statistics":
        """Inverse of `to_dict`; raises `DataError` if a field is missing or unknown."""
        names = {field.name for field in fields(cls)}
        if set(value) != names:
            wrong = ", ".join(sorted(set(value) ^ names))
            raise DataError(f"statistics with missing or unknown fields: {wrong}")
        return cls(**{key: tuple(items) for key, items in value.items()})


@dataclass
class Sums:
    """Running count, sum and sum of squares per band, (15,) float64: S1 dB, then S2 reflectance.

    Sums of float64 squares of values of order 10 lose nothing that matters over 10¹² pixels, and they
    add up in any order across patches, shards and machines.
    """

    count: np.ndarray
    total: np.ndarray
    square: np.ndarray

    @classmethod
    def zero(cls) -> "Sums":
        """Nothing counted yet."""
        bands = len(S1_BANDS) + len(S2_BANDS)
        return cls(np.zeros(bands), np.zeros(bands), np.zeros(bands))

    @classmethod
    def of(cls, s1: np.ndarray, s2: np.ndarray) -> "Sums":
        """Sums over one image: s1 (2, H, W) dB, s2 (13, H, W) reflectance; NaN pixels do not count."""
        parts = [_sums(s1), _sums(s2)]
        return cls(*(np.concatenate(pair) for pair in zip(*parts)))

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(self.count + other.count, self.total + other.total, self.square + other.square)

    def statistics(self, of: str = "these images") -> Statistics:
        """Mean and population standard deviation; a constant band gets the standard deviation 1."""
        if not self.count.all():
            raise DataError(f"{of}: no valid pixel in at least one band; statistics need a training image")
        mean = self.total / self.count
        std = np.sqrt(np.maximum(self.square / self.count - mean**2, 0))
        std = np.where(std > 1e-6, std, 1.0)
        n = len(S1_BANDS)
        split = [tuple(part.tolist()) for part in (mean[:n], std[:n], mean[n:], std[n:])]
        return Statistics(*split)


def _sums(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    flat = image.reshape(len(image), -1).astype(np.float64)  # (C, H·W)
    valid = np.isfinite(flat)
    if valid.all():
        return np.full(len(flat), float(flat.shape[1])), flat.sum(1), np.einsum("cp,cp->c", flat, flat)
    flat = np.where(valid, flat, 0.0)
    return valid.sum(1).astype(np.float64), flat.sum(1), np.einsum("cp,cp->c", flat, flat)
