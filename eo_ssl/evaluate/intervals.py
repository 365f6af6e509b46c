"""How sure can we be? Bootstrap intervals over seeds and places, and paired comparisons of two methods."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from eo_ssl.evaluate.metrics import CountMetric

LEVEL, RESAMPLES = 0.95, 2000


@dataclass(frozen=True)
class Interval:
    """A value and the percentile bootstrap interval around it.

    >>> f"{Interval(0.7, 0.65, 0.74):.2f}"
    '0.70 [0.65, 0.74]'
    """

    value: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        return f"{self.value:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


def bootstrap_interval(values: np.ndarray, groups: Sequence[Any] | None = None) -> Interval:
    """95% interval of the mean of values (N,), drawing them again, or whole `groups` (N,) of those that belong together.

    Patches of a scene share ground, weather and season: not they, but their scenes are independent. With three values
    or groups it is short: it can never leave their range. Prefer `hierarchical_interval` where the per-patch counts
    are at hand. Raises ValueError without values.

    >>> f"{bootstrap_interval(np.array([0.0, 1.0, 1.0, 1.0]), ['a', 'b', 'b', 'b']):.2f}"
    '0.75 [0.00, 1.00]'
    """
    values = np.asarray(values, dtype=float)
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(f"an interval needs finite values, got {values}")
    groups = np.arange(len(values)) if groups is None else np.asarray(groups)
    sums = np.stack([values, np.ones(len(values))], 1)[None]  # (1, N, 2): sum and number
    return hierarchical_interval(sums, groups, lambda parts: parts[..., 0] / parts[..., 1])


def hierarchical_interval(counts: np.ndarray, groups: np.ndarray, metric: CountMetric) -> Interval:
    """95% interval of a metric averaged over seeds, resampling seeds *and* groups of test patches.

    All seeds are tested on the same patches, so the two are crossed: each resample draws seeds with
    replacement and groups with replacement, and uses those groups for every seed (Owen 2007, the pigeonhole
    bootstrap). Neighbouring patches share a group (`data.georef.spatial_blocks`): they are not independent
    evidence. Shape: counts (S, N, ...) per seed and patch, groups (N,).
    """
    return _interval(*_resampled(counts, groups, metric))


def paired_difference(
    first: np.ndarray, second: np.ndarray, groups: np.ndarray, metric: CountMetric
) -> Interval:
    """Two methods on the same test patches: metric(first) − metric(second), seeds and groups resampled.

    Both methods see the same drawn groups, so what makes the test set easy or hard cancels. Seeds are drawn
    together when both have as many (seed k of both had the same label subset), otherwise one by one.

    Shape: first (S1, N, ...), second (S2, N, ...), groups (N,).
    """
    a, drawn_a = _resampled(first, groups, metric)
    b, drawn_b = _resampled(second, groups, metric)  # the same groups are drawn
    return _interval(a - b, drawn_a - drawn_b)


def _resampled(counts: np.ndarray, groups: np.ndarray, metric: CountMetric) -> tuple[float, np.ndarray]:
    """The metric averaged over seeds, and its value in every resample (R,)."""
    counts, groups = np.asarray(counts), np.asarray(groups)
    if counts.shape[1] != len(groups) or not counts.shape[0] or not len(groups):
        raise ValueError(f"counts {counts.shape} need a seed and one group per patch ({len(groups)})")
    names, member = np.unique(groups, return_inverse=True)
    summed = np.zeros((counts.shape[0], len(names), *counts.shape[2:]))
    np.add.at(summed, (slice(None), member), counts)  # (S, G, ...)
    weights, drawn = _draws(len(names), len(counts))  # (R, G), (R, S)
    per_seed = np.stack([metric(np.tensordot(weights, one, 1)) for one in summed], 1)  # (R, S)
    values = np.take_along_axis(per_seed, drawn, 1).mean(1)
    return float(np.mean(metric(summed.sum(1)))), values


@lru_cache(maxsize=4)
def _draws(groups: int, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each group counts in a resample (R, G), and which seeds are averaged (R, S).

    Kept, because all models of a run are tested on the same patches, and drawing takes longer than the rest.
    """
    rng = np.random.default_rng(0)
    weights = rng.multinomial(groups, np.full(groups, 1 / groups), RESAMPLES)
    return weights.astype(float), rng.integers(0, seeds, (RESAMPLES, seeds))


def _interval(value: float, draws: np.ndarray) -> Interval:
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return Interval(value, float(low), float(high))
