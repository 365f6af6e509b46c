"""Terrain and the water that runs over it: elevation, slopes, rivers, lakes and coasts."""

import heapq
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from eo_ssl.data.simulation.noise import Fields

STEP = 8
_OFFSETS = ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))


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
    shape = fields(n / 4, 4.2) + 0.12 * fields(n / 12, 3.2)
    ramp = np.linspace(-1, 1, n, dtype=np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    tilt = np.cos(angle) * ramp[None, :] + np.sin(angle) * ramp[:, None]
    elevation = (shape + 0.8 * tilt) * np.float32(relief)
    bank = _river_bank(rng, shape + 0.8 * tilt, river)
    # Valleys widen along the water: the river has cut into the land.
    valley = np.exp(-np.maximum(bank, 0) / 22.0)
    elevation = elevation - np.float32(0.35 * relief) * valley
    south, east = np.gradient(elevation, 10.0)
    wetness = 1.6 * valley - 0.5 * shape + 0.4 * fields(24, 3.0)
    wetness = (wetness - wetness.mean()) / wetness.std()
    return Terrain(*(a.astype(np.float32) for a in (elevation, east, south, bank, wetness)))


def _river_bank(rng: np.random.Generator, shape: np.ndarray, river: float) -> np.ndarray:
    """Distance in pixels to the nearest bank of the channels that drain `shape`."""
    n = shape.shape[0]
    down, area = drainage(shape[STEP // 2 :: STEP, STEP // 2 :: STEP])
    largest = area.max()
    line = np.ones((n, n), dtype=bool)
    radius = np.zeros((n, n), dtype=np.float32)
    for chain in _chains(down, area, largest * 0.06):
        y, x = _smooth_path(rng, chain, n)
        share = np.interp(
            np.linspace(0, 1, y.size), np.linspace(0, 1, len(chain)), area.ravel()[chain] / largest
        )
        inside = (y >= 0) & (y < n) & (x >= 0) & (x < n)
        yi, xi = y[inside].astype(int), x[inside].astype(int)
        line[yi, xi] = False
        radius[yi, xi] = (0.5 * river * np.sqrt(share))[inside]
    if line.all():
        return np.full((n, n), n, dtype=np.float32)
    distance, (iy, ix) = ndimage.distance_transform_edt(line, return_indices=True)
    return (distance - radius[iy, ix]).astype(np.float32)


def drainage(elevation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flow direction and drained area of a small grid, by priority flood from the border.

    Returns flat index of the cell each cell drains into (itself at the border) and the number of cells that
    drain through it. Source: Barnes et al. (2014), "Priority-flood".
    """
    rows, cols = elevation.shape
    heights = elevation.tolist()
    down = np.arange(rows * cols)
    border = [(r, c) for r in range(rows) for c in range(cols) if r in (0, rows - 1) or c in (0, cols - 1)]
    queue = [(heights[r][c], r, c) for r, c in border]
    seen = [[False] * cols for _ in range(rows)]
    for r, c in border:
        seen[r][c] = True
    heapq.heapify(queue)
    order: list[int] = []
    while queue:
        height, r, c = heapq.heappop(queue)
        order.append(r * cols + c)
        for dr, dc in _OFFSETS:
            y, x = r + dr, c + dc
            if 0 <= y < rows and 0 <= x < cols and not seen[y][x]:
                seen[y][x] = True
                down[y * cols + x] = r * cols + c
                heapq.heappush(queue, (max(height, heights[y][x]), y, x))
    area = [1] * (rows * cols)
    targets = down.tolist()
    for cell in reversed(order):
        if targets[cell] != cell:
            area[targets[cell]] += area[cell]
    return down, np.array(area, dtype=np.float32).reshape(rows, cols)


def _chains(down: np.ndarray, area: np.ndarray, threshold: float) -> list[list[int]]:
    """Runs of cells along the channels, each from a source to a confluence or the border, longest first."""
    flat = area.ravel()
    channel = np.flatnonzero(flat > threshold)
    fed = set(down[channel[down[channel] != channel]].tolist())
    heads = sorted((int(c) for c in channel if int(c) not in fed))
    taken: set[int] = set()
    chains = []
    for head in heads:
        chain = [head]
        while chain[-1] not in taken and down[chain[-1]] != chain[-1]:
            taken.add(chain[-1])
            chain.append(int(down[chain[-1]]))
        if len(chain) > 4:
            chains.append(chain)
    return sorted(chains, key=len, reverse=True)


def _smooth_path(rng: np.random.Generator, chain: list[int], n: int) -> tuple[np.ndarray, np.ndarray]:
    """A winding line through the centres of the cells of a chain, two points a pixel."""
    width = n // STEP
    cells = np.array(chain)
    points = np.stack([cells // width, cells % width]).astype(np.float64) * STEP + STEP / 2
    points[:, 1:-1] += rng.normal(0, 0.9 * STEP, (2, len(chain) - 2)) if len(chain) > 2 else 0.0
    dense = np.linspace(0, len(chain) - 1, 2 * STEP * len(chain))
    path = np.stack([np.interp(dense, np.arange(len(chain)), row) for row in points])
    y, x = ndimage.gaussian_filter1d(path, 2.2 * STEP, axis=1, mode="nearest")
    return y, x
