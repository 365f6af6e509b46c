"""Figures of chapter 02 about labels: two maps of one ground, class shares, lists of labels with copies."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from eo_ssl.sensors import CLASS_NAMES, NUM_CLASSES
from eo_ssl.show.composites import label_map, legend, true_colour
from eo_ssl.show.figure import FAINT, INK, PALETTE, axes_grid, describe

TRAIN, TEST = PALETTE[0], "#ee7733"


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
