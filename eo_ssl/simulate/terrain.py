"""Terrain: elevation, slopes, and where water gathers."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from eo_ssl.simulate.noise import Fields
from eo_ssl.simulate.ground import river_bank


@dataclass(frozen=True)
class Terrain:
    """Elevation in metres, its gradient (rise per metre east and south), and distance to a river bank.

    `bank` is in pixels, negative in the water; `wetness` is a smooth standardised index, high in valleys.
    """

    elevation: np.ndarray
    east: np.ndarray
    south: np.ndarray
    bank: np.ndarray
    wetness: np.ndarray

    @property
    def slope(self) -> np.ndarray:
        """Steepest rise per metre."""
        return np.hypot(self.east, self.south)


def make_terrain(rng: np.random.Generator, fields: Fields, relief: float, river: float) -> Terrain:
    """Terrain with `relief` metres of standard deviation and a river up to `river` pixels wide."""
    n = fields.n
    # Rounded hills, and ridges where a field changes sign; lengths in metres do not depend on the scene's size.
    shape = fields(140, 4.6) - 0.6 * np.abs(fields(80, 4.4)) + 0.06 * fields(36, 3.4)
    shape = ndimage.gaussian_filter(shape, 1.6)
    ramp = np.linspace(-1, 1, n, dtype=np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    fall = np.cos(angle) * ramp[None, :] + np.sin(angle) * ramp[:, None]
    shape += 0.8 * fall
    bank = river_bank(rng, shape, fall, river)
    # Valleys widen along the water: the river has cut into the land.
    valley = np.exp(-np.maximum(bank, 0) / 22.0)
    elevation = np.float32(relief) * (shape - 0.35 * ndimage.gaussian_filter(valley, 2.0))
    south, east = np.gradient(elevation, 10.0)
    wetness = 1.6 * valley - 0.5 * shape + 0.4 * fields(24, 3.4)
    wetness = (wetness - wetness.mean()) / wetness.std()
    return Terrain(*(a.astype(np.float32) for a in (elevation, east, south, bank, wetness)))
