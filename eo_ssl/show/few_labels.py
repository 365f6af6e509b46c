"""Sentences, a table and the explorer of chapter 08: how far labels go with and without pretraining."""

from collections.abc import Sequence
from pathlib import Path

import anywidget
import numpy as np
import pandas as pd
import traitlets

from eo_ssl.errors import DataError
from eo_ssl.evaluate.methods import get_method
from eo_ssl.evaluate.summary import MAIN, compare, finished
from eo_ssl.show.browser import script
from eo_ssl.show.evidence import caution
from eo_ssl.show.results import curve, style_of

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
    low, value, high = (100 * x for x in (gain.low, gain.value, gain.high))
    verdict = "is ahead of" if low > 0 else "is behind" if high < 0 else "cannot be told from"
    holds = {
        "is ahead of": "**The claim holds in this run.**",
        "is behind": "**The claim does not hold in this run.**",
        "cannot be told from": "**This run does not settle the claim.**",
    }[verdict]
    return caution(evidence) + (
        f"{get_method(method).label} with {fraction:.0%} of the labels {verdict} {get_method(rival['method']).label.lower()} "
        f"with all of them: the difference is {value:+.1f} points (95 % interval {low:+.1f} to {high:+.1f}, paired over "
        f"seeds and test patches). {holds}"
    )


def gains(
    results: pd.DataFrame,
    folder: Path,
    pairs: Sequence[tuple[str, str]],
    task: str = "single",
    *,
    evidence: bool,
) -> pd.DataFrame:
    """Paired differences of methods at each fraction that both have, in points, with intervals.

    Without `evidence` (a smoke run) every row says so where it would say whether the interval leaves out zero.
    """
    rows = []
    for first, second in pairs:
        both = set(_fractions(results, task, first)) & set(_fractions(results, task, second))
        for fraction in sorted(both):
            found = compare(folder, results, task, (first, fraction), (second, fraction)).difference
            low, value, high = (100 * x for x in (found.low, found.value, found.high))
            rows.append({
                "compared": f"{get_method(first).label} − {get_method(second).label}",
                "labels": f"{fraction:.0%}", "points": round(value, 1), "interval": f"{low:+.1f} to {high:+.1f}",
                "excludes zero": ("yes" if low > 0 or high < 0 else "no") if evidence else "smoke run, no evidence",
            })  # fmt: skip
    return pd.DataFrame(rows)


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
