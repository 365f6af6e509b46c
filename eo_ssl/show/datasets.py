"""Figures of chapter 02: what is in a data set, its two label maps, its splits and what a split makes of a score."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from eo_ssl.evaluate.intervals import Interval, bootstrap_interval
from eo_ssl.sensors import CLASS_NAMES, NUM_CLASSES
from eo_ssl.show.composites import label_map, legend, true_colour
from eo_ssl.show.figure import FAINT, INK, PALETTE, axes_grid, describe

TRAIN, TEST = PALETTE[0], "#ee7733"
CAUTION = "*Smoke run, no evidence; the sentence only shows that it can be made:* "


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


def two_labels(patches: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Columns of patches (s2, fine map, coarse map): the picture, the 10 m label and the 500 m label of the same ground."""
    fig, axes = axes_grid(3, len(patches), 1.75)
    for (top, middle, bottom), (s2, fine, coarse) in zip(axes.T, patches):
        top.imshow(true_colour(s2))
        middle.imshow(label_map(fine))
        bottom.imshow(label_map(coarse))
        middle.set_title(f"agree on {np.mean(fine == coarse):.0%}", fontsize=8.5)
    for ax, name in zip(axes[:, 0], ("Sentinel-2", "fine: 10 m", "coarse: 500 m")):
        ax.text(-0.06, 0.5, name, rotation=90, ha="right", va="center", transform=ax.transAxes, color=FAINT)
    legend(axes[1, -1], bbox_to_anchor=(1.05, 0.5), fontsize=8)
    agree = ", ".join(f"{np.mean(fine == coarse):.0%}" for _, fine, coarse in patches)
    return describe(fig, f"{len(patches)} simulated patches in true colour, with a label map at 10 m that follows fields, "
                    f"roads and shores, and one at 500 m in blocks; they agree on {agree} of the pixels")  # fmt: skip


def label_confusion(counts: np.ndarray) -> Figure:
    """Pixels by fine label (rows) and coarse label (columns), each row as shares. Shape: counts (8, 8)."""
    total = counts.sum(1, keepdims=True)
    share = np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
    fig, ax = plt.subplots(figsize=(5.6, 4.2))
    ax.imshow(share, cmap="BuPu", vmin=0, vmax=1)
    for i, j in np.ndindex(*share.shape):
        if share[i, j] >= 0.05:
            ax.text(j, i, f"{100 * share[i, j]:.0f}", ha="center", va="center", fontsize=8,
                    color="white" if share[i, j] > 0.55 else INK)  # fmt: skip
    ax.set_xticks(range(NUM_CLASSES), CLASS_NAMES, rotation=35, ha="right")
    ax.set_yticks(range(NUM_CLASSES), CLASS_NAMES)
    ax.set(xlabel="coarse label (500 m)", ylabel="fine label (10 m)")
    ax.set_title("of 100 pixels with this fine label, so many have that coarse label")
    ax.tick_params(length=0)
    said = "; ".join(f"{CLASS_NAMES[i]} {share[i, i]:.0%}" for i in range(NUM_CLASSES) if total[i, 0])
    return describe(
        fig, f"Table of coarse label given fine label. Share of each fine class that keeps its name: {said}"
    )


def class_shares(labels: Mapping[str, np.ndarray], note: str = "patches by majority class") -> Figure:
    """Share of each class in named sets of labels, as grouped bars with the counts on top."""
    fig, ax = plt.subplots(figsize=(7.4, 2.9))
    width, said = 0.8 / len(labels), []
    for k, ((name, values), colour) in enumerate(zip(labels.items(), (TRAIN, PALETTE[5], TEST))):
        counts = np.bincount(values[values < NUM_CLASSES], minlength=NUM_CLASSES)
        at = np.arange(NUM_CLASSES) + (k - (len(labels) - 1) / 2) * width
        share = counts / max(1, counts.sum())
        ax.bar(at, share, width * 0.92, color=colour, label=f"{name} ({counts.sum()})")
        for x, y, n in zip(at, share, counts):
            ax.text(x, y, str(n), ha="center", va="bottom", fontsize=6.5, color=FAINT)
        said.append(f"{name}: " + ", ".join(f"{c} {n}" for c, n in zip(CLASS_NAMES, counts)))
    ax.set_xticks(range(NUM_CLASSES), CLASS_NAMES)
    ax.yaxis.set_major_formatter("{x:.0%}")
    ax.set(ylabel="share of the set")
    ax.tick_params(axis="x", length=0)
    ax.legend(
        title=note, title_fontsize=8, ncols=3, loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0
    )
    return describe(fig, f"Bars of {note}. {'. '.join(said)}")


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
    return describe(fig, f"{xlabel} with 95 % intervals. {'; '.join(said)}")


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


def label_lists(fractions: Sequence[float], curves: Mapping[str, Sequence[float]]) -> Figure:
    """Share of different patches against the nominal fraction; the honest list is the diagonal."""
    fig, ax = plt.subplots(figsize=(5.2, 3.4))
    ax.plot(fractions, fractions, color="#999999", linestyle="--", label="says what it is")
    for (name, share), colour in zip(curves.items(), PALETTE):
        ax.plot(fractions, share, color=colour, label=name, marker="o" if len(fractions) < 9 else "")
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="nominal fraction of the list",
        ylabel="different patches, share of all",
    )
    ticks = [0.01, 0.1, 0.5, 1.0]
    ax.set_xticks(ticks, [f"{t:.0%}" for t in ticks])
    ax.set_yticks(ticks, [f"{t:.0%}" for t in ticks])
    ax.minorticks_off()
    ax.grid()
    ax.legend()
    said = "; ".join(f"{n}: {s[0]:.1%} at nominal {fractions[0]:.0%}" for n, s in curves.items())
    return describe(
        fig, f"Share of different patches over the nominal label fraction, above the diagonal. {said}"
    )


def split_sentence(gap: Interval, random: Interval, honest: Interval, unit: str, evidence: bool) -> str:
    """By how much the random split flatters, if this run can tell; values are average accuracies."""
    points = f"{100 * gap.value:.0f} points, 95 % interval {100 * gap.low:.0f} to {100 * gap.high:.0f}"
    both = f"{random.value:.0%} when patches are split at random, {honest.value:.0%} when whole {unit} are kept apart"
    if gap.low > 0:
        verdict = f"**The random split flatters by {points}.**"
    elif gap.high < 0:
        verdict = f"**Here the random split does not flatter** ({points})."
    else:
        verdict = f"**This run cannot tell the two splits apart** ({points})."
    return f"{'' if evidence else CAUTION}Average accuracy {both}. {verdict}".replace("-", "−")


def mean_interval(values: np.ndarray) -> Interval:
    """Mean of independent values with its 95 % bootstrap interval."""
    return bootstrap_interval(values)
