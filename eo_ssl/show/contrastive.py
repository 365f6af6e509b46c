"""Figures of chapter 04: a contrastive loss, its temperature, its chance level, its collapse."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from eo_ssl.show.contrastive_steps import PARTNER, worked_example
from eo_ssl.show.figure import COLOURS, FAINT, INK, PALETTE, describe

__all__ = [
    "chance_curve",
    "chance_level",
    "circles",
    "neighbours",
    "softmax_shares",
    "temperatures",
    "training",
    "worked_example",
]

NEGATIVE = PALETTE[1]


def softmax_shares(positive: float, negatives: np.ndarray, temperature: float) -> np.ndarray:
    """Shares of the softmax over one partner (first) and its negatives: softmax([s₊, s₁, …] / τ), (1 + K,).

    >>> softmax_shares(0.5, np.array([0.5, 0.5]), 0.1).round(3).tolist()
    [0.333, 0.333, 0.333]
    """
    logits = np.concatenate([[positive], np.asarray(negatives, dtype=float)]) / temperature
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def temperatures(positive: float, negatives: np.ndarray, values: Sequence[float]) -> Figure:
    """The same similarities under several temperatures: who is pushed, and how hard."""
    ordered = np.sort(negatives)[::-1]
    fig, axes = plt.subplots(1, len(values), figsize=(7.6, 2.5), sharey=True)
    said = []
    for ax, value in zip(axes, values):
        share = softmax_shares(positive, ordered, value)
        ax.bar([0], share[:1], color=PARTNER, width=1.0, label="partner")
        ax.bar(np.arange(2, len(share) + 1), share[1:], color=NEGATIVE, width=1.0, label="negatives")
        ax.set(title=f"τ = {value:g}", xticks=[], xlabel="partner, then negatives", ylim=(0, 1))
        said.append(
            f"at τ = {value:g} the partner has {share[0]:.0%} and the hardest negative {share[1]:.0%}"
        )
    axes[0].set_ylabel("softmax share")
    axes[-1].legend(loc="upper right")
    return describe(fig, f"Softmax shares of one partner and {len(ordered)} negatives: {'; '.join(said)}")


def chance_level(others: np.ndarray, same_sensor: bool = True) -> float:
    """Loss of pure guessing, mean log of the number of candidates, in nats.

    `others` (N, N) bool marks the pairs that count as negatives (False on the diagonal). NT-Xent has a candidate
    per view (`same_sensor`), CLIP and MMA only those of the other sensor.

    >>> float(np.exp(chance_level(~np.eye(4, dtype=bool))).round(3))
    7.0
    """
    negatives = others.sum(1) * (2 if same_sensor else 1)
    return float(np.log1p(negatives).mean())


def chance_curve(batch_sizes: Sequence[int]) -> Figure:
    """log(2N − 1) over the batch size, in nats and bits."""
    n = np.array(batch_sizes)
    chance = np.log(2 * n - 1)
    fig, ax = plt.subplots(figsize=(5.6, 2.9))
    ax.plot(n, chance, color=PALETTE[0], marker="o", markersize=4.5)
    for x, y in zip(n, chance):
        ax.annotate(
            f"{y:.1f}", (x, y), (0, 6), textcoords="offset points", ha="center", fontsize=8, color=FAINT
        )
    ax.set(
        xscale="log", xlabel="pairs in the batch, N", ylabel="log(2N − 1)  (nats)", ylim=(0, chance[-1] * 1.2)
    )
    ax.set_xticks(n, [f"{x:,}" for x in n], minor=False)
    ax.minorticks_off()
    ax.grid(axis="y")
    return describe(
        fig,
        f"The loss of guessing grows with the logarithm of the batch: {chance[0]:.1f} nats for {n[0]} pairs, "
        f"{chance[-1]:.1f} for {n[-1]:,}",
    )


def circles(
    embeddings: Mapping[str, np.ndarray],
    colour: np.ndarray,
    spread: Mapping[str, Sequence[float]],
    label: str,
) -> Figure:
    """Two-dimensional embeddings on the unit circle, one panel per loss, and their spread during training."""
    fig, axes = plt.subplots(
        1, len(embeddings) + 1, figsize=(7.8, 2.8), width_ratios=[1] * len(embeddings) + [1.25]
    )
    jitter = 1 + 0.045 * np.random.default_rng(0).standard_normal(len(colour))  # radius only: shows crowding
    for ax, (name, z) in zip(axes, embeddings.items()):
        ax.add_patch(plt.Circle((0, 0), 1, fill=False, color="#c5ccd3", linewidth=1))
        points = ax.scatter(*(z * jitter[:, None]).T, c=colour, cmap="viridis", s=14, linewidth=0)
        ax.set(xlim=(-1.25, 1.25), ylim=(-1.25, 1.25), aspect="equal", title=name)
        ax.set_axis_off()
    fig.colorbar(points, ax=axes[0], location="left", shrink=0.7, label=label)
    for name, values in spread.items():
        axes[-1].plot(values, label=name)
    axes[-1].set(xlabel="update", ylabel="spread (1 = even)", ylim=(0, 1.1))
    axes[-1].legend(loc="center right")
    axes[-1].grid(axis="y")
    said = "; ".join(f"{n}: spread {v[0]:.2f} before, {v[-1]:.2f} after" for n, v in spread.items())
    return describe(fig, f"Embeddings on the unit circle after training. {said}")


def training(history: pd.DataFrame, chance: float, note: str = "held-out") -> Figure:
    """Curves of a pretraining run: losses with the chance level, retrieval among held-out patches, spread."""
    fig, (loss, rank, spread) = plt.subplots(1, 3, figsize=(7.8, 2.6))
    epoch = history["epoch"]
    loss.plot(epoch, history["train_loss"], label="training batches")
    loss.plot(epoch, history["val_loss"], label=note)
    loss.axhline(chance, color=COLOURS["chance"], linestyle="--", label=f"{note}, guessing")
    rank.plot(epoch, history["val_top1"], label="first", color=PALETTE[2])
    rank.plot(epoch, history["val_top5"], label="among five", color=PALETTE[3])
    rank.plot(epoch, history["val_chance_top5"], color=COLOURS["chance"], ls="--", label="five, guessing")
    spread.plot(epoch, history["val_spread"], color=PALETTE[4])
    for ax, title in zip((loss, rank, spread), ("loss (nats)", "partner found", "spread of z")):
        ax.set(xlabel="epoch", title=title, ylim=(0, None))
        ax.grid(axis="y")
    rank.set_ylim(0, 1.04), spread.set_ylim(0, 1.1)
    loss.legend(fontsize=7), rank.legend(fontsize=7)
    last = history.iloc[-1]
    return describe(
        fig,
        f"Training over {len(history)} epochs. Held-out loss from {history['val_loss'].iloc[0]:.2f} to "
        f"{last['val_loss']:.2f}, guessing {chance:.2f}; partner found first for {last['val_top1']:.0%}, among five "
        f"for {last['val_top5']:.0%}; spread of the embeddings {last['val_spread']:.2f}",
    )


def neighbours(
    queries: Sequence[np.ndarray], found: Sequence[Sequence[np.ndarray]], titles: Sequence[Sequence[str]]
) -> Figure:
    """One row per query picture: the query, a gap, and its nearest neighbours, with a title each."""
    columns = 1 + len(found[0])
    fig, axes = plt.subplots(
        len(queries), columns, figsize=(1.5 * columns, 1.72 * len(queries)), squeeze=False
    )
    for row, query, near, names in zip(axes, queries, found, titles):
        for ax, picture, name in zip(row, [query, *near], names):
            ax.imshow(picture)
            ax.set(xticks=[], yticks=[])
            ax.set_title(name, fontsize=8, loc="center")
            ax.spines[:].set_visible(False)
        row[0].spines[:].set(visible=True, color=INK, linewidth=2.5)
    said = "; ".join(f"{names[0]}: {', '.join(names[1:])}" for names in titles)
    return describe(fig, f"Queries (left, framed) and their nearest neighbours. {said}")
