"""Figures of chapter 11 about one pair of encoders with two heads: what is shared, and one pass that answers twice."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from torch import nn

from eo_ssl.errors import ConfigError
from eo_ssl.models.dual import BackboneModel
from eo_ssl.sensors import CLASS_NAMES, CLASSES
from eo_ssl.show.composites import label_map, radar, true_colour
from eo_ssl.show.figure import COLOURS, FAINT, INK, PALETTE, describe


def shared(first: nn.Module, second: nn.Module) -> tuple[int, int]:
    """How many numbers two models hold in common, and how many the first holds: the same memory, not equal values."""
    own = {p.data_ptr(): p.numel() for p in first.parameters()}
    there = {p.data_ptr() for p in second.parameters()}
    return sum(n for place, n in own.items() if place in there), sum(own.values())


def parameters(model: BackboneModel) -> dict[str, int]:
    """Parameters of the S1 encoder, the S2 encoder, and all the rest. Raises `ConfigError` without a pair."""
    pair = model.backbone
    if not hasattr(pair, "s1") or not hasattr(pair, "s2"):
        raise ConfigError(f"{type(model).__name__} has no pair of encoders")
    counts = {name: sum(p.numel() for p in getattr(pair, name).parameters()) for name in ("s1", "s2")}
    return {
        "S1 encoder": counts["s1"],
        "S2 encoder": counts["s2"],
        "head": sum(p.numel() for p in model.head_parameters()),
    }


def parameter_bars(models: Mapping[str, BackboneModel]) -> Figure:
    """Parameters of models over one pair of encoders as stacked bars: what is shared, and what each head adds."""
    counts = {name: parameters(model) for name, model in models.items()}
    fig, ax = plt.subplots(figsize=(7.2, 0.62 * len(counts) + 0.9))
    colours = {"S1 encoder": COLOURS["S1"], "S2 encoder": COLOURS["S2"], "head": PALETTE[3]}
    for y, parts in enumerate(counts.values()):
        left = 0
        for name, value in parts.items():
            ax.barh(
                y,
                value,
                left=left,
                color=colours[name],
                edgecolor="white",
                height=0.6,
                label=name if y == 0 else None,
            )
            left += value
        ax.text(
            left,
            y,
            f"  head: {parts['head']:,} ({parts['head'] / left:.1%})",
            va="center",
            fontsize=8,
            color=INK,
        )
    ax.set(
        yticks=range(len(counts)),
        yticklabels=list(counts),
        xlabel="parameters",
        ylim=(len(counts) - 0.5, -0.5),
    )
    ax.margins(x=0.32)
    ax.xaxis.set_major_formatter(lambda v, _: f"{v:,.0f}")
    ax.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.4, 1.0))
    said = "; ".join(
        f"{name}: {', '.join(f'{k} {v:,}' for k, v in parts.items())}" for name, parts in counts.items()
    )
    return describe(fig, f"Stacked bars of parameters. {said}. The encoders are the same in all of them.")


def two_answers(
    s1: np.ndarray, s2: np.ndarray, probability: np.ndarray, found: np.ndarray, truth: np.ndarray
) -> Figure:
    """One patch, two heads: S1 (2, H, W) dB and S2 (13, H, W), probabilities of the patch (8,), map and truth (H, W)."""
    fig, axes = plt.subplots(1, 5, figsize=(7.8, 1.75), width_ratios=(1, 1, 0.9, 1, 1))
    pictures = {0: (true_colour(s2), "Sentinel-2"), 1: (radar(s1), "Sentinel-1"), 3: (label_map(found), "head 2: the map"),
                4: (label_map(truth), "truth")}  # fmt: skip
    for column, (picture, title) in pictures.items():
        axes[column].imshow(picture)
        axes[column].set_title(title, fontsize=9)
        axes[column].set_axis_off()
    bars = axes[2]
    bars.barh(range(8), 100 * probability, color=[c.colour for c in CLASSES], edgecolor=FAINT, linewidth=0.4)
    bars.set_yticks(range(8), CLASS_NAMES, fontsize=6.5)
    bars.set(ylim=(7.6, -0.6), xlim=(0, 100))
    bars.set_title("head 1: the patch, %", fontsize=9)
    best = int(probability.argmax())
    share = np.bincount(truth[truth < 8].ravel(), minlength=8) / max(1, (truth < 8).sum())
    right = (found == truth)[truth < 8].mean() if (truth < 8).any() else float("nan")
    return describe(fig, f"One patch and two answers from the same encoders. The classifier says {CLASS_NAMES[best]} with "
                    f"{probability[best]:.0%}; the map is right in {right:.0%} of the pixels. Truth: mostly "
                    f"{CLASS_NAMES[int(share.argmax())]}, {share.max():.0%}.")  # fmt: skip
