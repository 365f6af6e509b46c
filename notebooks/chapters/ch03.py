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
from eo_ssl.course.checks import ExerciseFailed, exercise, expect, expect_close, expect_shape, numbers
from eo_ssl.evaluate.metrics import confusion_metrics
from eo_ssl.experiments.plan import get_method
from eo_ssl.experiments.tables import MAIN, compare, interval, pick
from eo_ssl.sensors import CLASS_NAMES

FUSIONS, SENSORS = ("early", "late"), ("s1", "s2")


def fusion_verdict(results: pd.DataFrame, folder: Path, task: str) -> str:
    """The better fusion, the better single sensor (if any was trained), and whether the paired interval tells them apart.

    `folder` holds the counts of the models in `results`; all labels are used.
    """
    done, metric = (
        set(results.loc[results["task"] == task, "method"]),
        show.results.METRIC_NAMES[MAIN[task]].split(" (")[0],
    )
    scores = {name: interval(folder, results, task, name, 1.0) for name in FUSIONS + SENSORS if name in done}
    fused, single = (
        max(sorted(scores.keys() & names), key=lambda n: scores[n].value, default="")
        for names in (FUSIONS, SENSORS)
    )
    said = f"Of the fused models {get_method(fused).label} is best, {metric} {show.percent(scores[fused])}"
    if not single:
        return f"{said}."
    names = get_method(fused).label, get_method(single).label
    gain = compare(folder, results, task, (fused, 1.0), (single, 1.0))
    said += f"; of the single sensors {names[1]}, {show.percent(scores[single])}"
    return f"{said}. {show.verdict(*names, gain, metric)}, paired over seeds and places."


def confusion(results: pd.DataFrame, method: str) -> Figure:
    """Confusion matrix of a single-label method with all labels, summed over seeds, each row (true class) in percent."""
    counts, said = np.sum(pick(results, "single", method, 1.0)["test.confusion"].tolist(), 0), []  # (8, 8)
    total = counts.sum(1, keepdims=True)
    share = 100 * counts / np.where(total > 0, total, np.nan)  # a class that does not occur is hatched
    for i, name in enumerate(CLASS_NAMES):
        wrong = np.where(np.arange(len(share)) == i, -1, share[i])
        j = int(wrong.argmax())
        taken = f", {wrong[j]:.0f}% taken for {CLASS_NAMES[j]}" if wrong[j] >= 5 else ""
        said.append(f"{name}: {share[i, i]:.0f}% right{taken}" if total[i] else f"{name} does not occur")
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
    got = model(h1, h2)
    expect_shape(got, (4, 3), "The logits of 4 patches and 3 classes")
    count = sum(p.numel() for p in model.parameters())
    expect(
        count == 39, f"One linear layer from 12 features to 3 classes has 39 parameters; yours has {count}."
    )
    with torch.no_grad():
        both, first = model(h1, h2), model(h1, torch.zeros_like(h2))
        try:
            alone, again = model(h1, None), model(None, h2)
        except (TypeError, AttributeError) as error:
            hint = "must work, too: put zeros of the right width in place of None"
            raise ExerciseFailed(
                f"model(h1, None) and model(None, h2) {hint}. Yours stopped: {error}"
            ) from error
    expect_shape(alone, (4, 3), "The logits without Sentinel-2")
    zeros = "A missing sensor should count as zeros: model(h1, None) must equal model(h1, zeros)."
    expect(torch.allclose(alone, first, atol=1e-6), zeros)
    expect_shape(again, (4, 3), "The logits without Sentinel-1")
    bias = model(torch.zeros(1, 5), torch.zeros(1, 7)).detach()
    beside = (
        "The two features must stand side by side (torch.cat along dimension 1), not be added or averaged."
    )
    expect(torch.allclose(both, alone + again - bias, atol=1e-5), beside)


@exercise("average accuracy", praise="Absent classes are left out, and no class counts twice.")
def check_average_accuracy(average_accuracy: Callable) -> None:
    confusion = np.array([[8, 2, 0], [1, 1, 0], [0, 3, 1]])  # rows: truth
    expect_close(
        average_accuracy(confusion), (0.8 + 0.5 + 0.25) / 3, "average accuracy of three classes",
        mistakes={
            "that is overall accuracy: the diagonal over everything": 10 / 16,
            "you divided by the columns (what was predicted); recall divides by the rows (what is true)":
                (8 / 9 + 1 / 6 + 1) / 3,
        },
    )  # fmt: skip
    absent = np.array([[8, 2, 0], [0, 0, 0], [0, 3, 1]])
    with no_warning(
        "A class that never occurs divides 0 by 0 and warns: choose those that occur, then divide."
    ):
        got = numbers(average_accuracy(absent))
    expect(
        np.isfinite(got).all(),
        "A class that never occurs gave NaN (0 divided by 0): leave it out of the mean.",
    )
    expect_close(
        got, (0.8 + 0.25) / 2, "average accuracy where class 1 never occurs",
        mistakes={"the absent class was counted as 0: divide by the number of classes that occur": (0.8 + 0.25) / 3},
    )  # fmt: skip
    rng = np.random.default_rng(0)
    random = rng.integers(0, 30, (8, 8))
    random[3] = 0
    wanted = confusion_metrics(torch.from_numpy(random))["aa"]
    expect_close(average_accuracy(random), wanted, "average accuracy of a random confusion matrix")
