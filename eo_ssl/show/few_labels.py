"""Sentences and a figure of chapter 08: how far labels go with and without pretraining."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from eo_ssl.errors import DataError
from eo_ssl.evaluate.intervals import Interval
from eo_ssl.evaluate.methods import get_method
from eo_ssl.evaluate.summary import compare, finished
from eo_ssl.show.figure import PALETTE, describe
from eo_ssl.show.results import curve
from eo_ssl.show.words import caution, signed

SUPERVISED = ("s1", "s2", "early", "late")


def best_supervised(points: pd.DataFrame, fraction: float = 1.0) -> pd.Series:
    """The best model without pretraining at a label fraction: a row of `show.results.curve`."""
    rows = points[points["method"].isin(SUPERVISED) & np.isclose(points["fraction"], fraction)]
    if not len(rows):
        raise DataError(f"no supervised model at {fraction:g} of the labels; run chapter 03 first")
    return rows.loc[rows["value"].idxmax()]


def headline(
    results: pd.DataFrame,
    folder: Path,
    method: str,
    evidence: bool,
    task: str = "single",
    fraction: float = 0.1,
) -> str:
    """The headline claim, tested: `method` at `fraction` of the labels against the best supervised at all.

    Worded by the interval of the paired difference: ahead, behind, or not settled.
    """
    points = curve(results, folder, task, [m for m in SUPERVISED if _has(results, task, m)])
    rival = best_supervised(points)
    gain = compare(folder, results, task, (method, fraction), (rival["method"], 1.0)).difference
    verdict = _verdict(gain)
    holds = {
        "is ahead of": "**The claim holds in this run.**",
        "is behind": "**The claim does not hold in this run.**",
        "cannot be told from": "**This run does not settle the claim.**",
    }[verdict]
    return caution(evidence) + (
        f"{get_method(method).label} with {fraction:.0%} of the labels {verdict} {get_method(rival['method']).label.lower()} "
        f"with all of them: the difference is {signed(gain.value)} points ({_interval(gain)}). {holds}"
    )


def rival_words(results: pd.DataFrame, folder: Path, evidence: bool, task: str = "single") -> str:
    """Who the rival of the headline is, and which way the choice of it leans."""
    rival = best_supervised(curve(results, folder, task, [m for m in SUPERVISED if _has(results, task, m)]))
    return caution(evidence) + (
        f"The rival is the best of the supervised models with all labels, {get_method(rival['method']).label.lower()} at "
        f"{rival['value']:.0%}. Choosing the best of several on the test set flatters *it*, so the comparison leans "
        "against the claim."
    )


def _verdict(gain: Interval) -> str:
    return "is ahead of" if gain.low > 0 else "is behind" if gain.high < 0 else "cannot be told from"


def _interval(gain: Interval) -> str:
    return f"95% interval {signed(gain.low)} to {signed(gain.high)}, paired over seeds and places"


def redrawn(draws: Mapping[str, np.ndarray]) -> Figure:
    """Histograms of a score of redrawn test sets, one for each way of drawing, with the width of its interval."""
    widths = {name: 100 * float(np.ptp(np.quantile(one, [0.025, 0.975]))) for name, one in draws.items()}
    fig, ax = plt.subplots(figsize=(5.4, 2.6))
    edges = np.histogram_bin_edges(100 * np.concatenate(list(draws.values())), 60)
    for (name, one), colour in zip(draws.items(), (PALETTE[0], PALETTE[1])):
        ax.hist(
            100 * one, bins=edges, alpha=0.6, color=colour, label=f"{name}: {widths[name]:.1f} points wide"
        )
    ax.set(xlabel="overall accuracy of a redrawn test set, %", ylabel="draws")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    said = ", ".join(f"{name} {width:.1f} points" for name, width in widths.items())
    return describe(
        fig, f"Histograms of a bootstrap of overall accuracy; width of the 95% intervals: {said}."
    )


def _has(results: pd.DataFrame, task: str, method: str) -> bool:
    found = finished(results, task)
    return bool(len(found) and ((found["method"] == method) & np.isclose(found["fraction"], 1.0)).any())
