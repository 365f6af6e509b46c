"""Checks of chapter 11: a paired bootstrap difference, and the average rank of methods."""

from collections.abc import Callable

import numpy as np

from eo_ssl.course.checks import exercise, expect, expect_close, expect_shape


@exercise("paired difference", praise="What made a draw easy or hard was the same for both, and cancelled.")
def check_paired_difference(paired_difference: Callable) -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(300)  # some places are hard for everybody
    first, second = (hard + gain + rng.normal(0, 0.01, (3, 300)) for gain in (0.02, 0.0))
    got = paired_difference(first, second, 1000, np.random.default_rng(1))
    expect(
        np.ndim(got) == 1 and len(got) == 3,
        "Return three numbers: the difference, its lower and its upper bound.",
    )
    value, low, high = (float(v) for v in got)
    expect_close(
        value, first.mean() - second.mean(), "The difference",
        mistakes={"it is the wrong way round, take first minus second": second.mean() - first.mean()},
    )  # fmt: skip
    expect(low < high, "Return the lower bound before the upper one.")
    expect(
        high - low < 0.03,
        f"The interval is {high - low:.3f} wide, though the first is ahead on nearly every place. Were *different* places "
        "drawn for the two methods? Use the same positions for both: that is what paired means.",
    )
    expect(
        low > 0, "The first method is ahead by 0.02 on nearly every place, but the interval includes zero."
    )
    seeds = np.array([[0.0], [0.3], [0.6]]) + np.zeros((3, 300))  # only the seeds differ
    _, low, high = paired_difference(seeds, np.zeros((3, 300)), 1000, np.random.default_rng(2))
    expect(
        high - low > 0.3,
        "Where the seeds differ and the places do not, the interval should be wide: draw seeds with replacement, too.",
    )
    places = np.tile(rng.integers(0, 2, 300).astype(float), (3, 1))  # only the places differ
    _, low, high = paired_difference(places, np.zeros((3, 300)), 1000, np.random.default_rng(3))
    expect(
        0.06 < high - low < 0.2,
        f"300 places of 0 or 1, the same for all seeds, should give an interval about 0.11 wide, not {high - low:.3f}. Draw "
        "as many places as there are, with replacement, and the *same ones for all seeds* of a draw.",
    )


@exercise("average rank", praise="Ranks can be averaged where scores cannot.")
def check_average_rank(average_rank: Callable) -> None:
    plain = np.array([[0.6, 0.7, 0.5], [50.0, 60.0, 40.0]])  # (columns, methods)
    got = np.asarray(average_rank(plain), dtype=float)
    expect_shape(got, (3,), "The average ranks of three methods")
    expect_close(
        got, [2, 1, 3], "Ranks of (0.6, 0.7, 0.5) and (50, 60, 40)",
        mistakes={
            "the best score should get rank 1: rank from the highest down": [2, 3, 1],
            "ranks begin at 1, not at 0": [1, 0, 2],
            "that is the average score; the columns have different units, so rank within each column first":
                plain.mean(0),
        },
    )  # fmt: skip
    expect_close(
        average_rank(np.array([[0.7, 0.7, 0.5]])), [1.5, 1.5, 3], "Ranks of (0.7, 0.7, 0.5)",
        mistakes={
            "two equal scores share the mean of their ranks, (1 + 2) / 2": [1, 2, 3],
            "equal scores share the *mean* of their ranks, 1.5, not the best of them": [1, 1, 3],
        },
    )  # fmt: skip
    holes = np.array([[0.9, 0.8, np.nan], [0.5, 0.6, 0.7]])
    expect_close(
        average_rank(holes), [2, 2, 1], "Ranks where the third method was not run in the first column",
        mistakes={
            "a method that was not run got a rank: leave NaN out of the column, and out of the mean": [2, 2, 2],
            "NaN was ranked first": [2.5, 2.5, 1],
        },
    )  # fmt: skip
    never = np.asarray(average_rank(np.array([[0.9, np.nan], [0.5, np.nan]])), dtype=float)
    expect(
        np.isnan(never[1]) and never[0] == 1,
        "A method that was never run has no rank: NaN, and the other is first.",
    )
