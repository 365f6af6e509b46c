"""The ground of a scene: random fields, hills, rivers in their valleys, and the parcels people laid over it."""

import heapq
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.random import PCG64, Generator, SeedSequence
from scipy import fft, ndimage

_MIX = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)


@lru_cache(maxsize=64)
def _amplitude(n: int, beta: float, scale: float) -> np.ndarray:
    """Root of the power at each frequency of a real transform, (n, n // 2 + 1)."""
    ky, kx = fft.fftfreq(n).astype(np.float32), fft.rfftfreq(n).astype(np.float32)
    power = ky[:, None] ** 2 + kx**2 + np.float32(1.0 / (2 * np.pi * scale)) ** 2
    amplitude = power ** (-beta / 4)
    amplitude[0, 0] = 0.0
    # Of a column that stands for itself and not for its mirror image, too, only the real part is kept.
    amplitude[:, [0, -1] if n % 2 == 0 else [0]] *= np.sqrt(2)
    return amplitude.astype(np.float32)


class Fields:
    """Correlated Gaussian fields of one size from one generator, with zero mean and unit variance.

    Their spectrum is (k² + (2π·scale)⁻²)^(−β/2): rough below `scale` pixels, uncorrelated above.
    """

    def __init__(self, rng: Generator, n: int) -> None:
        self.rng, self.n = rng, n

    def __call__(self, scale: float, beta: float = 3.0) -> np.ndarray:
        """One (n, n) float32 field with correlation length about `scale` pixels."""
        shape = (self.n, self.n // 2 + 1, 2)
        white = self.rng.standard_normal(shape, dtype=np.float32).view(np.complex64)[..., 0]
        field = fft.irfft2(white * _amplitude(self.n, beta, scale), s=(self.n, self.n))
        return ((field - field.mean()) / field.std()).astype(np.float32)


def hash01(*keys: np.ndarray | int) -> np.ndarray:
    """A uniform number in [0, 1) for each tuple of integers: the same tuple, the same number."""
    mixed = np.uint64(0x9E3779B97F4A7C15)
    for key in keys:
        with np.errstate(over="ignore"):
            mixed = (mixed ^ np.asarray(key).astype(np.int64).view(np.uint64)) * _MIX
            mixed = (mixed ^ (mixed >> np.uint64(29))) * _MIX2
            mixed = mixed ^ (mixed >> np.uint64(32))
    return ((mixed >> np.uint64(40)).astype(np.float32)) / np.float32(2**24)


def generator(*keys: int) -> Generator:
    """A generator that depends on the integers given and on nothing else."""
    return Generator(PCG64(SeedSequence(keys)))


@dataclass(frozen=True)
class Terrain:
    """Elevation in metres, its gradient (rise per metre east and south), water and wetness, all (n, n)."""

    elevation: np.ndarray
    east: np.ndarray
    south: np.ndarray
    bank: np.ndarray  # distance to a river bank in pixels, negative in the water
    wetness: np.ndarray  # a smooth index, high in valleys

    @property
    def slope(self) -> np.ndarray:
        """Steepest rise per metre."""
        return np.hypot(self.east, self.south)


def incline(rng: Generator, n: int) -> np.ndarray:
    """A plane that rises across the scene in some direction, (n, n), by 2 along an axis."""
    ramp = np.linspace(-1, 1, n, dtype=np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    return np.cos(angle) * ramp[None, :] + np.sin(angle) * ramp[:, None]


def make_terrain(rng: Generator, fields: Fields, relief: float, river: float) -> Terrain:
    """Terrain with `relief` metres of standard deviation and a river up to `river` pixels wide."""
    # Rounded hills, and ridges where a field changes sign; the incline is one of the whole scene, whatever its size.
    shape = fields(140, 4.6) - 0.6 * np.abs(fields(80, 4.4)) + 0.06 * fields(36, 3.4)
    shape = ndimage.gaussian_filter(shape, 1.6)
    fall = incline(rng, fields.n)
    shape += 0.8 * fall
    bank = river_bank(rng, shape, fall, river)
    # Valleys widen along the water: the river has cut into the land.
    valley = np.exp(-np.maximum(bank, 0) / 22.0)
    elevation = np.float32(relief) * (shape - 0.35 * ndimage.gaussian_filter(valley, 2.0))
    south, east = np.gradient(elevation, 10.0)
    wetness = 1.6 * valley - 0.5 * shape + 0.4 * fields(24, 3.4)
    wetness = (wetness - wetness.mean()) / wetness.std()
    return Terrain(*(a.astype(np.float32) for a in (elevation, east, south, bank, wetness)))


STEP = 8  # pixels to a cell of the drainage grid
_OFFSETS = ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))
_SMALLEST = 0.02  # share of the largest catchment from which a channel is drawn


def river_bank(rng: Generator, elevation: np.ndarray, fall: np.ndarray, width: float) -> np.ndarray:
    """`Terrain.bank` of rivers up to `width` pixels wide, which run from the side where `fall` is high to the low one."""
    n = elevation.shape[0]
    coarse, fall = (a[STEP // 2 :: STEP, STEP // 2 :: STEP] for a in (elevation, fall))
    rim = np.ones(coarse.shape, dtype=bool)
    rim[1:-1, 1:-1] = False
    outlets = rim & (fall <= np.quantile(fall[rim], 0.3))
    source = int(np.where(rim & (fall >= np.quantile(fall[rim], 0.7)), coarse, np.inf).argmin())
    down, area = drainage(coarse, outlets, {source: 2 * coarse.size})
    share = np.sqrt(area.ravel() / area.max())
    line = np.ones((n, n), dtype=bool)
    radius = np.zeros((n, n), dtype=np.float32)
    placed: dict[int, np.ndarray] = {}
    for chain in _chains(down, area.ravel()):
        y, x = _winding(rng, np.array(chain), n, placed)
        wide = 0.5 * width * np.interp(np.linspace(0, 1, y.size), np.linspace(0, 1, len(chain)), share[chain])
        inside = (y >= 0) & (y < n) & (x >= 0) & (x < n)
        at = y[inside].astype(int), x[inside].astype(int)
        line[at] = False
        radius[at] = wide[inside]
    distance, (iy, ix) = ndimage.distance_transform_edt(line, return_indices=True)
    # A stream narrower than most of a pixel has a valley but no water of its own.
    return (distance + 0.4 - radius[iy, ix]).astype(np.float32)


def drainage(
    elevation: np.ndarray, outlets: np.ndarray, inflow: dict[int, float]
) -> tuple[np.ndarray, np.ndarray]:
    """The cell that each cell of a grid drains into (flat index; itself at an outlet), and the area drained, in cells.

    `inflow` adds area from outside at a cell. Source: Barnes et al. (2014), "Priority-flood: an optimal
    depression-filling and watershed-labeling algorithm".
    """
    (rows, cols), heights = elevation.shape, elevation.tolist()
    down = list(range(rows * cols))
    queue = [(heights[r][c], r, c) for r, c in np.argwhere(outlets).tolist()]
    heapq.heapify(queue)
    seen, order = outlets.tolist(), []
    while queue:
        height, r, c = heapq.heappop(queue)
        order.append(r * cols + c)
        for dr, dc in _OFFSETS:
            y, x = r + dr, c + dc
            if 0 <= y < rows and 0 <= x < cols and not seen[y][x]:
                seen[y][x] = True
                down[y * cols + x] = r * cols + c
                heapq.heappush(queue, (max(height, heights[y][x]), y, x))
    area = [1.0] * (rows * cols)
    for cell, extra in inflow.items():
        area[cell] += extra
    for cell in reversed(order):
        if down[cell] != cell:
            area[down[cell]] += area[cell]
    return np.array(down), np.array(area, dtype=np.float32).reshape(rows, cols)


def _chains(down: np.ndarray, area: np.ndarray) -> list[list[int]]:
    """Runs of cells along the channels: each from its source to the border or to a longer run."""
    channel = np.flatnonzero(area > _SMALLEST * area.max())
    paths = []
    for head in np.setdiff1d(channel, down[channel[down[channel] != channel]]).tolist():
        path = [head]
        while down[path[-1]] != path[-1]:
            path.append(int(down[path[-1]]))
        paths.append(path)
    taken: set[int] = set()
    chains = []
    for path in sorted(paths, key=lambda path: (-len(path), path[0])):
        end = next((i for i, cell in enumerate(path) if cell in taken), len(path) - 1)
        if end > 3:
            taken.update(path[:end])
            chains.append(path[: end + 1])
    return chains


def _winding(rng: Generator, chain: np.ndarray, n: int, placed: dict[int, np.ndarray]) -> np.ndarray:
    """A winding line (2, points) through the cells of a chain, two points a pixel, to the river it joins (`placed`)."""
    points = np.stack(divmod(chain, n // STEP)).astype(np.float64) * STEP + STEP / 2
    points[:, 1:-1] += rng.normal(0, 0.9 * STEP, (2, len(chain) - 2))
    dense = np.linspace(0, len(chain) - 1, 2 * STEP * len(chain))
    path = np.stack([np.interp(dense, np.arange(len(chain)), row) for row in points])
    path = ndimage.gaussian_filter1d(path, 2.2 * STEP, axis=1, mode="nearest")
    if chain[-1] in placed:
        taper = np.clip(1 - np.arange(dense.size)[::-1] / (6.0 * STEP), 0, 1)
        path += taper * (placed[chain[-1]] - path[:, -1])[:, None]
    for k, cell in enumerate(chain):
        placed.setdefault(cell, path[:, min(2 * STEP * k, dense.size - 1)])
    return path


@dataclass(frozen=True)
class Parcels:
    """Parcel and block number of each pixel, the direction of its rows in radians, and three masks, all (n, n)."""

    label: np.ndarray
    block: np.ndarray
    angle: np.ndarray
    road: np.ndarray  # paved, one pixel wide as the others
    track: np.ndarray
    edge: np.ndarray  # between two parcels
    count: int

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Replace every value by the mean of its parcel, (n, n)."""
        flat = self.label.ravel()
        total = np.bincount(flat, values.ravel(), self.count)
        return (total / np.bincount(flat, minlength=self.count)).astype(np.float32)[self.label]


def make_parcels(rng: Generator, fields: Fields, size: float, aspect: float) -> Parcels:
    """Blocks bounded by roads, cut into strips, cut into parcels of about `size`² pixels.

    `aspect` stretches parcels along the direction of their block: 1 square fields, 4 long strips.
    """
    pitch = 4.5 * size + 12
    block = _blocks(rng, fields, pitch)
    count = int(block.max()) + 1
    # Most blocks follow the lie of the land, some turn by a right angle or go their own way.
    angles = rng.uniform(0, np.pi) + rng.normal(0, 0.25, count) + np.pi / 2 * rng.integers(0, 2, count)
    angles += (rng.random(count) < 0.25) * rng.uniform(0, np.pi, count)
    wide = size / np.sqrt(aspect) * np.exp(rng.normal(0, 0.45, count))
    deep = size * np.sqrt(aspect) * np.exp(rng.normal(0, 0.35, count))
    angle, wide, deep = (each.astype(np.float32)[block] for each in (angles, wide, deep))
    salt = int(rng.integers(1 << 30))
    along, across = turned(angle)
    along /= wide
    # Uneven strips: shift the cuts by a smooth periodic amount; each is cut at its own intervals.
    strip = np.floor(along + 0.45 * np.sin(2.1 * along + 7 * hash01(block, salt))).astype(np.int32)
    own = hash01(block, strip, salt + 1)
    piece = np.floor(across / deep * (0.6 + 0.9 * own) + 9 * own).astype(np.int32)
    key = (block.astype(np.int64) * 4096 + (strip + 2048)) * 4096 + (piece + 2048)
    label = np.unique(key, return_inverse=True)[1].reshape(block.shape).astype(np.int32)
    border, chance = _seam(block), hash01(block, int(rng.integers(1 << 30)))
    road, track = border & (chance < 0.3), border & (chance >= 0.3) & (chance < 0.75)
    edge = _seam(label) & ~road & ~track
    return Parcels(label, block, angle, road, track, edge, int(label.max()) + 1)


def _blocks(rng: Generator, fields: Fields, pitch: float) -> np.ndarray:
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
    bent = (axis + (0.10 * pitch) * fields(1.2 * pitch, 4.0) for axis in np.indices((n, n), dtype=np.int32))
    rows, cols = (np.clip(axis, 0, n - 1).astype(np.int32) for axis in bent)
    return code[rows, cols].astype(np.int32)


def turned(angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixel coordinates along and across the directions `angle` (n, n) in radians, each (n, n) float32."""
    axis = np.arange(len(angle), dtype=np.float32)
    cos, sin = np.cos(angle), np.sin(angle)
    return axis[None, :] * cos + axis[:, None] * sin, -axis[None, :] * sin + axis[:, None] * cos


def _seam(label: np.ndarray) -> np.ndarray:
    """True where the pixel to the right or below belongs to another area."""
    seam = np.zeros(label.shape, dtype=bool)
    seam[:, :-1] = label[:, :-1] != label[:, 1:]
    seam[:-1] |= label[:-1] != label[1:]
    return seam
