"""Figures of chapter 04: a contrastive loss worked out on screen, its temperature, its chance level, its collapse."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eo_ssl.show.figure import COLOURS, FAINT, INK, PALETTE, describe

PARTNER, NEGATIVE = PALETTE[2], PALETTE[1]


def worked_example(
    similarity: np.ndarray, logits: np.ndarray, share: np.ndarray, pictures: Sequence[np.ndarray]
) -> Figure:
    """The four steps of NT-Xent for N pairs: cosines, logits, softmax of each row, and the partner's −log share.

    Shape: similarity, logits, share (2N, 2N), logits with −inf on the diagonal; 2N pictures (H, W, 3).
    """
    n2 = len(similarity)
    partner = (np.arange(n2) + n2 // 2) % n2
    fig, axes = plt.subplots(2, 2, figsize=(7.8, 8.1))
    _table(axes[0, 0], similarity, "1 · cosine of every view with every other", "RdBu_r", (-1, 1), "{:.1f}")
    _table(axes[0, 1], logits, "2 · divided by τ, own view masked", "RdBu_r", _even(logits), "{:.0f}")
    _table(axes[1, 0], share, "3 · softmax of each row: shares", "Greens", (0, 1), "{:.2f}")
    for ax in axes.flat[:3]:
        for i, j in enumerate(partner):
            ax.add_patch(plt.Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor=INK, linewidth=1.6))
        _beside(ax, pictures)
    own = share[np.arange(n2), partner]
    _losses(axes[1, 1], own, np.log(n2 - 1))
    return describe(
        fig,
        f"Four steps for {n2 // 2} pairs of views: a {n2} by {n2} table of cosines; the same divided by the "
        f"temperature with the diagonal masked; softmax shares by row with each partner's cell outlined "
        f"(from {own.min():.2f} to {own.max():.2f}); and minus the logarithm of those shares as bars, "
        f"mean {-np.log(own).mean():.2f}, against a chance level of {np.log(n2 - 1):.2f}",
    )


def _even(values: np.ndarray) -> tuple[float, float]:
    top = float(np.abs(values[np.isfinite(values)]).max())
    return -top, top


def _table(ax: Axes, values: np.ndarray, title: str, cmap: str, span: tuple[float, float], form: str) -> None:
    """A small matrix with its numbers; masked cells are hatched."""
    shown = np.where(np.isfinite(values), values, np.nan)
    ax.imshow(shown, cmap=cmap, vmin=span[0], vmax=span[1])
    for (i, j), value in np.ndenumerate(values):
        if not np.isfinite(value):
            ax.add_patch(
                plt.Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor="#eeeeee", edgecolor="#aaaaaa",
                              hatch="///", linewidth=0)
            )  # fmt: skip
            continue
        strong = abs(value) > 0.62 * max(abs(span[0]), abs(span[1]))
        text = form.format(value).replace("-", "−").replace("−0.0", "0.0")
        ax.text(j, i, text, ha="center", va="center", fontsize=7.5, color="white" if strong else INK)
    ax.set(xticks=[], yticks=[], title=title)
    ax.spines[:].set_visible(False)


def _beside(ax: Axes, pictures: Sequence[np.ndarray]) -> None:
    """Thumbnails of the views left of the rows and below the columns."""
    count = len(pictures)
    for k, picture in enumerate(pictures):
        for box in (
            (-0.13, 1 - (k + 0.94) / count, 0.11, 0.88 / count),
            ((k + 0.06) / count, -0.13, 0.88 / count, 0.11),
        ):
            inset = ax.inset_axes(box)
            inset.imshow(picture, aspect="auto")
            inset.set_axis_off()


def _losses(ax: Axes, own: np.ndarray, chance: float) -> None:
    """−log of the partner's share per anchor, their mean and the chance level."""
    loss = -np.log(own)
    ax.barh(np.arange(len(loss)), loss, color=PARTNER, height=0.7)
    ax.axvline(loss.mean(), color=INK, linewidth=1.5)
    ax.axvline(chance, color=COLOURS["chance"], linestyle="--", linewidth=1.5)
    ax.text(loss.mean(), -0.75, f" mean {loss.mean():.2f}", fontsize=8, color=INK)
    ax.text(chance, len(loss) - 0.35, f"chance {chance:.2f} ", fontsize=8, color=FAINT, ha="right")
    ax.set(yticks=range(len(loss)), yticklabels=[f"view {i + 1}" for i in range(len(loss))])
    ax.set(title="4 · −log of the partner's share", ylim=(len(loss) - 0.2, -1.1))
    ax.set_xlim(0, 1.08 * max(chance, float(loss.max())))


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
