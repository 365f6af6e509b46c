"""Chapter 08: the rival of the headline claim and what an interval says of the claim; checks of its exercises."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from eo_ssl import show
from eo_ssl.course.checks import exercise, expect, expect_close, expect_shape, numbers
from eo_ssl.errors import DataError
from eo_ssl.evaluate.intervals import Interval
from eo_ssl.experiments.plan import get_method
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


def at_an_end(results: pd.DataFrame) -> str:
    """For which methods the chosen rate was the smallest or the largest that was tried, as a sentence."""
    said = []
    for name, lines in results[results["task"] == "single"].groupby("method", sort=False):
        tried = sorted(map(float, lines["rates"].iloc[0])) if isinstance(lines["rates"].iloc[0], dict) else []
        if len(tried) > 1 and np.isclose(lines["lr"].iloc[0], (tried[0], tried[-1])).any():
            end = "smallest" if np.isclose(lines["lr"].iloc[0], tried[0]) else "largest"
            said.append(f"{get_method(name).label} ({end})")
    if not said:
        return "No chosen learning rate was the smallest or the largest of its list."
    named = ", ".join(said)
    return f"The best learning rate was at an end of its list for {named}: beyond it might be a better one."


def claim(gap: Interval) -> str:
    """What the interval of a paired difference, claimed to be above zero, says of the claim.

    >>> claim(Interval(0.02, -0.01, 0.05))
    '**This run does not settle the claim.**'
    """
    said = {1: "The claim holds in this run", -1: "The claim does not hold in this run"}
    return f"**{said.get(show.settled(gap), 'This run does not settle the claim')}.**"


@exercise("bootstrap", praise="No formula, no bell curve: only drawing again.")
def check_bootstrap(bootstrap: Callable) -> None:
    values = np.random.default_rng(0).normal(0.6, 0.1, 200)
    low, high = map(numbers, bootstrap(values, 2000, np.random.default_rng(1)))
    same = (
        "Drawn *without* replacement, every sample holds the same values: it should hold some of them twice."
    )
    expect(abs(high - low) > 1e-9, f"All draws have the same mean. {same}")
    expect(low < high, "Return the lower bound first, then the upper one.")
    means = "take percentiles of the *means* of the redrawn samples"
    expect(high - low < 0.15, f"The interval is as wide as the values themselves: {means}.")
    error = values.std(ddof=1) / np.sqrt(len(values)) * np.array([-1, 1])
    narrow = "A redrawn sample holds as many values as there are (N), and there is one mean per draw, not one per value"
    mistakes = {
        "this is the middle 90%. A 95% interval leaves 2.5% out on each side": values.mean() + 1.645 * error,
        f"far too narrow. {narrow}": values.mean() + 1.96 * error * np.sqrt(200 / 2000),
    }
    wanted, near = values.mean() + 1.96 * error, {"rtol": 0, "atol": 0.0016}
    expect_close([low, high], wanted, "The 95% interval of 200 values", mistakes=mistakes, **near)
    constant = bootstrap(np.full(20, 0.5), 100, np.random.default_rng(0))
    expect_close(constant, [0.5, 0.5], "The interval of 20 equal values")


@exercise("frozen", praise="No gradient, no drifting statistics, no dropped paths.")
def check_freeze(freeze: Callable) -> None:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten())
    model = nn.ModuleDict({"backbone": backbone, "head": nn.Linear(4 * 16, 3)})
    model.train()
    same = freeze(model["backbone"]) is model["backbone"]
    expect(same, "Return the module that was given: `model = freeze(model)` must get the same one back.")
    asking = any(p.requires_grad for p in model["backbone"].parameters())
    expect(not asking, "Some weights of the backbone still ask for gradients: requires_grad_(False).")
    expect(all(p.requires_grad for p in model["head"].parameters()), "The head must go on learning.")
    before = {k: v.clone() for k, v in model["backbone"].state_dict().items()}
    x = torch.randn(8, 2, 6, 6)
    first, second = model["backbone"](x), model["backbone"](x)
    expect_shape(first, (8, 64), "The features")
    moved = [k for k, v in model["backbone"].state_dict().items() if not torch.equal(v, before[k])]
    still = "batch normalisation still collects statistics. Put the backbone in eval mode"
    expect(not moved, f"A forward pass changed {', '.join(moved[:2])}: {still}.")
    dropout = "dropout is still on. Put the backbone in eval mode"
    expect(torch.equal(first, second), f"The same images gave different features: {dropout}.")
