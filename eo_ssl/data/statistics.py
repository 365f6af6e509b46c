"""Mean and standard deviation per band, from the training rows only; they travel with every checkpoint."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from eo_ssl.errors import DataError
from eo_ssl.sensors import S1_BANDS, S2_BANDS, level_change


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation per band: S1 in dB (VV, VH), S2 in reflectance (13 bands) of a product level."""

    s1_mean: tuple[float, ...]
    s1_std: tuple[float, ...]
    s2_mean: tuple[float, ...]
    s2_std: tuple[float, ...]
    s1_bands: tuple[str, ...] = S1_BANDS
    s2_bands: tuple[str, ...] = S2_BANDS
    level: str = "L1C"

    def __post_init__(self) -> None:
        for sensor in ("s1", "s2"):
            mean, std, bands = (getattr(self, f"{sensor}_{part}") for part in ("mean", "std", "bands"))
            if not len(mean) == len(std) == len(bands):
                counts = f"{len(bands)} bands, {len(mean)} means, {len(std)} sds"
                raise DataError(f"statistics of {sensor}: {counts}")
            if not np.isfinite([*mean, *std]).all() or min(std) <= 0:
                raise DataError(f"statistics of {sensor}: means must be finite and sds positive")
        level_change(self.level, self.level)  # refuses one that does not exist

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, ready for JSON."""
        return {key: value if key == "level" else list(value) for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Statistics":
        """Inverse of `to_dict`; without a level it is L1C. Raises `DataError` for a missing or unknown field."""
        value = {"level": "L1C"} | dict(value)
        wrong = value.keys() ^ {field.name for field in fields(cls)}
        if wrong:
            raise DataError(f"statistics with missing or unknown fields: {', '.join(sorted(wrong))}")
        return cls(**{key: items if key == "level" else tuple(items) for key, items in value.items()})

    @classmethod
    def from_sums(cls, sums: np.ndarray, of: str = "these images") -> "Statistics":
        """Mean and population standard deviation, √(E[x²] − E[x]²), from `band_sums`; of a constant band 1.

        Raises `DataError` naming what the sums are `of` where a band has no valid pixel.
        """
        count, total, square = sums
        if not count.all():
            raise DataError(f"{of}: no valid pixel in at least one band; statistics need a training image")
        mean = total / count
        std = np.sqrt(np.maximum(square / count - mean**2, 0))
        std = np.where(std > 1e-6, std, 1.0)
        n = len(S1_BANDS)
        return cls(*(tuple(part.tolist()) for part in (mean[:n], std[:n], mean[n:], std[n:])))


NO_SUMS = np.zeros((3, len(S1_BANDS) + len(S2_BANDS)))


def band_sums(s1: np.ndarray, s2: np.ndarray) -> np.ndarray:
    """Count, sum and sum of squares of the valid pixels (not NaN) of each band, (3, 15) float64; images add up.

    s1 (2, H, W) in dB, s2 (13, H, W) in reflectance.
    """
    pixels = np.concatenate([s1, s2]).reshape(len(s1) + len(s2), -1).astype(np.float64)  # (15, H·W)
    valid = np.isfinite(pixels)
    pixels[~valid] = 0
    return np.stack([valid.sum(1), pixels.sum(1), np.einsum("cp,cp->c", pixels, pixels)])
