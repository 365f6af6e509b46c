"""Figures of chapter 11: published and measured side by side, differences and curves."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eo_ssl.course import published
from eo_ssl.course.claims import SUPERVISED
from eo_ssl.course.reproduction import STAND_INS
from eo_ssl.experiments.plan import get_method
from eo_ssl.experiments.tables import MAIN, compare, finished
from eo_ssl.show.figure import FAINT, GRID, INK, PALETTE, describe
from eo_ssl.show.results import curve, style_of

# Paper, task, the supervised models of that column, and the heading; scores of two columns are never compared.
COLUMNS = (
    ("fusion", "single", SUPERVISED, "one label, fusion paper"),
    ("fusion", "multi", SUPERVISED, "several labels, fusion paper"),
    ("transformers", "single", ("late", "swin-scratch"), "one label, Swin paper"),
    ("transformers", "segment", ("swinunet-scratch",), "a label per pixel, Swin paper"),
)


def differences(results: pd.DataFrame, folder: Path) -> Figure:
    """All labels: each pretrained method minus the best supervised one, published beside measured, a panel per column."""
    fig, axes = plt.subplots(2, 2, figsize=(8.2, 5.2))
    said = []
    for ax, (paper, task, supervised, title) in zip(axes.flat, COLUMNS):
        rows = column_differences(results, folder, paper, task, supervised)
        y = np.arange(len(rows))
        ax.axvline(0, color=FAINT, linewidth=1)
        ax.plot(100 * rows["published"], y - 0.14, "D", mfc="white", mec=INK, ms=6, ls="", label="published")
        bars = 100 * np.abs(rows[["low", "high"]].sub(rows["here"], axis=0).to_numpy(float).T)
        ax.errorbar(100 * rows["here"].astype(float), y + 0.14, xerr=bars, fmt="o", color=PALETTE[2], ms=5, capsize=2,
                    label="this run, with 95% interval")  # fmt: skip
        ax.set_yticks(y, list(rows["label"]))
        ax.set(ylim=(len(rows) - 0.5, -0.5), title=title)
        ax.grid(axis="x", color=GRID)
        said += [f"{title}: " + "; ".join(_difference_words(row) for row in rows.itertuples())]
    fig.supxlabel("points ahead of the best supervised model of the same column", fontsize=8.5, color=FAINT)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return describe(
        fig, f"Differences to the best supervised model with all labels, in points. {'. '.join(said)}."
    )


def _difference_words(row: object) -> str:
    here = (
        "not run"
        if np.isnan(row.here)
        else f"{100 * row.here:+.0f} [{100 * row.low:+.0f}, {100 * row.high:+.0f}]"
    )  # type: ignore[attr-defined]
    return f"{row.label} published {100 * row.published:+.0f}, here {here}"  # type: ignore[attr-defined]


def column_differences(
    results: pd.DataFrame, folder: Path, paper: str, task: str, supervised: Sequence[str]
) -> pd.DataFrame:
    """Published and measured differences to the best supervised model: method, label, published, here, low, high."""
    scores = published.scores(paper, task)
    scores = scores[np.isclose(scores["fraction"], 1.0) & (scores["kind"] != "second-hand")].set_index(
        "method"
    )["value"]
    best = scores[[m for m in supervised if m in scores]].max()
    metric = "aa" if task == "segment" else MAIN[task]
    rival = _best(results, task, supervised, metric)
    rows = []
    for method in (m for m in scores.index if m not in supervised):
        own = _run_as(results, task, method)
        row = {"method": method, "label": get_method(own or method).label, "published": scores[method] - best,
               "here": np.nan, "low": np.nan, "high": np.nan}  # fmt: skip
        if own and rival:
            found = compare(folder, results, task, (own, 1.0), (rival, 1.0), metric).difference
            row |= {"here": found.value, "low": found.low, "high": found.high}
        rows.append(row)
    return pd.DataFrame(rows)


def _best(results: pd.DataFrame, task: str, methods: Sequence[str], metric: str) -> str:
    lines = finished(results, task)
    if not len(lines):
        return ""
    lines = lines[lines["method"].isin(methods) & np.isclose(lines["fraction"], 1.0)]
    return str(lines.groupby("method")[f"test.{metric}"].mean().idxmax()) if len(lines) else ""


def _run_as(results: pd.DataFrame, task: str, method: str) -> str:
    lines = finished(results, task)
    there = set(lines[np.isclose(lines["fraction"], 1.0)]["method"]) if len(lines) else set()
    return next((m for m in (method, STAND_INS.get(method, "")) if m in there), "")


def curves_beside(results: pd.DataFrame, folder: Path) -> Figure:
    """Score against the share of labels: published on the left, this run on the right, each with an axis of its own."""
    shown = (COLUMNS[0], COLUMNS[2], COLUMNS[3])
    fig, axes = plt.subplots(len(shown), 2, figsize=(6.4, 6.8), sharex=True)
    said = []
    for (left, right), (paper, task, _, title) in zip(axes, shown):
        scores = published.scores(paper, task)
        scores = scores[scores["kind"] != "second-hand"]
        names = [m for m, one in scores.groupby("method", sort=False) if len(one) > 1]
        theirs = scores[scores["method"].isin(names)].sort_values("fraction")
        ours = curve(results, folder, task, names, "aa") if len(finished(results, task)) else pd.DataFrame()
        ours = ours if len(ours) else pd.DataFrame(columns=["method", "fraction", "value"])
        said += [
            _lines(left, theirs, names, f"published: {title}"),
            _lines(right, ours, names, f"this run: {title}"),
        ]
        right.legend(
            *left.get_legend_handles_labels(), loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=3.2
        )
    for ax in axes[-1]:
        ax.set(xscale="log", xlabel="labels, %")
        ax.set_xticks([1, 10, 50, 100], ["1", "10", "50", "100"])
        ax.minorticks_off()
    return describe(fig, f"Average accuracy in percent against the share of labels. {' '.join(said)}")


def _lines(ax: Axes, table: pd.DataFrame, names: Sequence[str], title: str) -> str:
    parts: list[str] = []
    used: set[tuple[str, str]] = set()
    for i, name in enumerate(names):
        one, style = table[table["method"] == name], style_of(name)
        if (style["color"], style["linestyle"]) in used:  # two models from scratch share their colour
            style |= {"linestyle": ":", "marker": "v"}
        used.add((style["color"], style["linestyle"]))
        x, y = 100 * one["fraction"].to_numpy(float), 100 * one["value"].to_numpy(float)
        place = x * 1.02 ** (i - len(names) / 2)  # side by side, not on each other
        ax.plot(place, y, label=get_method(name).label, ms=5, **style)
        if "low" in one and len(one):
            ax.vlines(place, 100 * one["low"], 100 * one["high"], color=style_of(name)["color"], linewidth=1)
        values = ", ".join(f"{v:.0f} at {f:g}%" for f, v in zip(x, y)) or "not run"
        parts.append(f"{get_method(name).label} {values}")
    if not len(table):
        ax.text(0.5, 0.5, "not run", transform=ax.transAxes, ha="center", color=FAINT)
        ax.set_yticks([])
    where, _, column = title.partition(": ")
    ax.set_title(where, fontsize=9)
    if where == "published":
        ax.set_ylabel(f"{column.replace(', ', chr(10))}\nAA, %")
    ax.grid(axis="y", color=GRID)
    return f"{title}: {'; '.join(parts)}."
