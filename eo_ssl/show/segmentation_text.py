"""Sentences of chapter 10, made from the numbers of the run and worded by what they show."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from eo_ssl.data.pair import Pair
from eo_ssl.experiments.plan import get_method
from eo_ssl.experiments.tables import pick
from eo_ssl.sensors import CLASS_NAMES, NUM_CLASSES
from eo_ssl.show.evidence import caution
from eo_ssl.show.segmentation import verdict


def against_unet(
    results: pd.DataFrame,
    folder: Path,
    parameters: Mapping[str, int],
    evidence: bool,
    rival: str = "swinunet-finetune",
) -> str:
    """SwinUNet against UNet, and what is unequal about the two: their size, and how far UNet's seeds lie apart.

    `parameters` holds the number of parameters of each method.
    """
    small, large = parameters["unet"], parameters[rival]
    text = verdict(results, folder, rival, "unet", evidence) + (
        f" But the two are not equals: {get_method(rival).label} has **{large / 1e6:.1f} million** parameters, the UNet "
        f"**{small / 1e6:.1f} million**."
    )
    scores = {
        name: 100 * pick(results, "segment", name, 1.0)["test.miou"].to_numpy(float)
        for name in ("unet", rival)
    }
    if len(scores["unet"]) < 2:
        return text
    each = np.array(
        pick(results, "segment", "unet", 1.0)["test.iou_per_class"].tolist(), dtype=float
    )  # (seeds, 8)
    ranges = np.nan_to_num(np.nanmax(each, 0) - np.nanmin(each, 0))
    worst = int(ranges.argmax())
    said = " and ".join(
        f"of {get_method(n).label} goes from {s.min():.0f} to {s.max():.0f}%" for n, s in scores.items()
    )
    return text + (
        f" Nor is one seed like another: over {len(each)} seeds the mIoU {said}, and the UNet's IoU of "
        f"{CLASS_NAMES[worst].lower()} from {100 * each[:, worst].min():.0f} to {100 * each[:, worst].max():.0f}%."
    )


def batches(table: pd.DataFrame) -> str:
    """What a table of `lessons.pixels.batch_table` shows: batches without a value, and how far the means lie apart."""
    small = table.iloc[0]
    means = table[["mean of the rest", "sorted by class"]].to_numpy(float)
    pooled = means[-1, 0]
    far = 100 * (means[:-1] - pooled).flat[np.abs(means[:-1] - pooled).argmax()]
    lacking = int(small["without a value"])
    first = (
        f"Of the {table.index[0]}, {lacking} of {int(small['batches'])} lack a class; one of them makes the mean of all NaN."
        if lacking
        else f"Here even the {table.index[0]} hold every class, which is luck."
    )
    return (
        f"{first} Leave the absent classes out, and the score of the *same predictions* depends on the batch size and on "
        f"the order: it is up to {abs(far):.0f} points {'above' if far > 0 else 'below'} the pooled {pooled:.1%}. Only the "
        "pooled count depends on neither."
    )


def abroad(pairs: Sequence[Pair], maps: np.ndarray, sure: Mapping[str, float], evidence: bool) -> str:
    """How the predicted maps (N, H, W) of pairs fit their lists of names, and how sure the model is at home and away."""
    common = [int(np.bincount(m.ravel(), minlength=NUM_CLASSES).argmax()) for m in maps]
    fits = sum(bool(pair.eight[k]) for pair, k in zip(pairs, common))
    names = np.mean([np.count_nonzero(pair.eight) for pair in pairs])
    return caution(evidence) + (
        f"The commonest class of the ensemble's map is among the names given to the patch in {fits} of these {len(pairs)} "
        f"patches. That is a mild test: a patch names {names:.1f} of the {NUM_CLASSES} classes on average, so naming one "
        f"blindly fits in {names / NUM_CLASSES:.0%}. Its mean confidence is {sure['these']:.0%} here and "
        f"{sure['validation']:.0%} on validation patches of its own kind. Compare the two: a network that is as sure of an "
        "unknown world as of its own does not know that it travels. Chapter 07 looked at how far it does."
    )
