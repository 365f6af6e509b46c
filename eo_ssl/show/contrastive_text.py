"""Sentences of chapters 04 to 06, made from the numbers of the run and worded by what they show."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from eo_ssl.show.evidence import caution

__all__ = ["caution", "compared", "interval", "neighbours_agree", "share", "trained"]


def trained(
    history: pd.DataFrame, chance: float, evidence: bool, what: str = "its partner", spread: bool = True
) -> str:
    """What a pretraining run reached on held-out pairs, against guessing; `spread` says whether z kept apart."""
    best = history.loc[history["val_mrr"].idxmax()]  # the epoch that pretraining exports
    first = history["val_loss"].iloc[0]
    if best["val_loss"] < chance - 0.05:
        loss = (
            f"The held-out loss went from {first:.2f} to **{best['val_loss']:.2f}** "
            f"(guessing: {chance:.2f}) in epoch {best['epoch']:.0f} of {len(history)}, which is kept"
        )
    else:
        loss = f"The held-out loss is {best['val_loss']:.2f}, **no better than guessing** ({chance:.2f})"
        loss += _overfitting(history, best)
    found = (
        f"{what} came first for **{best['val_top1']:.0%}** of the held-out patches and was among the first "
        f"five for {best['val_top5']:.0%}, where guessing gives {best['val_chance_top5']:.0%}"
    )
    kept = (
        "the embeddings kept apart"
        if best["val_spread"] > 0.1
        else "the embeddings **collapsed** nearly to a point"
    )
    tail = f"; {kept} (spread {best['val_spread']:.2f})." if spread else "."
    return caution(evidence) + f"{loss}; {found}{tail}"


def _overfitting(history: pd.DataFrame, best: pd.Series) -> str:
    """Why retrieval may beat guessing while the loss does not: the network is sure of itself, and often wrong."""
    fell = history["train_loss"].iloc[-1] < history["train_loss"].iloc[0] - 0.5
    if not fell or best["val_top5"] <= 1.5 * best["val_chance_top5"]:
        return ""
    return (
        f", while that of the training batches fell to {history['train_loss'].iloc[-1]:.2f}: the network **overfits** "
        "its training scenes. On new ones it is often wrong and sure of itself, which costs more than guessing. It "
        "has learned something all the same"
    )


def interval(successes: np.ndarray, seed: int = 0, draws: int = 2000) -> tuple[float, float, float]:
    """Mean of 0/1 results with a 95 % bootstrap interval over the items.

    >>> interval(np.ones(10))
    (1.0, 1.0, 1.0)
    """
    values = np.asarray(successes, dtype=float)
    picks = np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))
    low, high = np.percentile(values[picks].mean(1), [2.5, 97.5])
    return float(values.mean()), float(low), float(high)


def share(successes: np.ndarray) -> str:
    """A share with its bootstrap interval in words, such as "62% (50–74%)"."""
    mean, low, high = interval(successes)
    return f"{mean:.0%} ({100 * low:.0f}–{100 * high:.0f}%)"


def compared(names: tuple[str, str], first: np.ndarray, second: np.ndarray, what: str, evidence: bool) -> str:
    """With which of two methods `what` ("the partner is first") is more often true, if the run can tell."""
    difference = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    mean, low, high = interval(difference)
    points = f"{100 * mean:+.0f} points, 95% interval {100 * low:+.0f} to {100 * high:+.0f}".replace("-", "−")
    if low > 0 or high < 0:
        better, other = names if low > 0 else names[::-1]
        verdict = f"**With {better} {what} more often than with {other}** ({points})"
    else:
        verdict = f"**This run cannot tell {names[0]} and {names[1]} apart** by how often {what} ({points})"
    return caution(evidence) + verdict + f"; {len(difference)} patches, one pretraining seed."


def neighbours_agree(shares: Mapping[str, np.ndarray], evidence: bool) -> str:
    """How often neighbours show the query's class under two encoders, and whether the run can tell them apart."""
    (first, a), (second, b) = shares.items()
    mean, low, high = interval(a - b)
    if low > 0 or high < 0:
        better, other = (first, second) if mean > 0 else (second, first)
        verdict = f"**{better} is ahead of {other}** by {abs(100 * mean):.0f} points"
    else:
        verdict = f"**{first} and {second} cannot be told apart**"
    return caution(evidence) + (
        f"Share of neighbours with the majority class of the query: {first} {share(a)}, {second} {share(b)}. {verdict} "
        f"(95% interval of the difference {100 * low:+.0f} to {100 * high:+.0f} points, {len(a)} queries)."
    ).replace("-", "−")
