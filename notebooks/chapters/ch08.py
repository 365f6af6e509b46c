"""Chapter 08: the rival of the headline claim, rates at an end of those tried; checks of its exercises."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from eo_ssl.course.checks import exercise, expect, expect_close, expect_shape, numbers
from eo_ssl.experiments.plan import SCRATCH, get_method
from eo_ssl.show.results import curve


def best_supervised(results: pd.DataFrame, folder: Path) -> pd.Series:
    """The best model without pretraining with all labels: a row of `show.results.curve` (method, value, low, high …)."""
    points = curve(results[results["fraction"] == 1], folder, "single", SCRATCH)
    return points.loc[points["value"].idxmax()]


def at_an_end(results: pd.DataFrame, task: str = "single") -> str:
    """For which methods the chosen rate was the smallest or the largest that was tried, as a sentence."""
    said = []
    for line in results[results["task"] == task].drop_duplicates("method").itertuples():
        tried = list(map(float, line.rates)) if isinstance(line.rates, dict) else []
        for name, end in (("smallest", min), ("largest", max)):
            if len(tried) > 1 and np.isclose(line.lr, end(tried)):
                said.append(f"{get_method(line.method).label} ({name})")
    if not said:
        return "No chosen learning rate was the smallest or the largest that was tried."
    ends = f"The chosen learning rate was the smallest or the largest that was tried for {', '.join(said)}"
    return f"{ends}: beyond it might be a better one."


@exercise("bootstrap", praise="No formula, no bell curve: only drawing again.")
def check_bootstrap(bootstrap: Callable) -> None:
    values = np.random.default_rng(0).normal(0.6, 0.1, 200)
    low, high = map(numbers, bootstrap(values, 2000, np.random.default_rng(1)))
    same = "Drawn *without* replacement, every sample holds the same values"
    expect(abs(high - low) > 1e-9, f"All draws have the same mean. {same}: some should come twice.")
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
