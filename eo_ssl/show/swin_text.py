"""Sentences of chapter 09, made from the numbers of the run and worded by what they show."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from eo_ssl.experiments.plan import get_method
from eo_ssl.experiments.tables import compare, finished
from eo_ssl.show.evidence import caution


def compared(
    results: pd.DataFrame, folder: Path, first: str, second: str, evidence: bool, fraction: float = 1.0
) -> str:
    """Two methods at one label fraction, worded by the 95% interval of their paired difference."""
    said = _verdict(results, folder, (first, second), fraction)
    return f"{caution(evidence)}With {fraction:.0%} of the labels, {said}"


def verdicts(results: pd.DataFrame, folder: Path, couples: Sequence[tuple[str, str]], evidence: bool) -> str:
    """All couples at every label fraction that all of their methods have, one list per fraction (Markdown)."""
    done = finished(results, "single")
    names = {name for couple in couples for name in couple}
    shared = set.intersection(*(set(done.loc[done["method"] == name, "fraction"]) for name in names))
    lists = []
    for fraction in sorted(shared):
        lines = [f"- {_verdict(results, folder, couple, fraction)}" for couple in couples]
        lists.append("\n".join([f"{caution(evidence)}With **{fraction:.0%}** of the labels:\n", *lines]))
    return "\n\n".join([*lists, "All are paired over seeds and places."])


def _verdict(results: pd.DataFrame, folder: Path, couple: tuple[str, str], fraction: float) -> str:
    gain = compare(folder, results, "single", (couple[0], fraction), (couple[1], fraction)).difference
    low, value, high = (100 * x for x in (gain.low, gain.value, gain.high))
    word = "is **ahead of**" if low > 0 else "is **behind**" if high < 0 else "**cannot be told from**"
    first, second = (get_method(name).label for name in couple)
    numbers = f"{value:+.1f} points (95% interval {low:+.1f} to {high:+.1f})".replace("-", "−")
    return f"*{first}* {word} *{second}*; in average accuracy they differ by {numbers}."


def starting_points(histories: Mapping[str, pd.DataFrame], chance: float, evidence: bool) -> str:
    """How much each pretraining had learned before the comparison begins, on held-out pairs, against guessing.

    `histories` holds the metrics per epoch under each name, the last one the rival; `chance` is the loss of guessing.
    """
    said, weak = [], []
    for name, history in histories.items():
        best = history.loc[history["val_mrr"].idxmax()]  # the epoch that pretraining exports
        said.append(
            f"the {name} finds the partner among the first five for **{best['val_top5']:.0%}** of the held-out patches, "
            f"at a loss of {best['val_loss']:.2f}"
        )
        if best["val_loss"] > chance - 0.05:
            weak.append(name)
    guess = f"guessing finds {next(iter(histories.values()))['val_chance_top5'].iloc[0]:.0%}, at {chance:.2f}"
    text = f"{caution(evidence)}How far had pretraining come? On pairs it had not seen, {'; '.join(said)}; {guess}. "
    if not weak:
        return text + "Both pairs had learned what carries over to new scenes."
    what = "both losses are" if len(weak) == len(histories) else f"the loss of the {weak[0]} is"
    least = min(
        histories, key=lambda name: histories[name].loc[histories[name]["val_mrr"].idxmax(), "val_top5"]
    )
    return text + (
        f"So {what} **no better than guessing**, and the {least} brings the least along: where it is behind below, that "
        "says as much about this short pretraining as about the kind of network."
    )
