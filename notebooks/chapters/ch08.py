"""Chapter 08: the rival of the headline claim and what an interval says of the claim; checks of its exercises."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from eo_ssl import show
from eo_ssl.course.checks import exercise, expect, expect_close, expect_shape
from eo_ssl.errors import DataError
from eo_ssl.evaluate.intervals import Interval
from eo_ssl.show.results import curve

SUPERVISED = ("s1", "s2", "early", "late")


def best_supervised(results: pd.DataFrame, folder: Path, task: str = "single") -> pd.Series:
    """The best model without pretraining with all labels: a row of `show.results.curve` (method, value, low, high …)."""
    one = results[(results["task"] == task) & np.isclose(results["fraction"], 1.0)]
    known = [method for method in SUPERVISED if (one["method"] == method).any()]
    if not known:
        raise DataError("no supervised model with all labels; run chapter 03 first")
    points = curve(results, folder, task, known)
    points = points[np.isclose(points["fraction"], 1.0)]
    return points.loc[points["value"].idxmax()]


def claim(gap: Interval) -> str:
    """What the interval of a paired difference, claimed to be above zero, says of the claim.

    >>> claim(Interval(0.02, -0.01, 0.05))
    '**This run does not settle the claim.**'
    """
    said = ("does not settle the claim", "holds", "does not hold")[show.settled(gap)]
    return f"**This run {said}.**" if "settle" in said else f"**The claim {said} in this run.**"


@exercise("bootstrap", praise="No formula, no bell curve: only drawing again.")
def check_bootstrap(bootstrap: Callable) -> None:
    values = np.random.default_rng(0).normal(0.6, 0.1, 200)
    low, high = bootstrap(values, 2000, np.random.default_rng(1))
    expect(
        abs(high - low) > 1e-9,
        "All draws have the same mean. Drawn *without* replacement, every sample holds the same values: a redrawn "
        "sample should hold some of them twice, others not at all.",
    )
    expect(low < high, "Return the lower bound first, then the upper one.")
    expect(
        high - low < 0.15,
        "The interval is as wide as the values themselves: take percentiles of the *means* of the redrawn samples.",
    )
    error = values.std(ddof=1) / np.sqrt(len(values))
    expect_close(
        np.array([low, high]), values.mean() + 1.96 * error * np.array([-1, 1]), "The 95% interval of 200 values",
        rtol=0, atol=0.0016,
        mistakes={
            "this is the middle 90%. A 95% interval leaves 2.5% out on each side": values.mean()
            + 1.645 * error * np.array([-1, 1]),
            "far too narrow. A redrawn sample holds as many values as there are (N), and there is one mean per draw, "
            "not one per value": values.mean() + 1.96 * error * np.sqrt(200 / 2000) * np.array([-1, 1]),
        },
    )  # fmt: skip
    constant = bootstrap(np.full(20, 0.5), 100, np.random.default_rng(0))
    expect_close(np.array(constant), [0.5, 0.5], "The interval of 20 equal values")
    narrow = bootstrap(np.r_[np.zeros(50), np.ones(50)], 2000, np.random.default_rng(0))
    expect(
        0.38 < narrow[0] < 0.43 and 0.57 < narrow[1] < 0.62,
        f"For 50 zeros and 50 ones the interval should be near 0.40 to 0.60, not {narrow[0]:.2f} to {narrow[1]:.2f}. "
        "Draw as many values as there are, *with* replacement.",
    )


@exercise("frozen", praise="No gradient, no drifting statistics, no dropped paths.")
def check_freeze(freeze: Callable) -> None:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten())
    model = nn.ModuleDict({"backbone": backbone, "head": nn.Linear(4 * 16, 3)})
    model.train()
    returned = freeze(model["backbone"])
    expect(
        returned is model["backbone"],
        "Return the module that was given: whoever writes `model = freeze(model)` must get the same one back.",
    )
    expect(
        not any(p.requires_grad for p in model["backbone"].parameters()),
        "Some weights of the backbone still ask for gradients: requires_grad_(False).",
    )
    expect(all(p.requires_grad for p in model["head"].parameters()), "The head must go on learning.")
    before = {k: v.clone() for k, v in model["backbone"].state_dict().items()}
    x = torch.randn(8, 2, 6, 6)
    first, second = model["backbone"](x), model["backbone"](x)
    expect_shape(first, (8, 64), "The features")
    moved = [k for k, v in model["backbone"].state_dict().items() if not torch.equal(v, before[k])]
    expect(
        not moved,
        f"A forward pass changed {', '.join(moved[:2])}: batch normalisation still collects statistics. "
        "Put the backbone in eval mode.",
    )
    expect(
        bool(torch.equal(first, second)),
        "The same images gave different features: dropout is still on. Put the backbone in eval mode.",
    )
