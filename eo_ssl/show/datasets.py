"""Figures of chapter 02: splits, what a split makes of a score, and what normalisation does to a spectrum."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from eo_ssl.evaluate.intervals import Interval, bootstrap_interval
from eo_ssl.show.dataset_labels import TEST, TRAIN
from eo_ssl.show.figure import FAINT, PALETTE, describe
from eo_ssl.show.words import caution


def mosaic(
    images: Sequence[np.ndarray], places: Sequence[tuple[int, float, float]], width: float
) -> tuple[np.ndarray, np.ndarray]:
    """Patches (B, h, h) pasted at (scene, x, y), in units of a patch: the scene (B, H, H) and where it is filled."""
    side = images[0].shape[-1]
    total = int(np.ceil(width * side))
    canvas, filled = np.zeros((len(images[0]), total, total), np.float32), np.zeros((total, total), bool)
    for image, (_, x, y) in zip(images, places):
        top, left = round(y * side), round(x * side)
        area = (slice(top, min(top + side, total)), slice(left, min(left + side, total)))
        h, w = canvas[(0, *area)].shape
        canvas[(slice(None), *area)] = np.nan_to_num(image[:, :h, :w])
        filled[area] = True
    return canvas, filled


def split_maps(
    frame: pd.DataFrame, splits: Mapping[str, np.ndarray], scenes: Sequence[str], size: int
) -> Figure:
    """Patches of some scenes as translucent squares, training or test, under named splits (N,) bool (True = test)."""
    fig, axes = plt.subplots(
        len(splits), len(scenes), figsize=(1.75 * len(scenes), 1.9 * len(splits)), squeeze=False
    )
    for line, (name, in_test) in zip(axes, splits.items()):
        for ax, scene in zip(line, scenes):
            own = (frame["scene"] == scene).to_numpy()
            extent = float(frame["resolution"].iloc[0]) * size
            for x, y, test in zip(frame["x"][own], frame["y"][own], np.asarray(in_test)[own]):
                style = {
                    "facecolor": TEST if test else TRAIN,
                    "edgecolor": "white",
                    "linewidth": 0.8,
                    "alpha": 0.45,
                }
                ax.add_patch(plt.Rectangle((x, y - extent), extent, extent, **style))
            ax.autoscale_view()
            ax.set_aspect("equal")
            ax.set_axis_off()
        line[0].text(
            -0.08, 0.5, name, rotation=90, ha="right", va="center", transform=line[0].transAxes, color=FAINT
        )
    handles = [
        plt.Rectangle((0, 0), 1, 1, color=c, alpha=0.6, label=n)
        for c, n in ((TRAIN, "training"), (TEST, "test"))
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=2)
    return describe(fig, f"{len(scenes)} scenes as overlapping squares under {len(splits)} splits ({', '.join(splits)}): "
                    "split by single patches, test squares lie on top of training squares everywhere; split by scenes, each "
                    "scene has one colour")  # fmt: skip


def scores(
    values: Mapping[str, Mapping[str, Interval]],
    xlabel: str,
    chance: float | None = None,
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """Scores with intervals: a block of lines for each outer name, a dot for each inner name."""
    inner = list(dict.fromkeys(name for block in values.values() for name in block))
    shown = dict(zip(inner, cycle((PALETTE[1], PALETTE[0], PALETTE[2], PALETTE[3])))) | dict(colours or {})
    fig, ax = plt.subplots(figsize=(6.4, 0.5 + 0.27 * sum(len(b) + 0.8 for b in values.values())))
    y, said = 0.0, []
    for block, items in values.items():
        ax.text(0.0, y - 0.75, block, transform=ax.get_yaxis_transform(), fontsize=8.5, fontweight="bold")
        for name, one in items.items():
            error = [[max(0, one.value - one.low)], [max(0, one.high - one.value)]]
            ax.errorbar(one.value, y, xerr=error, fmt="o", color=shown[name], capsize=3, markersize=6)
            ax.text(
                1.01,
                y,
                name,
                transform=ax.get_yaxis_transform(),
                va="center",
                fontsize=8.5,
                color=shown[name],
            )
            said.append(f"{block}, {name}: {one.value:.2f} ({one.low:.2f} to {one.high:.2f})")
            y += 1
        y += 1.3
    if chance is not None:
        ax.axvline(chance, color="#999999", linestyle="--", linewidth=1)
        ax.text(chance, y - 1.2, "chance ", ha="right", fontsize=8, color=FAINT)
    ax.set(xlim=(0, 1), ylim=(y - 0.9, -1.4), xlabel=xlabel, yticks=[])
    ax.spines["left"].set_visible(False)
    ax.grid(axis="x")
    return describe(fig, f"{xlabel} with 95% intervals. {'; '.join(said)}")


def normalised_spectra(
    measured: Mapping[str, np.ndarray], divided: Mapping[str, np.ndarray], bands: Sequence[str]
) -> Figure:
    """Band means of some places as reflectance, and after each channel was divided by its own maximum."""
    fig, axes = plt.subplots(1, 2, figsize=(7.6, 2.7))
    titles = ("as measured", "each channel divided by its maximum")
    for ax, curves, name in zip(axes, (measured, divided), titles):
        for (place, values), colour in zip(curves.items(), PALETTE):
            ax.plot(range(len(bands)), values, marker="o", markersize=4, color=colour, label=place)
        ax.set_xticks(range(len(bands)), bands, rotation=60, fontsize=7)
        ax.set(title=name, ylim=(0, None))
        ax.grid(axis="y")
    axes[0].set_ylabel("mean reflectance")
    axes[1].set_ylabel("mean share of the maximum")
    axes[0].legend()
    names = list(measured)
    ratio = [np.mean(c[names[1]]) / np.mean(c[names[0]]) for c in (measured, divided)]
    return describe(fig, f"Band means of {names[0]} and {names[1]}: as measured the second is {ratio[0]:.1f} times as "
                    f"bright on average, after division by the maximum of each channel {ratio[1]:.1f} times")  # fmt: skip


def split_sentence(gap: Interval, random: Interval, honest: Interval, unit: str, evidence: bool) -> str:
    """By how much the random split flatters, if this run can tell; values are average accuracies."""
    points = f"{100 * gap.value:.0f} points, 95% interval {100 * gap.low:.0f} to {100 * gap.high:.0f}"
    both = f"{random.value:.0%} when patches are split at random, {honest.value:.0%} when whole {unit} are kept apart"
    if gap.low > 0:
        verdict = f"**The random split flatters by {points}.**"
    elif gap.high < 0:
        verdict = f"**Here the random split does not flatter** ({points})."
    else:
        verdict = f"**This run cannot tell the two splits apart** ({points})."
    return f"{caution(evidence)}Average accuracy {both}. {verdict}".replace("-", "−")


def mean_interval(values: np.ndarray) -> Interval:
    """Mean of independent values with its 95% bootstrap interval."""
    return bootstrap_interval(values)
