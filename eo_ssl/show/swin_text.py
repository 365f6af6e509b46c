"""Sentences of chapter 09, made from the numbers of the run and worded by what they show."""

from collections.abc import Mapping

import pandas as pd

from eo_ssl.show.words import caution


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
