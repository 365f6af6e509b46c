"""What a sample is: a co-located Sentinel-1/Sentinel-2 pair, or a whole Sentinel-2 scene."""

from dataclasses import dataclass
from datetime import date

import numpy as np

from eo_ssl.errors import DataError


@dataclass(frozen=True)
class Pair:
    """Both sensors over one place: s1 (2, H, W) dB, s2 (B, H, W) reflectance, float32 at 10 m."""

    name: str
    s1: np.ndarray
    s2: np.ndarray
    s2_bands: tuple[str, ...]
    labels: tuple[str, ...]
    eight: np.ndarray | None
    date: date | None
    s1_date: date | None
    country: str
    source: str
    season: str = ""
    cloud: bool = False
    snow: bool = False
    crs: str | None = None
    transform: tuple[float, ...] | None = None

    def band(self, name: str) -> np.ndarray:
        """One band (H, W) by name: reflectance for "B04", dB for "VV" or "VH"; `DataError` if absent."""
        if name in ("VV", "VH"):
            return self.s1[("VV", "VH").index(name)]
        if name not in self.s2_bands:
            raise DataError(f"{self.name}: no band {name}; the bands are {', '.join(self.s2_bands)}")
        return self.s2[self.s2_bands.index(name)]


@dataclass(frozen=True)
class Scene:
    """A Sentinel-2 scene: s2 (13, H, W) float32 reflectance at 10 m, with its place on Earth."""

    name: str
    s2: np.ndarray
    s2_bands: tuple[str, ...]
    crs: str
    transform: tuple[float, ...]
    source: str
