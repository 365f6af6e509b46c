"""Rivers that follow the valleys of a terrain."""

import heapq

import numpy as np
from scipy import ndimage

STEP = 8  # pixels to a cell of the drainage grid
_OFFSETS = ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))
_SMALLEST = 0.02  # share of the largest catchment from which a channel is drawn


def river_bank(rng: np.random.Generator, elevation: np.ndarray, fall: np.ndarray, width: float) -> np.ndarray:
    """Distance in pixels, (n, n), to the nearest river bank, negative in the water; the widest is `width` pixels.

    The land drains towards the side where `fall` is low. A river from upstream enters on the high side.
    """
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
        y, x = _winding(rng, chain, n, placed)
        wide = 0.5 * width * np.interp(np.linspace(0, 1, y.size), np.linspace(0, 1, len(chain)), share[chain])
        inside = (y >= 0) & (y < n) & (x >= 0) & (x < n)
        at = y[inside].astype(int), x[inside].astype(int)
        line[at] = False
        radius[at] = wide[inside]
    if line.all():
        return np.full((n, n), n, dtype=np.float32)
    distance, (iy, ix) = ndimage.distance_transform_edt(line, return_indices=True)
    # A stream narrower than most of a pixel has a valley but no water of its own.
    return (distance + 0.4 - radius[iy, ix]).astype(np.float32)


def drainage(
    elevation: np.ndarray, outlets: np.ndarray, inflow: dict[int, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Flow direction and drained area of a small grid, by priority flood from the outlets.

    `inflow` adds area from outside at a cell (flat index). Returns the flat index of the cell each cell drains
    into (itself at an outlet) and the area in cells that drains through it. Source: Barnes et al. (2014),
    "Priority-flood: an optimal depression-filling and watershed-labeling algorithm".
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
    fed = set(down[channel[down[channel] != channel]].tolist())
    paths = []
    for head in (int(c) for c in channel if int(c) not in fed):
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


def _winding(
    rng: np.random.Generator, chain: list[int], n: int, placed: dict[int, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """A winding line through the centres of the cells of a chain, two points a pixel.

    `placed` remembers where a line passes each cell, so that a tributary ends in the river it joins.
    """
    cells = np.array(chain)
    points = np.stack([cells // (n // STEP), cells % (n // STEP)]).astype(np.float64) * STEP + STEP / 2
    points[:, 1:-1] += rng.normal(0, 0.9 * STEP, (2, len(chain) - 2))
    dense = np.linspace(0, len(chain) - 1, 2 * STEP * len(chain))
    path = np.stack([np.interp(dense, np.arange(len(chain)), row) for row in points])
    path = ndimage.gaussian_filter1d(path, 2.2 * STEP, axis=1, mode="nearest")
    if chain[-1] in placed:
        taper = np.clip(1 - np.arange(dense.size)[::-1] / (6.0 * STEP), 0, 1)
        path += taper * (placed[chain[-1]] - path[:, -1])[:, None]
    for k, cell in enumerate(chain):
        placed.setdefault(cell, path[:, min(2 * STEP * k, dense.size - 1)])
    return path[0], path[1]
