"""Measurements of chapter 10: what a score of pixels depends on besides the model."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from eo_ssl.data.pair import Pair
from eo_ssl.evaluate.metrics import average_accuracy, boundary_counts, boundary_f1, confusion_matrix, mean_iou
from eo_ssl.evaluate.predict import corners
from eo_ssl.sensors import IGNORE, NUM_CLASSES


def coverage(size: int, crop: int, rng: np.random.Generator | None = None) -> np.ndarray:
    """How often each pixel of a patch is tested (size, size): by tiles, or with `rng` by as many random crops."""
    starts = corners(size, crop)
    places = [(y, x) for y in starts for x in starts]
    if rng is not None:
        places = rng.integers(0, size - crop + 1, (len(places), 2)).tolist()
    seen = np.zeros((size, size), dtype=int)
    for top, left in places:
        seen[top : top + crop, left : left + crop] += 1
    return seen


def map_confusion(found: Tensor, truth: Tensor) -> np.ndarray:
    """Confusion of label maps with the truth (N, H, W), one matrix per patch: (N, 8, 8)."""
    return np.stack([confusion_matrix(f, t.long(), NUM_CLASSES).numpy() for f, t in zip(found, truth)])


def crop_scores(found: Tensor, truth: Tensor, crop: int, draws: int, seed: int = 0) -> np.ndarray:
    """mIoU of the same maps (N, H, W) scored on one random crop per patch, drawn `draws` times: (draws,)."""
    rng, size, scores = np.random.default_rng(seed), truth.shape[-1], []
    for _ in range(draws):
        places = rng.integers(0, size - crop + 1, (len(truth), 2)).tolist()
        cut = [
            torch.stack([m[y : y + crop, x : x + crop] for m, (y, x) in zip(maps, places)])
            for maps in (found, truth)
        ]
        scores.append(mean_iou(map_confusion(*cut).sum(0)[None])[0])
    return np.array(scores)


def batch_means(counts: np.ndarray, batch_size: int) -> tuple[int, int, float]:
    """The published way: pixel AA per batch, then the mean. Batches that are NaN, batches, mean of what is left
    when absent classes are skipped. Shape: counts (N, K, K)."""
    batches = [counts[i : i + batch_size].sum(0) for i in range(0, len(counts), batch_size)]
    undefined = sum(bool((c.sum(1) == 0).any()) for c in batches)
    return undefined, len(batches), float(np.mean([average_accuracy(c[None])[0] for c in batches if c.sum()]))


def shifted(truth: Tensor, shifts: Sequence[int]) -> pd.DataFrame:
    """Scores of a perfect map that is displaced sideways by some pixels. Shape: truth (N, H, W)."""
    rows = []
    for by in shifts:
        found = torch.roll(truth, by, dims=2)
        keep, target = found != IGNORE, truth.clone()
        target[..., : max(by, 0)] = IGNORE  # what was rolled in from the other side has no verdict
        target = torch.where(keep, target, torch.full_like(target, IGNORE))
        counts = map_confusion(found, target).sum(0)
        edges = boundary_counts(found.long(), target.long())
        rows.append({
            "pixels": by, "overall accuracy": np.trace(counts) / max(counts.sum(), 1),
            "mIoU": mean_iou(counts[None])[0], "boundary F1": boundary_f1(edges)["boundary_f1"] or 0.0,
        })  # fmt: skip
    return pd.DataFrame(rows).set_index("pixels")


def batch_table(counts: np.ndarray, sizes: Sequence[int]) -> pd.DataFrame:
    """Pixel AA as a mean over batches, in the given order and sorted by commonest class; last row: pooled.

    Shape: counts (N, K, K). Columns: batches, those without a value, and the two means without absent classes.
    """
    order = np.argsort(counts.sum(2).argmax(1), kind="stable")
    rows = {}
    for size in (*sizes, len(counts)):
        undefined, total, mean = batch_means(counts, size)
        name = f"batches of {size}" if size in sizes else "pooled over the set"
        rows[name] = {
            "batches": total, "without a value": undefined, "mean of the rest": mean,
            "sorted by class": batch_means(counts[order], size)[2],
        }  # fmt: skip
    return pd.DataFrame(rows).T


def agreement(members: Mapping[str, Tensor], truth: Tensor) -> tuple[float, pd.DataFrame]:
    """How often two models agree on labelled pixels, and shares of right pixels of both and of their average.

    Shape: members (N, K, H, W) probabilities, truth (N, H, W).
    """
    one, two = members.values()
    known, agree = truth != IGNORE, one.argmax(1) == two.argmax(1)
    right = {name: p.argmax(1) == truth for name, p in (members | {"both": (one + two) / 2}).items()}
    shares = {
        "all pixels": {name: r[known].float().mean().item() for name, r in right.items()},
        "where they disagree": {name: r[known & ~agree].float().mean().item() for name, r in right.items()},
    }
    return agree[known].float().mean().item(), pd.DataFrame(shares)


def various(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """Some pairs, each chosen to show classes, or a country, that those before it lack."""
    left, picked, seen = list(pairs), [], set()
    while left and len(picked) < count:
        shows = [{*np.flatnonzero(pair.eight).tolist(), pair.country} for pair in left]
        best = max(range(len(left)), key=lambda i: len(shows[i] - seen))
        seen |= shows[best]
        picked.append(left.pop(best))
    return picked


def moved(before: Sequence[nn.Module], after: Sequence[nn.Module]) -> float:
    """How far all weights of some networks have moved, as a share of their length: ‖after − before‖ / ‖before‖."""
    old, new = (torch.cat([p.detach().flatten().cpu() for m in nets for p in m.parameters()])
                for nets in (before, after))  # fmt: skip
    return ((new - old).norm() / old.norm()).item()
