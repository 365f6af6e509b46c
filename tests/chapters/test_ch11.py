"""Checks of chapter 11: right answers pass in any style; each known mistake is told what it is."""

import numpy as np
import pytest
from scipy.stats import rankdata

from chapters import ch11
from eo_ssl.course.checks import ExerciseFailed


def interval(means):
    return tuple(np.quantile(means, [0.025, 0.975]))


def paired(first, second, draws, rng):
    s, n = first.shape
    means = []
    for _ in range(draws):
        a, b = rng.integers(0, s, s), rng.integers(0, n, n)
        means.append(first[a][:, b].mean() - second[a][:, b].mean())
    return [first.mean() - second.mean(), *interval(means)]


def unpaired(first, second, draws, rng):
    n = first.shape[1]
    draw = lambda x: x[:, rng.integers(0, n, n)].mean()  # noqa: E731
    return first.mean() - second.mean(), *interval([draw(first) - draw(second) for _ in range(draws)])


def patches_only(first, second, draws, rng):
    gap, n = first - second, first.shape[1]
    return gap.mean(), *interval([gap[:, rng.integers(0, n, n)].mean() for _ in range(draws)])


def seeds_only(first, second, draws, rng):
    gap, s = (first - second).mean(1), len(first)
    return gap.mean(), *interval([gap[rng.integers(0, s, s)].mean() for _ in range(draws)])


def each_seed_its_own(first, second, draws, rng):
    gap = (first - second).ravel()
    return gap.mean(), *interval([gap[rng.integers(0, len(gap), len(gap))].mean() for _ in range(draws)])


def backwards(first, second, draws, rng):
    return paired(second, first, draws, rng)


@pytest.mark.parametrize(
    ("answer", "message"),
    [(unpaired, "same positions for both"), (patches_only, "draw seeds"), (seeds_only, "many places"),
     (each_seed_its_own, "draw seeds"), (backwards, "first minus second"), (lambda *_: (1.0, 2.0), "three numbers")],
)  # fmt: skip
def test_mistakes_of_the_paired_difference_are_named(answer, message):
    with pytest.raises(ExerciseFailed, match=message):
        ch11.check_paired_difference(answer)


def test_a_paired_difference_in_another_style_passes():
    assert "paired difference" in repr(ch11.check_paired_difference(paired))


def average_rank(scores):
    ranks = [
        np.where(np.isnan(c), np.nan, rankdata(-np.nan_to_num(c, nan=-np.inf)))
        for c in np.asarray(scores, float)
    ]
    counts = np.isfinite(ranks).sum(0)
    return np.where(counts > 0, np.nansum(ranks, 0) / np.maximum(counts, 1), np.nan)


def test_average_ranks_in_another_style_pass():
    ch11.check_average_rank(average_rank)


@pytest.mark.parametrize(
    ("answer", "message"),
    [(lambda x: np.mean(x, 0), "rank within each column"), (lambda x: rankdata(x, axis=1).mean(0), "from the highest down"),
     (lambda x: rankdata(-x, axis=1, method="ordinal").mean(0), "share the mean"),
     (lambda x: rankdata(-x, axis=1, method="min").mean(0), "not the best"),
     (lambda x: rankdata(-np.nan_to_num(x), axis=1).mean(0), "not run"), (lambda x: None, "nothing is there")],
)  # fmt: skip
def test_mistakes_of_the_average_rank_are_named(answer, message):
    with pytest.raises(ExerciseFailed, match=message):
        ch11.check_average_rank(answer)
