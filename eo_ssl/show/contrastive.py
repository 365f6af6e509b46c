"""Figures of chapters 05, 06 and 09: the chance level, training curves, nearest neighbours."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from eo_ssl.show.figure import COLOURS, INK, PALETTE, describe


def chance_level(others: np.ndarray, same_sensor: bool = True) -> float:
    """Loss of pure guessing, mean log of the number of candidates, in nats.

    `others` (N, N) bool marks the pairs that count as negatives (False on the diagonal). NT-Xent has a candidate
    per view (`same_sensor`), CLIP and MMA only those of the other sensor.

    >>> float(np.exp(chance_level(~np.eye(4, dtype=bool))).round(3))
    7.0
    """
    negatives = others.sum(1) * (2 if same_sensor else 1)
    return float(np.log1p(negatives).mean())


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
