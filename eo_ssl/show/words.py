"""Results in words: signs, intervals, the three-way verdict, and the caution of a run too short to be evidence.

A sentence says no more than its interval: one of two methods is *ahead* where the 95% interval of the paired difference
leaves out zero, and otherwise the two cannot be told apart. Names are quoted as they are, never in lower case.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from eo_ssl.evaluate.intervals import Interval
from eo_ssl.profiles import NO_EVIDENCE

Score = Interval | tuple[float, float, float] | float  # value, low, high, or a value alone


def three(score: Score) -> tuple[float, float, float]:
    """Value, low and high of a score; a number alone is all three."""
    if isinstance(score, Interval):
        return score.value, score.low, score.high
    return tuple(score) if isinstance(score, Sequence) else (score, score, score)


def minus(text: str) -> str:
    """The text with true minus signs before numbers; hyphens in names and dates stay.

    >>> minus("-1.5 in the run of 2017-06-13 with Dual-SimCLR")
    '−1.5 in the run of 2017-06-13 with Dual-SimCLR'
    """
    return re.sub(r"(?<![\w-])-(?=\d)", "−", text)


def caution(run: Any) -> str:
    """What stands in front of a computed sentence: nothing where the run (or the bool) is evidence.

    >>> caution(False), caution(True)
    ('*Smoke run, not evidence:* ', '')
    """
    return "" if getattr(run, "is_evidence", run) else f"*{NO_EVIDENCE.capitalize()}:* "


def signed(share: float) -> str:
    """A difference of shares in points, with its sign: no "−0.0".

    >>> signed(0.0421), signed(-0.0421), signed(-0.0002)
    ('+4.2', '−4.2', '0.0')
    """
    points = round(100 * share, 1)
    return minus(f"{points:+.1f}") if points else "0.0"


def percent(found: Score) -> str:
    """A share with its interval in percent.

    >>> percent(Interval(0.621, 0.58, 0.66))
    '62% (58–66%)'
    """
    value, low, high = (f"{100 * x:.0f}" for x in three(found))
    return f"{value}% ({low}–{high}%)"


def points(gap: Score) -> str:
    """A difference of shares in points, with its 95% interval.

    >>> points(Interval(0.02, 0.001, 0.04))
    '+2.0 points (95% interval +0.1 to +4.0)'
    """
    value, low, high = map(signed, three(gap))
    return f"{value} points (95% interval {low} to {high})"


def settled(gap: Score) -> int:
    """What the interval of a difference settles: 1 above zero, −1 below, 0 where, as printed, it includes zero; or is NaN."""
    _, low, high = (round(x, 3) for x in three(gap))
    return 1 if low > 0 else -1 if high < 0 else 0


def verdict(first: str, second: str, gap: Score, by: str = "average accuracy") -> str:
    """Which of two is ahead, if the interval of `first` − `second` lets one tell; the winner stands first.

    >>> verdict("SimCLR", "Late fusion", Interval(-0.02, -0.04, -0.001))
    '**Late fusion is ahead of SimCLR** by average accuracy: +2.0 points (95% interval +0.1 to +4.0)'
    >>> verdict("SimCLR", "Late fusion", Interval(-0.02, -0.04, 0.001))
    '**SimCLR and Late fusion cannot be told apart** by average accuracy: −2.0 points (95% interval −4.0 to +0.1)'
    """
    value, low, high = three(gap)
    if settled(gap) < 0:
        first, second, gap = second, first, (-value, -high, -low)
    said = f"{first} is ahead of {second}" if settled(gap) else f"{first} and {second} cannot be told apart"
    return f"**{said}** by {by}: {points(gap)}"


def trained(history: pd.DataFrame, chance: float, what: str = "the partner", spread: bool = True) -> str:
    """What a pretraining run reached on held-out pairs, against guessing; `spread` says whether z kept apart.

    `history` holds the metrics per epoch, `chance` is the loss of guessing in nats, `what` is found in the retrieval.
    """
    best, first, last = exported(history), history.iloc[0], history.iloc[-1]
    if best["val_loss"] < chance - 0.05:
        loss = (
            f"The held-out loss went from {first['val_loss']:.2f} to **{best['val_loss']:.2f}** "
            f"(guessing: {chance:.2f}) in epoch {best['epoch']:.0f} of {len(history)}, kept as the best at finding partners"
        )
    else:
        loss = f"The held-out loss is {best['val_loss']:.2f}, **no better than guessing** ({chance:.2f})"
        fell = last["train_loss"] < first["train_loss"] - 0.5
        if fell and best["val_top5"] > 1.5 * best["val_chance_top5"]:  # sure of itself, and often wrong
            loss += (
                f", while that of the training batches fell to {last['train_loss']:.2f}: the network **overfits** its "
                "training scenes. On new ones it is often wrong and sure of itself, which costs more than guessing. "
                "It has learned something all the same"
            )
    found = (
        f"{what} came first for **{best['val_top1']:.0%}** of the held-out patches and was among the first "
        f"five for {best['val_top5']:.0%}, where guessing gives {best['val_chance_top5']:.0%}"
    )
    apart = "kept apart" if best["val_spread"] > 0.1 else "**collapsed** nearly to a point"
    tail = f"; the embeddings {apart} (spread {best['val_spread']:.2f})" if spread else ""
    return f"{loss}; {found}{tail}."


def exported(history: pd.DataFrame) -> pd.Series:
    """The epoch of a pretraining run whose weights are kept: the one with the best mean reciprocal rank."""
    return history.loc[history["val_mrr"].idxmax()]


def listed(values: Mapping[str, float], form: str = "{:.0%}") -> str:
    """Names with their numbers, in a row.

    >>> listed({"Forest": 0.5, "Water": 0.25})
    'Forest 50%, Water 25%'
    """
    return ", ".join(f"{name} {form.format(value)}" for name, value in values.items())
