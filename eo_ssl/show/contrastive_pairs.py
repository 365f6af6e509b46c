"""Figures of chapter 05: two sensors as two views, overlapping neighbours, the similarity matrix."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from eo_ssl.show.figure import COLOURS, FAINT, INK, PALETTE, axes_grid, describe


def guessing_game(optical: Sequence[np.ndarray], radar: Sequence[np.ndarray]) -> Figure:
    """Numbered optical pictures above, lettered radar pictures below, in the order given."""
    fig, axes = axes_grid(2, len(optical), 1.28)
    for i, (ax, picture) in enumerate(zip(axes[0], optical)):
        ax.imshow(picture)
        ax.set_title(str(i + 1), loc="center", color=COLOURS["S2"], fontweight="bold")
    for i, (ax, picture) in enumerate(zip(axes[1], radar)):
        ax.imshow(picture)
        ax.set_title("abcdefghijkl"[i], loc="center", color=COLOURS["S1"], fontweight="bold")
    return describe(
        fig,
        f"A guessing game: {len(optical)} Sentinel-2 patches numbered from 1, and below them the Sentinel-1 patches of "
        "the same places in another order, lettered from a",
    )


def architecture() -> Figure:
    """Dual-SimCLR: an encoder and a head per sensor, one loss between them."""
    fig, ax = plt.subplots(figsize=(7.4, 2.7))
    ax.set(xlim=(0, 100), ylim=(0, 36))
    ax.set_axis_off()
    for y, name, bands, key in ((26, "Sentinel-1", "2 × H × W", "S1"), (8, "Sentinel-2", "13 × H × W", "S2")):
        colour, k = COLOURS[key], key[1]
        steps = [
            (1, 15, f"{name}\n{bands}", 0.16),
            (22, 15, f"encoder $f_{k}$\nits own weights", 0.34),
            (44, 10, f"$h_{k}$\nkept", 0.16),
            (60, 11, f"head $g_{k}$\n2 layers", 0.34),
            (77, 8, f"$z_{k}$", 0.16),
        ]
        for x, width, text, alpha in steps:
            _box(ax, x, y, width, text, colour, alpha)
        for (x, width, *_), (end, *_) in pairwise(steps):
            ax.annotate(
                "", (end - 0.6, y), (x + width + 0.6, y), arrowprops={"arrowstyle": "-|>", "color": FAINT}
            )
    ax.annotate(
        "", (81, 12.5), (81, 21.5), arrowprops={"arrowstyle": "<|-|>", "color": INK, "linewidth": 1.6}
    )
    ax.text(84, 17, "NT-Xent:\nsame place?", va="center", fontsize=9, color=INK)
    ax.text(
        49,
        17,
        "after pretraining, the heads go",
        ha="center",
        va="center",
        fontsize=8.5,
        color=FAINT,
        style="italic",
    )
    return describe(
        fig,
        "Diagram: a Sentinel-1 patch goes through its own encoder to features h1 and through a head to z1; a Sentinel-2 "
        "patch through another encoder and head to z2; NT-Xent compares z1 with z2. The heads are dropped after pretraining",
    )


def _box(ax: Axes, x: float, y: float, width: float, text: str, colour: str, alpha: float) -> None:
    ax.add_patch(
        FancyBboxPatch(
            (x, y - 5), width, 10, boxstyle="round,pad=0.4", facecolor=colour, alpha=alpha, edgecolor="none"
        )
    )
    ax.text(x + width / 2, y, text, ha="center", va="center", fontsize=8.5, color=INK, linespacing=1.4)


def overlapping(first: np.ndarray, second: np.ndarray, shift: tuple[int, int]) -> Figure:
    """Two patches of one scene, the second `shift` (rows, columns) pixels on; the ground in both is framed."""
    height, width = first.shape[:2]
    fig, axes = axes_grid(1, 2, 2.6)
    corners = (max(shift[0], 0), max(shift[1], 0)), (max(-shift[0], 0), max(-shift[1], 0))
    tall, wide = height - abs(shift[0]), width - abs(shift[1])
    for ax, picture, (y, x), name in zip(axes[0], (first, second), corners, ("anchor", "its “negative”")):
        ax.imshow(picture)
        ax.add_patch(
            Rectangle((x - 0.5, y - 0.5), wide, tall, fill=False, edgecolor="#ffdd33", linewidth=2.5)
        )
        ax.set_title(name)
    return describe(
        fig,
        f"Two neighbouring patches of one scene; the framed part, {tall * wide / (height * width):.0%} of each, "
        "is the same ground",
    )


def matrices(values: Mapping[str, np.ndarray], overlap: np.ndarray) -> Figure:
    """Cosines of every radar patch (row) with every optical patch (column); dots mark shared ground."""
    fig, axes = plt.subplots(1, len(values), figsize=(3.7 * len(values), 3.5))
    said = []
    for ax, (name, matrix) in zip(np.atleast_1d(axes), values.items()):
        shown = ax.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1)
        rows, columns = np.nonzero(overlap)
        ax.scatter(columns, rows, s=5, color=INK, linewidth=0)
        ax.set(title=name, xlabel="Sentinel-2 patch", ylabel="Sentinel-1 patch", xticks=[], yticks=[])
        others = ~overlap & ~np.eye(len(matrix), dtype=bool)
        rest = f"other places {matrix[others].mean():.2f}" if others.any() else "no other places"
        said.append(f"{name}: partners {np.diag(matrix).mean():.2f}, {rest}")
    fig.colorbar(shown, ax=axes, shrink=0.8, label="cosine")
    return describe(
        fig, f"Matrices of cosines between radar and optical patches, mean values: {'; '.join(said)}"
    )


def alignment_uniformity(history: pd.DataFrame) -> Figure:
    """The path of a run in the plane of alignment and uniformity, both better towards the lower left."""
    fig, ax = plt.subplots(figsize=(5.0, 3.3))
    x, y = history["val_uniformity"], history["val_alignment"]
    ax.plot(x, y, color=FAINT, linewidth=1)
    points = ax.scatter(x, y, c=history["epoch"], cmap="viridis", s=28, zorder=3)
    fig.colorbar(points, label="epoch")
    ax.annotate("first", (x.iloc[0], y.iloc[0]), (6, 4), textcoords="offset points", fontsize=8)
    ax.annotate("last", (x.iloc[-1], y.iloc[-1]), (6, 4), textcoords="offset points", fontsize=8)
    ax.set(xlabel="uniformity (lower: more evenly spread)", ylabel="alignment (lower: partners closer)")
    ax.grid()
    ax.margins(0.12)
    return describe(
        fig,
        f"Alignment against uniformity over {len(history)} epochs: from alignment {y.iloc[0]:.2f}, uniformity "
        f"{x.iloc[0]:.2f} to {y.iloc[-1]:.2f} and {x.iloc[-1]:.2f}",
    )


def push(counts: Mapping[str, float], forces: Mapping[str, float]) -> Figure:
    """Two stacked bars: who the negatives are, and on whom the push of the loss falls; values are shares."""
    fig, ax = plt.subplots(figsize=(6.4, 1.7))
    for row, shares in enumerate((counts, forces)):
        left = 0.0
        for colour, (name, value) in zip((PALETTE[1], PALETTE[0]), shares.items()):
            ax.barh(row, value, left=left, color=colour, height=0.62, label=name if row == 0 else None)
            if value > 0.04:  # a thinner slice has no room for its number; the alt text has it
                ax.text(
                    left + value / 2, row, f"{value:.0%}", ha="center", va="center", color="white", fontsize=8
                )
            left += value
    ax.set(yticks=[0, 1], yticklabels=["their number", "the push"], xlim=(0, 1), xticks=[])
    ax.invert_yaxis()
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=2)
    ax.spines[:].set_visible(False)
    said = ", ".join(
        f"{name} {counts[name]:.0%} of the negatives and {forces[name]:.0%} of the push" for name in counts
    )
    return describe(fig, f"Who is pushed away: {said}")
