"""Figures and sentences of chapter 03: where sensors meet, how classes are shared out, what was found."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eo_ssl.experiments.plan import get_method
from eo_ssl.experiments.tables import MAIN, compare, interval
from eo_ssl.sensors import CLASS_NAMES, CLASSES
from eo_ssl.show.evidence import caution
from eo_ssl.show.figure import COLOURS, FAINT, INK, PALETTE, describe


def _box(ax: Axes, x: float, y: float, width: float, text: str, colour: str, alpha: float = 0.3) -> None:
    ax.add_patch(plt.Rectangle((x, y - 3.4), width, 6.8, facecolor=colour, alpha=alpha, linewidth=0))
    ax.text(x + width / 2, y, text, ha="center", va="center", fontsize=8, color=INK)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": FAINT})


def fusion_points() -> Figure:
    """The four models side by side: S1 alone, S2 alone, early fusion, late fusion."""
    fig, axes = plt.subplots(1, 4, figsize=(8.6, 2.3))
    s1, s2, both = COLOURS["S1"], COLOURS["S2"], COLOURS["fused"]
    for ax, title in zip(axes, ("only S1", "only S2", "early fusion", "late fusion")):
        ax.set(xlim=(0, 40), ylim=(0, 46))
        ax.set_title(title, fontsize=9.5)
        ax.set_axis_off()
        _box(ax, 9, 40, 22, "8 logits", FAINT, 0.15)
    for ax, colour, bands in ((axes[0], s1, 2), (axes[1], s2, 13), (axes[2], both, 15)):
        _box(ax, 9, 24, 22, "encoder", colour)
        if bands == 15:
            _box(ax, 1, 6, 17, "2 bands", s1, 0.2)
            _box(ax, 22, 6, 17, "13 bands", s2, 0.2)
            _arrow(ax, (9.5, 10), (16, 20))
            _arrow(ax, (30.5, 10), (24, 20))
        else:
            _box(ax, 9, 6, 22, f"{bands} bands", colour, 0.2)
            _arrow(ax, (20, 10), (20, 20))
        _arrow(ax, (20, 28), (20, 36))
    for x, colour, bands in ((1, s1, 2), (22, s2, 13)):
        _box(axes[3], x, 6, 17, f"{bands} bands", colour, 0.2)
        _box(axes[3], x, 24, 17, "encoder", colour)
        _arrow(axes[3], (x + 8.5, 10), (x + 8.5, 20))
        _arrow(axes[3], (x + 8.5, 28), (x + 8.5 + (6 if x == 1 else -6), 36))
    return describe(
        fig,
        "Four models, from bands at the bottom to eight logits at the top. Only S1 and only S2 have one encoder. "
        "Early fusion stacks all 15 bands in front of one encoder. Late fusion has one encoder per sensor and "
        "joins their features below the logits.",
    )


def class_shares(shares: Mapping[str, np.ndarray]) -> Figure:
    """Share of patches by majority class, one row of bars per split. Each value: (8,) summing to one."""
    fig, ax = plt.subplots(figsize=(7.4, 0.62 * len(shares) + 0.9))
    said = []
    for y, (name, share) in enumerate(shares.items()):
        left = 0.0
        for cls, part in zip(CLASSES, share):
            ax.barh(y, part, left=left, color=cls.colour, edgecolor="white", height=0.72)
            if part > 0.06:
                dark = cls.name in ("Forest", "Urban", "Water")
                ax.text(left + part / 2, y, cls.name, ha="center", va="center", fontsize=7.5,
                        color="white" if dark else INK)  # fmt: skip
            left += part
        words = ", ".join(f"{n} {p:.0%}" for n, p in zip(CLASS_NAMES, share))
        said.append(f"{name}: {words}")
    ax.set(yticks=range(len(shares)), yticklabels=list(shares), xlim=(0, 1), xticks=[])
    ax.invert_yaxis()
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.tick_params(length=0)
    return describe(fig, f"Share of patches by majority class. {'; '.join(said)}")


def lost_sensor(scores: pd.DataFrame, classes: int = len(CLASS_NAMES)) -> Figure:
    """Average accuracy with both sensors and without one: rows models, columns what the model was given.

    `classes` is how many occur among the patches: an answer that is always the same one gets one of them right.
    """
    fig, ax = plt.subplots(figsize=(5.6, 2.9))
    x, width = np.arange(len(scores)), 0.8 / scores.shape[1]
    for i, (name, column) in enumerate(scores.items()):
        bars = ax.bar(x + (i - (scores.shape[1] - 1) / 2) * width, 100 * column, 0.92 * width, label=name,
                      color=(COLOURS["fused"], COLOURS["S1"], COLOURS["S2"])[i])  # fmt: skip
        ax.bar_label(bars, fmt="%.0f", fontsize=8, color=FAINT)
    ax.axhline(
        100 / classes, color=COLOURS["chance"], linestyle=":", linewidth=1.2, label="always the same class"
    )
    ax.set(xticks=x, xticklabels=list(scores.index), ylabel="average accuracy, %", ylim=(0, None))
    ax.margins(y=0.2)
    ax.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.2), fontsize=8)
    said = "; ".join(
        f"{model}: {', '.join(f'{name} {100 * value:.0f}%' for name, value in row.items())}"
        for model, row in scores.iterrows()
    )
    return describe(fig, f"Average accuracy on validation with all sensors and without one. {said}")


def batch_averages(values: Sequence[float], pooled: float) -> Figure:
    """Average accuracies of small batches as a histogram, beside the pooled one."""
    fig, ax = plt.subplots(figsize=(5.4, 2.5))
    finite = 100 * np.asarray([v for v in values if np.isfinite(v)])
    if len(finite):
        ax.hist(finite, bins=20, color=PALETTE[0], alpha=0.8)
    ax.axvline(100 * pooled, color=PALETTE[1], label=f"all patches pooled: {100 * pooled:.0f}%")
    ax.set(xlabel="average accuracy of one batch, % (classes that occur in it)", ylabel="batches")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))
    spread = f"from {finite.min():.0f} to {finite.max():.0f}%" if len(finite) else "undefined everywhere"
    return describe(
        fig,
        f"Histogram of batch-wise average accuracies, {spread}; pooled over all patches {100 * pooled:.0f}%",
    )


def best_words(results: pd.DataFrame, folder: Path, task: str, evidence: bool, fraction: float = 1.0) -> str:
    """Which fusion leads, by how much over the best single sensor, and whether the interval excludes zero."""
    scores = {
        name: interval(folder, results, task, name, fraction) for name in ("s1", "s2", "early", "late")
        if ((results["method"] == name) & (results["task"] == task)).any()
    }  # fmt: skip
    single = max(
        (name for name in scores if name in ("s1", "s2")), key=lambda n: scores[n].value, default=None
    )
    fused = max((name for name in scores if name in ("early", "late")), key=lambda n: scores[n].value)
    if single is None:
        return (
            caution(evidence)
            + f"{get_method(fused).label} leads with {metric_name(task)} {_percent(scores[fused])}."
        )
    gain = compare(folder, results, task, (fused, fraction), (single, fraction)).difference
    low, high = 100 * gain.low, 100 * gain.high
    sign = "ahead" if gain.value > 0 else "behind"
    sure = (
        "The interval of the difference leaves out zero: fusion made a difference here."
        if low > 0 or high < 0
        else "The interval of the difference includes zero: this run does not settle whether fusion helps."
    )
    return caution(evidence) + (
        f"The better fusion is **{get_method(fused).label.lower()}**, {metric_name(task)} {_percent(scores[fused])}, and the "
        f"better single sensor **{get_method(single).label.replace('Only ', '')}**, {_percent(scores[single])}: fusion is "
        f"{sign} by {abs(100 * gain.value):.1f} points ({low:+.1f} to {high:+.1f}, paired over seeds and "
        f"places). {sure}"
    )


def _percent(found: object) -> str:
    return f"{100 * found.value:.0f}% ({100 * found.low:.0f}–{100 * found.high:.0f}%)"  # type: ignore[attr-defined]


def metric_name(task: str) -> str:
    """The main metric of a task in words."""
    return {"aa": "average accuracy", "f1_macro": "macro F1", "miou": "mIoU"}[MAIN[task]]
