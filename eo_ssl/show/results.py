"""Tables and plots of results: label efficiency with intervals, accuracy per class, confusion matrices.

Every figure brings alt text made from the numbers it shows. Colours are distinct for colour-blind readers, and
methods also differ by marker and line: the colour says what was pretrained, a dashed line that it stayed frozen.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from eo_ssl.evaluate.intervals import Interval
from eo_ssl.experiments.plan import METHODS, get_method
from eo_ssl.experiments.tables import MAIN, SECOND, finished, interval, pick
from eo_ssl.sensors import CLASS_NAMES
from eo_ssl.show.figure import GRID, INK, PALETTE, describe

METRIC_NAMES = {
    "aa": "average accuracy (AA)",
    "oa": "overall accuracy (OA)",
    "f1_macro": "macro F1",
    "f1_micro": "micro F1",
    "miou": "mean intersection over union (mIoU)",
}
PER_CLASS = {"single": "per_class", "multi": "f1_per_class", "segment": "iou_per_class"}
_COLOURS = {
    "s1": PALETTE[4], "s2": PALETTE[0], "early": PALETTE[5], "late": PALETTE[6],
    "simclr": PALETTE[0], "simclr-rgb": PALETTE[5], "dual-simclr": PALETTE[2], "mma": PALETTE[3],
    "swin-pair": PALETTE[1], "unet": PALETTE[5], "ensemble": PALETTE[4],
}  # fmt: skip
_MARKERS = "osD^vPX*"


def style_of(method: str) -> dict[str, str]:
    """Colour, line and marker that a method has in every figure."""
    found = get_method(method)
    key = found.pretraining or (found.model if found.model in _COLOURS else "late")
    line = "--" if found.mode == "frozen" else "-"
    return {"color": _COLOURS[key], "marker": _MARKERS[list(_COLOURS).index(key) % 8], "linestyle": line}


def table(results: pd.DataFrame, task: str, fraction: float = 1.0, digits: int = 0) -> pd.DataFrame:
    """The table of the papers: one row per method, mean ± standard deviation over seeds in percent.

    Columns are the two summary metrics and the classes (recall, F1 or IoU, after the task). A class that does not
    occur in the test set, or a single seed without spread, is shown as such.
    """
    rows = {}
    for name in _methods(results, task, fraction):
        lines = pick(results, task, name, fraction)
        per_class = np.array(lines[f"test.{PER_CLASS[task]}"].tolist(), dtype=float)  # (seeds, 8)
        row = {m: _spread(lines[f"test.{m}"].to_numpy(float), digits) for m in (MAIN[task], SECOND[task])}
        row |= {c: _spread(per_class[:, i], digits) for i, c in enumerate(CLASS_NAMES)}
        rows[get_method(name).label] = row
    names = {"aa": "AA", "oa": "OA", "f1_macro": "Avg F1", "f1_micro": "O-F1", "miou": "mIoU"}
    return pd.DataFrame.from_dict(rows, orient="index").rename(columns=names).rename_axis(columns="Method")


def _spread(values: np.ndarray, digits: int) -> str:
    if np.isnan(values).all():
        return "–"
    mean = f"{100 * np.nanmean(values):.{digits}f}"
    return f"{mean}\u00a0±\u00a0{100 * np.nanstd(values, ddof=1):.{digits}f}" if len(values) > 1 else mean


def _methods(results: pd.DataFrame, task: str, fraction: float | None = None) -> list[str]:
    """Methods with results, in the order of the tables."""
    found = finished(results, task)
    if fraction is not None and len(found):
        found = found[np.isclose(found["fraction"], fraction)]
    return [name for name in METHODS if len(found) and (found["method"] == name).any()]


def curve(
    results: pd.DataFrame, folder: str | Path, task: str, methods: Sequence[str] = (), metric: str = ""
) -> pd.DataFrame:
    """Value and interval of each method at each fraction: the numbers behind `label_efficiency`."""
    rows = []
    for name in methods or _methods(results, task):
        lines = finished(results, task)
        for fraction in sorted(lines.loc[lines["method"] == name, "fraction"].unique()):
            chosen = pick(results, task, name, fraction)
            found = interval(folder, results, task, name, fraction, metric)
            labels = round(float(chosen["n_labels"].mean())) if chosen["n_labels"].notna().any() else None
            row = {"method": name, "fraction": fraction, "labels": labels, "seeds": len(chosen)}
            rows.append({**row, **vars(found)})
    return pd.DataFrame(rows)


def label_efficiency(
    results: pd.DataFrame,
    folder: str | Path,
    task: str = "single",
    methods: Sequence[str] = (),
    metric: str = "",
) -> Figure:
    """Score against the share of labels, with 95% intervals over seeds and places."""
    points = curve(results, folder, task, methods, metric)
    fig, ax = plt.subplots(figsize=(6.4, 3.9))
    names = list(dict.fromkeys(points["method"]))
    for i, name in enumerate(names):
        one = points[points["method"] == name]
        x = 100 * one["fraction"].to_numpy() * 1.03 ** (i - len(names) / 2)  # side by side, not on each other
        y = 100 * one["value"].to_numpy()
        bars = [y - 100 * one["low"], 100 * one["high"] - y]
        ax.errorbar(x, y, yerr=np.clip(bars, 0, None), label=get_method(name).label, ms=5, capsize=2, elinewidth=1,
                    **style_of(name))  # fmt: skip
    ticks = sorted(100 * points["fraction"].unique())
    ax.set(xscale="log", xlabel="labels used for fine-tuning, % of the training patches")
    ax.set_ylabel(f"{METRIC_NAMES[metric or MAIN[task]]}, %")
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.minorticks_off()
    ax.grid(axis="y", color=GRID)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=3.2)  # a dash must show
    return describe(fig, _curve_alt(points, metric or MAIN[task]))


def _curve_alt(points: pd.DataFrame, metric: str) -> str:
    parts = []
    for name, one in points.groupby("method", sort=False):
        values = ", ".join(f"{_percent(row)} with {100 * row.fraction:g}%" for row in one.itertuples())
        parts.append(f"{get_method(name).label}: {values}")
    return (
        f"Line chart with intervals: {METRIC_NAMES[metric]} in percent against the share of labels. "
        f"{'; '.join(parts)} of the labels. Intervals: 95%, bootstrap over seeds and places."
    )


def _percent(row: object) -> str:
    return f"{Interval(100 * row.value, 100 * row.low, 100 * row.high):.0f}"  # type: ignore[attr-defined]


def per_class_bars(
    results: pd.DataFrame, task: str = "single", methods: Sequence[str] = (), fraction: float = 1.0
) -> Figure:
    """Recall (or F1, IoU) of each class as bars side by side, lines for the spread over seeds."""
    names = list(methods or _methods(results, task, fraction))
    fig, ax = plt.subplots(figsize=(7.4, 3.2))
    width, alt = 0.8 / max(1, len(names)), []
    for i, name in enumerate(names):
        lines = pick(results, task, name, fraction)
        values = 100 * np.array(lines[f"test.{PER_CLASS[task]}"].tolist(), dtype=float)  # (seeds, 8)
        mean = np.nan_to_num(values).mean(0)  # a class that does not occur has no bar
        spread = np.nan_to_num(values).std(0, ddof=1) if len(values) > 1 else None
        x = np.arange(len(CLASS_NAMES)) + (i - (len(names) - 1) / 2) * width
        hatch = "//" if get_method(name).mode == "frozen" else None
        ax.bar(x, mean, width, yerr=spread, color=style_of(name)["color"], hatch=hatch, edgecolor="white",
               linewidth=0.5, label=get_method(name).label, error_kw={"elinewidth": 0.8, "ecolor": INK})  # fmt: skip
        alt.append(
            f"{get_method(name).label}: " + ", ".join(f"{c} {v:.0f}" for c, v in zip(CLASS_NAMES, mean))
        )
    ax.set_xticks(range(len(CLASS_NAMES)), CLASS_NAMES)
    kind = {"single": "recall", "multi": "F1", "segment": "IoU"}[task]
    ax.set(ylim=(0, 105), ylabel=f"{kind}, %")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=min(4, len(names)))
    words = f"Bar chart: {kind} per class in percent, mean over seeds, {100 * fraction:g}% of the labels. "
    return describe(fig, words + "; ".join(alt) + ".")


def confusion(results: pd.DataFrame, method: str, task: str = "single", fraction: float = 1.0) -> Figure:
    """Confusion matrix summed over seeds, each row (true class) in percent."""
    lines = pick(results, task, method, fraction)
    counts = np.sum([np.array(one) for one in lines["test.confusion"]], 0).astype(float)  # (8, 8)
    share = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    fig, ax = plt.subplots(figsize=(4.9, 4.3))
    image = ax.imshow(share, cmap="cividis", vmin=0, vmax=100)
    for (i, j), value in np.ndenumerate(share):
        if counts[i].sum():
            ax.text(
                j,
                i,
                f"{value:.0f}",
                ha="center",
                va="center",
                fontsize=7.5,
                color="black" if value > 50 else "white",
            )
    ax.set_xticks(range(8), CLASS_NAMES, rotation=45, ha="right")
    ax.set_yticks(range(8), CLASS_NAMES)
    ax.set(xlabel="predicted", ylabel="true", title=get_method(method).label)
    fig.colorbar(image, ax=ax, shrink=0.8, label="% of the true class")
    return describe(fig, f"Confusion matrix of {get_method(method).label}. {_confusion_words(share, counts)}")


def _confusion_words(share: np.ndarray, counts: np.ndarray) -> str:
    words = []
    for i, name in enumerate(CLASS_NAMES):
        if not counts[i].sum():
            words.append(f"{name} does not occur")
            continue
        wrong = share[i].copy()
        wrong[i] = -1
        j = int(wrong.argmax())
        taken = f", {wrong[j]:.0f}% taken for {CLASS_NAMES[j]}" if wrong[j] >= 5 else ""
        words.append(f"{name}: {share[i, i]:.0f}% right{taken}")
    return "; ".join(words) + "."
