"""Parcels: the patchwork of fields, pastures and woods that people have laid over the land."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from eo_ssl.simulate.noise import Fields, hash01


@dataclass(frozen=True)
class Parcels:
    """Parcel and block number of each pixel, the direction of its rows in radians, and three masks.

    `road` is paved, `track` a farm track, `edge` the seam between two parcels; all one pixel wide.
    """

    label: np.ndarray
    block: np.ndarray
    angle: np.ndarray
    road: np.ndarray
    track: np.ndarray
    edge: np.ndarray
    count: int

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Replace every value by the mean of its parcel, (n, n)."""
        flat = self.label.ravel()
        total = np.bincount(flat, values.ravel(), self.count)
        return (total / np.bincount(flat, minlength=self.count)).astype(np.float32)[self.label]


def make_parcels(rng: np.random.Generator, fields: Fields, size: float, aspect: float) -> Parcels:
    """Blocks bounded by roads, cut into strips, cut into parcels of about `size`² pixels.

    `aspect` stretches parcels along their block's direction: 1 square fields, 4 long strips.
    """
    pitch = 4.5 * size + 12
    block = _blocks(rng, fields, pitch)
    count = int(block.max()) + 1
    # Most blocks follow the lie of the land, some turn by a right angle or go their own way.
    angles = rng.uniform(0, np.pi) + rng.normal(0, 0.25, count) + np.pi / 2 * rng.integers(0, 2, count)
    angles += (rng.random(count) < 0.25) * rng.uniform(0, np.pi, count)
    wide = size / np.sqrt(aspect) * np.exp(rng.normal(0, 0.45, count))
    deep = size * np.sqrt(aspect) * np.exp(rng.normal(0, 0.35, count))
    label = _strips(rng, block, angles.astype(np.float32), wide.astype(np.float32), deep.astype(np.float32))
    seam = _seam(label)
    border = _seam(block)
    salt = int(rng.integers(1 << 30))
    chance = hash01(block, salt)
    road, track = border & (chance < 0.3), border & (chance >= 0.3) & (chance < 0.75)
    return Parcels(
        label,
        block,
        angles.astype(np.float32)[block],
        road,
        track,
        seam & ~road & ~track,
        int(label.max()) + 1,
    )


def _blocks(rng: np.random.Generator, fields: Fields, pitch: float) -> np.ndarray:
    """Voronoi cells of a jittered grid, their borders bent by a smooth displacement."""
    n = fields.n
    ticks = np.arange(-pitch, n + pitch, pitch)
    y, x = np.meshgrid(ticks, ticks, indexing="ij")
    y, x = (a + rng.uniform(-0.45, 0.45, a.shape) * pitch for a in (y, x))
    inside = (y >= 0) & (y < n) & (x >= 0) & (x < n)
    seeds = np.ones((n, n), dtype=bool)
    seeds[y[inside].astype(int), x[inside].astype(int)] = False
    iy, ix = ndimage.distance_transform_edt(seeds, return_distances=False, return_indices=True)
    code = np.unique(iy * n + ix, return_inverse=True)[1].reshape(n, n)
    rows, cols = np.indices((n, n), dtype=np.int32)
    dy, dx = ((0.10 * pitch) * fields(1.2 * pitch, 4.0) for _ in range(2))
    rows = np.clip(rows + dy, 0, n - 1).astype(np.int32)
    cols = np.clip(cols + dx, 0, n - 1).astype(np.int32)
    return code[rows, cols].astype(np.int32)


def _strips(
    rng: np.random.Generator, block: np.ndarray, angle: np.ndarray, wide: np.ndarray, deep: np.ndarray
) -> np.ndarray:
    """Number parcels: strips across the block's direction, each cut at its own intervals."""
    n = block.shape[0]
    axis = np.arange(n, dtype=np.float32)
    cos, sin = np.cos(angle)[block], np.sin(angle)[block]
    salt = int(rng.integers(1 << 30))
    u = (axis[None, :] * cos + axis[:, None] * sin) / wide[block]
    # Uneven strips: shift the cuts by a smooth periodic amount.
    strip = np.floor(u + 0.45 * np.sin(2.1 * u + 7 * hash01(block, salt))).astype(np.int32)
    v = (-axis[None, :] * sin + axis[:, None] * cos) / deep[block]
    own = hash01(block, strip, salt + 1)
    piece = np.floor(v * (0.6 + 0.9 * own) + 9 * own).astype(np.int32)
    key = (block.astype(np.int64) * 4096 + (strip + 2048)) * 4096 + (piece + 2048)
    return np.unique(key, return_inverse=True)[1].reshape(n, n).astype(np.int32)


def _seam(label: np.ndarray) -> np.ndarray:
    """True where the pixel to the right or below belongs to another area."""
    seam = np.zeros(label.shape, dtype=bool)
    seam[:, :-1] = label[:, :-1] != label[:, 1:]
    seam[:-1] |= label[:-1] != label[1:]
    return seam
