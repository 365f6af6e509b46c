"""Chapter 03: which fusion leads, in words; what is taken for what; checks of a late-fusion head and of average accuracy."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import nn

from chapters.ch01 import no_warning
from eo_ssl import show
from eo_ssl.course.checks import ExerciseFailed, exercise, expect, expect_close, expect_shape
from eo_ssl.evaluate import metrics
from eo_ssl.evaluate.intervals import Interval
from eo_ssl.experiments.plan import get_method
from eo_ssl.experiments.tables import MAIN, interval, pick
from eo_ssl.sensors import CLASS_NAMES


def fusion_verdict(results: pd.DataFrame, folder: Path, task: str) -> str:
    """Whether the paired interval tells the better fusion from the better single sensor (if any was trained).

    `folder` holds the counts of the models in `results`; all labels are used.
    """
    done = set(results.loc[results["task"] == task, "method"])

    def score(name: str) -> Interval:
        return interval(folder, results, task, name, 1.0)

    fused, single = (
        max(sorted(done & names), key=lambda name: score(name).value, default="")
        for names in ({"early", "late"}, {"s1", "s2"})
    )
    if single:
        sentence = show.results.versus(results, folder, fused, single, task)
        return f"The better fusion against the better sensor. {sentence}."
    metric = show.results.METRIC_NAMES[MAIN[task]]
    return f"Of the fused models {get_method(fused).label} is best, {metric} {show.percent(score(fused))}."


def confusion(results: pd.DataFrame, method: str) -> Figure:
    """Confusion matrix of a single-label method with all labels, summed over seeds, each row (true class) in percent."""
    counts = np.sum(pick(results, "single", method, 1.0)["test.confusion"].tolist(), 0)  # (8, 8)
    total = counts.sum(1, keepdims=True)
    share = 100 * counts / np.where(total > 0, total, np.nan)  # a class that does not occur is hatched
    said = []
    for name, row, right in zip(CLASS_NAMES, share, np.diag(share)):
        others = {other: value for other, value in zip(CLASS_NAMES, row) if other != name and value >= 5}
        taken = f", taken for {show.listed(others, '{:.0f}%')}" if others else ""
        said.append(f"{name} does not occur" if np.isnan(right) else f"{name}: {right:.0f}% right{taken}")
    label = get_method(method).label
    look = {"colourbar": "% of the true class", "title": label, "xlabel": "predicted", "ylabel": "true"}
    alt = f"Confusion matrix of {label}. {'; '.join(said)}."
    return show.matrix(share, CLASS_NAMES, CLASS_NAMES, "{:.0f}", (0, 100), alt=alt, **look)


@exercise("late fusion", praise="One linear layer on joined features: all that late fusion adds.")
def check_late_fusion(LateFusion: type) -> None:
    torch.manual_seed(0)
    model = LateFusion(5, 7, 3)
    expect(isinstance(model, nn.Module), "LateFusion should be an nn.Module.")
    h1, h2 = torch.randn(4, 5), torch.randn(4, 7)
    count = sum(p.numel() for p in model.parameters())
    expect(count == 39, f"One linear layer from 12 features to 3 classes has 39 parameters, not {count}.")
    with torch.no_grad():
        both, zeros = model(h1, h2), model(h1, torch.zeros_like(h2))
        expect_shape(both, (4, 3), "The logits of 4 patches and 3 classes")
        try:
            alone, again = model(h1, None), model(None, h2)
        except (TypeError, AttributeError) as error:
            hint = "A feature may be None: put zeros of the right width in its place."
            raise ExerciseFailed(f"{hint} Yours stopped: {error}") from error
        bias = model(torch.zeros(1, 5), torch.zeros(1, 7))
    expect_close(alone, zeros, "the logits without Sentinel-2, which must equal those for zeros,", rtol=1e-5)
    beside = "The features must stand side by side (torch.cat along dimension 1), not be added or averaged."
    expect(torch.allclose(both, alone + again - bias, atol=1e-5), beside)


@exercise("average accuracy", praise="Absent classes are left out, and no class counts twice.")
def check_average_accuracy(average_accuracy: Callable) -> None:
    confusion = np.array([[8, 2, 0], [1, 1, 0], [0, 3, 1]])  # rows: truth
    mistakes = {
        "that is overall accuracy: the diagonal over everything": 10 / 16,
        "you divided by the columns (what was predicted); recall divides by the rows (what is true)":
            (8 / 9 + 1 / 6 + 1) / 3,
    }  # fmt: skip
    wanted = (0.8 + 0.5 + 0.25) / 3
    expect_close(average_accuracy(confusion), wanted, "average accuracy of three classes", mistakes=mistakes)
    absent = np.array([[8, 2, 0], [0, 0, 0], [0, 3, 1]])
    with no_warning("A class that never occurs divides 0 by 0: choose those that occur, then divide."):
        got = average_accuracy(absent)
    zero = {"the absent class was counted as 0: divide by the number of classes that occur": (0.8 + 0.25) / 3}
    expect_close(got, (0.8 + 0.25) / 2, "average accuracy where class 1 never occurs", mistakes=zero)
    eight = np.random.default_rng(0).integers(0, 30, (8, 8))
    eight[3] = eight[5, 5] = 0  # one class absent, one never right
    expect_close(average_accuracy(eight), metrics.average_accuracy(eight), "the average of 8 classes")
