"""Sentences, a table and the explorer of chapter 08: how far labels go with and without pretraining."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import anywidget
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import traitlets
from matplotlib.figure import Figure

from eo_ssl.errors import DataError
from eo_ssl.evaluate.intervals import Interval
from eo_ssl.experiments.plan import get_method
from eo_ssl.experiments.tables import MAIN, compare, finished, interval
from eo_ssl.show.browser import script
from eo_ssl.show.evidence import caution
from eo_ssl.show.figure import PALETTE, describe
from eo_ssl.show.fusion import metric_name
from eo_ssl.show.results import curve, style_of
from eo_ssl.show.tables import Table

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


def versus(
    results: pd.DataFrame,
    folder: Path,
    first: str,
    second: str,
    task: str = "single",
    fraction: float = 1.0,
    *,
    evidence: bool,
) -> str:
    """Two methods at one label fraction in a sentence: both scores, and a verdict by the paired interval."""
    gain = compare(folder, results, task, (first, fraction), (second, fraction)).difference
    share = "all labels" if np.isclose(fraction, 1) else f"{fraction:.0%} of the labels"
    a, b = (interval(folder, results, task, name, fraction).value for name in (first, second))
    return caution(evidence) + (
        f"**{get_method(first).label}**, with {share}, {_verdict(gain)} "
        f"**{get_method(second).label}**: {a:.1%} against {b:.1%} {metric_name(task)}, a difference of "
        f"{signed(gain.value)} points ({_interval(gain)})."
    )


def gains(
    results: pd.DataFrame,
    folder: Path,
    pairs: Sequence[tuple[str, str]],
    task: str = "single",
    *,
    evidence: bool,
) -> Table:
    """Paired differences of methods at each fraction that both have, in points, with intervals.

    Without `evidence` (a smoke run) every row says so where it would say whether the interval leaves out zero.
    """
    rows: list[tuple[str, ...]] = []
    for first, second in pairs:
        both = set(_fractions(results, task, first)) & set(_fractions(results, task, second))
        if both:
            rows.append((f"{get_method(first).label} − {get_method(second).label}",))
        for fraction in sorted(both):
            found = compare(folder, results, task, (first, fraction), (second, fraction)).difference
            clear = "no" if _verdict(found) == "cannot be told from" else "yes"
            span = f"{signed(found.low)} to {signed(found.high)}"
            sure = clear if evidence else "smoke run, no evidence"
            rows.append((f"{fraction:.0%} of the labels", signed(found.value), span, sure))
    head = ("Compared", "difference, points", "95% interval", "leaves out zero")
    return Table(head, tuple(rows), "Paired differences: over the same seeds and places.")


def signed(share: float) -> str:
    """A difference of shares in points, with its sign: no "−0.0".

    >>> signed(0.0421), signed(-0.0002)
    ('+4.2', '0.0')
    """
    points = round(100 * share, 1)
    return f"{points:+.1f}".replace("-", "−") if points else "0.0"


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


def _fractions(results: pd.DataFrame, task: str, method: str) -> list[float]:
    found = finished(results, task)
    return sorted(found.loc[found["method"] == method, "fraction"].unique()) if len(found) else []


class LabelExplorer(anywidget.AnyWidget):
    """Label-efficiency curves: choose methods, move a target line, read off how many labels each needs."""

    _esm = script("labels")
    curves = traitlets.List(traitlets.Dict()).tag(sync=True)
    unit = traitlets.Unicode("average accuracy").tag(sync=True)


def label_explorer(
    results: pd.DataFrame, folder: Path, task: str = "single", methods: Sequence[str] = ()
) -> LabelExplorer:
    """Explorer of all methods of a task with at least two label fractions (or of `methods`)."""
    points = curve(results, folder, task, methods)
    curves = []
    for name, one in points.groupby("method", sort=False):
        if len(one) < 2:
            continue
        style = style_of(str(name))
        curves.append({
            "name": get_method(str(name)).label, "colour": style["color"], "dashed": style["linestyle"] == "--",
            "points": [[round(float(v), 5) for v in (r.fraction, r.value, r.low, r.high)] for r in one.itertuples()],
            "labels": [int(r.labels or 0) for r in one.itertuples()],
        })  # fmt: skip
    if not curves:
        raise DataError("the label explorer needs a method with two label fractions")
    return LabelExplorer(curves=curves, unit={"aa": "average accuracy", "f1_macro": "macro F1"}[MAIN[task]])
