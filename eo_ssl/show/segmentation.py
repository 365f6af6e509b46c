"""Figures, measurements and sentences of chapter 10: one label per pixel."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from eo_ssl.data.pair import Pair
from eo_ssl.experiments.plan import get_method
from eo_ssl.experiments.tables import compare, interval, pick
from eo_ssl.sensors import CLASS_NAMES, CLASSES, NUM_CLASSES
from eo_ssl.show.composites import label_map, radar, true_colour
from eo_ssl.show.evidence import caution
from eo_ssl.show.figure import COLOURS, FAINT, INK, PALETTE, axes_grid, describe

MODELS = ("unet", "swinunet-scratch", "swinunet-frozen", "swinunet-finetune", "ensemble")


def architecture(channels: Sequence[int], strides: Sequence[int], image_size: int) -> Figure:
    """SwinUNet with the channels and strides of its encoders: two columns down, two up, joined at the top."""
    fig, ax = plt.subplots(figsize=(7.6, 0.62 * len(channels) + 0.9))
    ax.set(xlim=(0, 100), ylim=(0.5 - len(channels), 2.1))
    ax.set_axis_off()
    for sensor, left, colour in (("Sentinel-1", 2, COLOURS["S1"]), ("Sentinel-2", 54, COLOURS["S2"])):
        ax.text(left, 0.35, f"{sensor}: encoder", fontsize=8.5, color=colour, fontweight="bold")
        ax.text(left + 24, 0.35, "decoder", fontsize=8.5, color=colour, fontweight="bold")
        for i, (width, stride) in enumerate(zip(channels, strides)):
            _map_box(ax, left, -i, f"{width} × {image_size // stride}²", colour, 0.3)
            if i == len(channels) - 1:
                continue
            _map_box(ax, left + 24, -i, f"{width} × {image_size // stride}²", colour, 0.15)
            _arrow(ax, (left + 16.5, -i), (left + 23.5, -i), "skip")
            _arrow(ax, (left + 8, -i - 0.32), (left + 8, -i - 0.68), "merge")
            start = (left + 16.5, -i - 1) if i == len(channels) - 2 else (left + 32, -i - 0.68)
            _arrow(ax, start, (left + 32, -i - 0.32), "expand")
        _arrow(ax, (left + 38, 0.32), (42 if left < 50 else 74, 1.22), "")
    box = f"side by side → expand × {strides[0]} → 1 × 1 convolution → {NUM_CLASSES} × {image_size}²"
    ax.text(50, 1.6, box, ha="center", va="center", fontsize=8.5, color=INK,
            bbox={"facecolor": COLOURS["fused"], "alpha": 0.25, "linewidth": 0, "pad": 5})  # fmt: skip
    sizes = ", ".join(
        f"{c} channels at {image_size // s} by {image_size // s}" for c, s in zip(channels, strides)
    )
    return describe(
        fig,
        f"SwinUNet. Each sensor has an encoder with {sizes}, and a decoder that expands the coarsest map back to the "
        f"finest, joined by a skip at each level. Both outputs are expanded {strides[0]} times to one label per pixel.",
    )


def _map_box(ax: Any, x: float, y: float, text: str, colour: str, alpha: float) -> None:
    ax.add_patch(Rectangle((x, y - 0.3), 16, 0.6, facecolor=colour, alpha=alpha, linewidth=0))
    ax.text(x + 8, y, text, ha="center", va="center", fontsize=8, color=INK)


def _arrow(ax: Any, start: tuple[float, float], end: tuple[float, float], word: str) -> None:
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": FAINT, "linewidth": 0.9})
    level = start[1] == end[1]
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    slanted = start[0] != end[0] and not level
    dx, dy = (0, 0.08) if level else (3, -0.14) if slanted else (0.8, 0)
    ax.text(x + dx, y + dy, word, fontsize=6.5, color=FAINT,
            ha="center" if level else "left", va="bottom" if level else "center")  # fmt: skip


def coverage_maps(views: Mapping[str, np.ndarray]) -> Figure:
    """Coverage of one patch, one panel per way of cropping; pixels never tested are hatched."""
    fig, axes = axes_grid(1, len(views), cell=1.9, extra=0.75)
    top = max(int(view.max()) for view in views.values())
    said = []
    for ax, (name, view) in zip(axes[0], views.items()):
        image = ax.imshow(view, cmap="cividis", vmin=0, vmax=max(top, 1))
        ax.contourf(view == 0, levels=[0.5, 1.5], hatches=["///"], colors="none")
        ax.set_title(f"{name}\n{(view == 0).mean():.0%} never tested", fontsize=8.5)
        said.append(
            f"{name}: {(view == 0).mean():.0%} of the pixels never, {(view > 1).mean():.0%} more than once"
        )
    fig.colorbar(image, ax=list(axes[0]), shrink=0.7, label="times tested", ticks=range(top + 1))
    return describe(fig, f"How often each pixel of a patch is tested. {'; '.join(said)}.")


def shift_lines(scores: pd.DataFrame) -> Figure:
    """Overall accuracy, mIoU and boundary F1 of a displaced map as lines."""
    fig, ax = plt.subplots(figsize=(5.2, 2.7))
    for (name, column), colour, marker in zip(scores.items(), PALETTE, "osD"):
        ax.plot(scores.index, 100 * column, color=colour, marker=marker, ms=4, label=name)
    ax.set(xlabel="the true map, displaced by … pixels", ylabel="score, %", ylim=(0, 103))
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    last = ", ".join(f"{name} {100 * value:.0f}%" for name, value in scores.iloc[-1].items())
    return describe(
        fig, f"Three scores of a perfect map against its displacement; at {scores.index[-1]} pixels: {last}."
    )


def redrawn_scores(redrawn: np.ndarray, whole: float) -> Figure:
    """Histogram of the mIoU of the same maps on redrawn random crops (draws,), and the mIoU of all their pixels."""
    fig, ax = plt.subplots(figsize=(5.4, 2.3))
    label = f"random crops, drawn {len(redrawn)} times"
    ax.hist(100 * redrawn, bins=12, color=PALETTE[0], alpha=0.8, label=label)
    ax.axvline(100 * whole, color=PALETTE[1], label="all pixels, by tiles")
    ax.set(xlabel="mIoU of the same predictions, %", ylabel="draws")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    spread = f"from {redrawn.min():.1%} to {redrawn.max():.1%}"
    return describe(fig, f"Histogram of mIoU on random crops, {spread}; on all pixels {whole:.1%}.")


def scores(results: pd.DataFrame, folder: Path, methods: Sequence[str] = MODELS) -> pd.DataFrame:
    """mIoU with its interval, pixel AA with its interval, boundary F1 and seconds of each training."""
    rows = {}
    for name in methods:
        lines = pick(results, "segment", name, 1.0)
        pooled = {m: interval(folder, results, "segment", name, 1.0, m) for m in ("miou", "aa")}
        rows[get_method(name).label] = {
            **{title: f"{100 * p.value:.0f} ({100 * p.low:.0f}–{100 * p.high:.0f})"
               for title, p in zip(("mIoU, %", "pixel AA, %"), pooled.values())},
            "boundary F1, %": f"{100 * lines['test.boundary_f1'].mean():.0f}",
            "seeds": len(lines),
            "seconds": "–" if name == "ensemble" else f"{lines['seconds'].mean():.0f}",  # it trains nothing
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("Method")


def verdict(results: pd.DataFrame, folder: Path, first: str, second: str, evidence: bool) -> str:
    """One paired difference in mIoU in words: ahead, behind, or not settled."""
    gain = compare(folder, results, "segment", (first, 1.0), (second, 1.0)).difference
    low, value, high = (100 * x for x in (gain.low, gain.value, gain.high))
    word = "**is ahead of**" if low > 0 else "**is behind**" if high < 0 else "**cannot be told from**"
    return caution(evidence) + (
        f"{get_method(first).label} {word} {get_method(second).label} with all labels: {value:+.1f} points of mIoU "
        f"(95% interval {low:+.1f} to {high:+.1f}, paired over seeds and places)."
    ).replace(" -", " −")


def real_panel(pairs: Sequence[Pair], maps: Mapping[str, np.ndarray], real: bool) -> Figure:
    """Predictions where there is no truth map: S2, S1 and one map (N, H, W) per model, labels as text."""
    kind = "real" if real else "simulated"
    titles = [f"Sentinel-2 ({kind})", f"Sentinel-1 ({kind})", *(get_method(n).label for n in maps)]
    fig, axes = axes_grid(len(pairs), len(titles), cell=1.5, extra=0.45)
    said = []
    for i, pair in enumerate(pairs):
        pictures = [
            true_colour(pair.s2, pair.s2_bands),
            radar(pair.s1),
            *(label_map(m[i]) for m in maps.values()),
        ]
        for ax, picture, title in zip(axes[i], pictures, titles):
            ax.imshow(picture)
            if i == 0:
                ax.set_title(
                    title.replace(", ", ",\n").replace(" from ", "\nfrom ").replace(" + ", "\n+ "),
                    fontsize=7.5,
                )
        words = "; ".join(pair.labels) or "no labels"
        caption = textwrap.fill(f"{pair.country}: {words}", 24 * len(titles))
        written = axes[i, 0].text(
            0, -0.03, caption, transform=axes[i, 0].transAxes, fontsize=7, va="top", color=INK
        )
        written.set_in_layout(False)  # it may run on below its neighbours
        said.append(
            f"Row {i + 1}, {pair.country}, labelled {words}: {_shares({n: m[i] for n, m in maps.items()})}"
        )
    handles = [Patch(facecolor=c.colour, edgecolor="#999999", linewidth=0.4, label=c.name) for c in CLASSES]
    fig.legend(handles=handles, loc="outside lower left", ncols=8, fontsize=7)
    return describe(fig, f"Predictions on {kind} patches, without a truth map. {'. '.join(said)}.")


def _shares(maps: Mapping[str, np.ndarray]) -> str:
    """The two commonest classes that each model predicts."""
    words = []
    for name, found in maps.items():
        share = np.bincount(found.ravel(), minlength=NUM_CLASSES) / found.size
        top = [f"{CLASS_NAMES[k]} {share[k]:.0%}" for k in np.argsort(-share)[:2] if share[k] > 0]
        words.append(f"{get_method(name).label} {' and '.join(top)}")
    return "; ".join(words)
