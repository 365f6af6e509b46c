"""Inside a town: streets, city blocks, roofs and gardens."""

from dataclasses import dataclass

import numpy as np

from eo_ssl.simulate.noise import Fields, hash01
from eo_ssl.simulate.parcels import Parcels


@dataclass(frozen=True)
class Town:
    """What towns are made of, all maps (n, n): shares of the pixel are 0 outside towns.

    `roof` and `street` are fractions of the pixel, the rest is garden; `kind` in [0, 1) chooses the roof's
    material; `hall` marks large sheds.
    """

    roof: np.ndarray
    street: np.ndarray
    kind: np.ndarray
    hall: np.ndarray


def make_town(
    rng: np.random.Generator, fields: Fields, parcels: Parcels, urban: np.ndarray, core: np.ndarray
) -> Town:
    """Fill the mask `urban` with streets and buildings; `core` in 0 to 1 says how central a pixel is."""
    salt = int(rng.integers(1 << 30))
    axis = np.arange(fields.n, dtype=np.float32)
    cos, sin = np.cos(parcels.angle), np.sin(parcels.angle)
    bend = 3.0 * fields(60, 4.0)
    u = axis[None, :] * cos + axis[:, None] * sin + bend
    v = -axis[None, :] * sin + axis[:, None] * cos - bend
    spacing = 6.0 + 7.0 * hash01(parcels.block, salt)
    a, b = np.floor(u / spacing), np.floor(v / (1.6 * spacing))
    street = (u - a * spacing < 0.9) | (v - b * 1.6 * spacing < 0.9)
    quarter = hash01(a, b, parcels.block, salt + 1)
    hall = urban & (quarter < 0.03 + 0.07 * core) & ~street
    park = (quarter > 0.90) & ~street
    house = hash01(np.floor(u / 2.2), np.floor(v / 1.9), salt + 2)
    density = 0.25 + 0.45 * core + 0.12 * hash01(parcels.block, salt + 3)
    roof = np.where(house < density, np.float32(0.75), np.float32(0.08))
    roof = np.where(hall, np.float32(0.9), np.where(street | park, np.float32(0.0), roof)) * urban
    paved = np.where(street, np.float32(0.6), np.float32(0.12) + np.float32(0.3) * core) * (1 - roof) * urban
    paved = np.where(park, np.float32(0.05), paved) * urban
    kind = np.where(hall, quarter * 8 % 1, hash01(np.floor(u / 2.2), np.floor(v / 1.9), salt + 4))
    return Town(
        roof.astype(np.float32),
        paved.astype(np.float32),
        kind.astype(np.float32),
        hall,
    )
