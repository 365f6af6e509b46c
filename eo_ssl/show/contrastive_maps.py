"""Figures of chapter 06: maps of features, the cosine at each place, the search over offsets."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from eo_ssl.show.figure import COLOURS, FAINT, INK, axes_grid, describe


def as_colours(maps: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Feature maps (E, h, w) as pictures: their three main directions, found together, as red, green and blue."""
    flat = np.concatenate([m.reshape(len(m), -1).T for m in maps])  # (places, E)
    flat = flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    centred = flat - flat.mean(0)
    directions = np.linalg.svd(centred, full_matrices=False)[2][:3]
    scores = centred @ directions.T  # (places, 3)
    low, high = np.percentile(scores, [2, 98], axis=0)
    colours = np.clip((scores - low) / np.maximum(high - low, 1e-9), 0, 1)
    ends = np.cumsum([m[0].size for m in maps])[:-1]
    return [c.reshape(*m.shape[1:], -1) for c, m in zip(np.split(colours, ends), maps)]


def feature_maps(rows: Mapping[str, Sequence[np.ndarray]]) -> Figure:
    """Named rows of pictures, one column per patch."""
    columns = len(next(iter(rows.values())))
    fig, axes = axes_grid(len(rows), columns, 1.5, extra=0.05)
    for line, (name, pictures) in zip(axes, rows.items()):
        for ax, picture in zip(line, pictures):
            ax.imshow(picture)
        line[0].text(
            -0.06, 0.5, name, rotation=90, ha="right", va="center", transform=line[0].transAxes, color=FAINT
        )
    return describe(fig, f"{columns} patches in columns; rows: {', '.join(rows)}")


def place_by_place(radar: np.ndarray, optical: np.ndarray, cosine: np.ndarray, other: np.ndarray) -> Figure:
    """A pair of patches, the cosine of their maps at each place, and the same against another patch."""
    fig, axes = axes_grid(1, 4, 1.75)
    panels = (("Sentinel-1", radar), ("Sentinel-2", optical), (f"same place: {cosine.mean():.2f}", cosine),
              (f"another place: {other.mean():.2f}", other))  # fmt: skip
    for ax, (title, picture) in zip(axes[0], panels):
        shown = ax.imshow(picture, cmap="RdBu_r", vmin=-1, vmax=1)
        ax.set_title(title, fontsize=8.5)
    fig.colorbar(shown, ax=axes[0, -1], shrink=0.8, label="cosine")
    return describe(
        fig,
        f"A radar and an optical patch, and maps of the cosine between their features: mean {cosine.mean():.2f} for the "
        f"same place, {other.mean():.2f} against another one",
    )


def offsets(large: int, small: int) -> Figure:
    """All positions of a small map in a larger one: the square, its path, and how many offsets there are."""
    many = large - small + 1
    fig, axes = plt.subplots(1, 3, figsize=(7.4, 2.6))
    for ax, (y, x) in zip(axes, ((0, 0), (many // 2, many // 2), (many - 1, many - 1))):
        _grid(ax, large)
        ax.add_patch(
            Rectangle(
                (x, y),
                small,
                small,
                facecolor=COLOURS["S2"],
                alpha=0.45,
                edgecolor=COLOURS["S2"],
                linewidth=2,
            )
        )
        ax.set_title(f"offset ({y}, {x})", loc="center")
    return describe(
        fig,
        f"A map of {small} by {small} places laid over one of {large} by {large}: it fits in {many} by {many} positions; "
        "shown are the first, the middle and the last",
    )


def _grid(ax: Axes, size: int) -> None:
    ax.add_patch(
        Rectangle(
            (0, 0), size, size, facecolor=COLOURS["S1"], alpha=0.15, edgecolor=COLOURS["S1"], linewidth=2
        )
    )
    for k in range(1, size):
        ax.plot([k, k], [0, size], color="white", linewidth=0.8)
        ax.plot([0, size], [k, k], color="white", linewidth=0.8)
    ax.set(xlim=(-0.2, size + 0.2), ylim=(size + 0.2, -0.2), aspect="equal")
    ax.set_axis_off()


def surfaces(values: Mapping[str, np.ndarray], truth: Mapping[str, tuple[int, int] | None]) -> Figure:
    """Mean cosine over the offsets for several pairs; a ring marks the true offset, a cross the maximum."""
    fig, axes = plt.subplots(1, len(values), figsize=(2.3 * len(values) + 0.6, 2.5))
    low, high = min(v.min() for v in values.values()), max(v.max() for v in values.values())
    said = []
    for ax, (name, surface) in zip(np.atleast_1d(axes), values.items()):
        shown = ax.imshow(surface, cmap="viridis", vmin=low, vmax=high)
        y, x = np.unravel_index(surface.argmax(), surface.shape)
        ax.plot(x, y, marker="x", color="white", markersize=9, markeredgewidth=2.2)
        if truth.get(name) is not None:
            ax.plot(
                *truth[name][::-1],
                marker="o",
                color="none",
                markeredgecolor="#ff5533",
                markersize=17,
                markeredgewidth=2,
            )
        ax.set(title=name, xticks=range(surface.shape[1]), yticks=range(surface.shape[0]))
        where = "" if truth.get(name) is None else f", true offset ({truth[name][0]}, {truth[name][1]})"
        said.append(f"{name}: maximum {surface.max():.2f} at ({y}, {x}){where}")
    fig.colorbar(shown, ax=axes, shrink=0.8, label="mean cosine")
    return describe(fig, f"Mean cosine over all offsets. {'; '.join(said)}")


def bars_with_intervals(
    values: Mapping[str, tuple[float, float, float]], chance: float, label: str
) -> Figure:
    """Named shares with their 95% intervals, and the level of guessing."""
    fig, ax = plt.subplots(figsize=(5.6, 0.5 * len(values) + 1.0))
    for row, (mean, low, high) in enumerate(values.values()):
        ax.plot([low, high], [row, row], color=COLOURS["fused"], linewidth=2.4)
        ax.plot(mean, row, "o", color=COLOURS["fused"], markersize=7)
        ax.annotate(
            f"{mean:.0%}", (mean, row), (0, 8), textcoords="offset points", ha="center", fontsize=8, color=INK
        )
    ax.axvline(chance, color=COLOURS["chance"], linestyle="--", linewidth=1.5, label="guessing")
    ax.set(
        yticks=range(len(values)),
        yticklabels=list(values),
        xlim=(0, 1),
        xlabel=label,
        ylim=(len(values) - 0.5, -0.7),
    )
    ax.legend(loc="lower right")
    ax.grid(axis="x")
    said = "; ".join(f"{n} {m:.0%} ({100 * a:.0f}–{100 * b:.0f}%)" for n, (m, a, b) in values.items())
    return describe(fig, f"{label}, with 95% intervals: {said}; guessing {chance:.0%}")
