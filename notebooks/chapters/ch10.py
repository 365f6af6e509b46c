"""Chapter 10: what a score of pixels depends on besides the model, the panels of maps, and the exercise checks."""

import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from eo_ssl import show
from eo_ssl.course.checks import exercise, expect, expect_close, expect_shape, numbers
from eo_ssl.data.samples import Pair
from eo_ssl.evaluate import metrics
from eo_ssl.evaluate.predict import corners, probabilities
from eo_ssl.experiments.plan import get_method
from eo_ssl.experiments.tables import interval, pick
from eo_ssl.files import inside
from eo_ssl.sensors import CLASS_NAMES, IGNORE, NUM_CLASSES
from eo_ssl.show.words import listed, percent
from eo_ssl.train.embed import pair_batch
from eo_ssl.train.labelled import Patches

MODELS = ("unet", "swinunet-scratch", "swinunet-frozen", "swinunet-finetune", "ensemble")
PANEL = ("unet", "swinunet-scratch", "swinunet-finetune", "ensemble")
# Right, wrong, unlabelled: distinct in lightness as well as in hue.
_VERDICT = np.array([[0.85, 0.89, 0.93], [0.80, 0.20, 0.07], [1.0, 1.0, 1.0]])

# --- What a score depends on ---


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


def crop_scores(found: Tensor, truth: Tensor, crop: int, draws: int) -> np.ndarray:
    """mIoU of the same maps (N, H, W) scored on one random crop per patch, drawn `draws` times: (draws,)."""
    rng, size, scores = np.random.default_rng(0), truth.shape[-1], []
    for _ in range(draws):
        counts = 0
        for (y, x), *maps in zip(rng.integers(0, size - crop + 1, (len(truth), 2)), found, truth):
            counts = counts + metrics.confusion_matrix(*(one[y : y + crop, x : x + crop] for one in maps))
        scores.append(metrics.mean_iou(counts))
    return np.array(scores)


def shifted(truth: Tensor, shifts: Sequence[int]) -> pd.DataFrame:
    """Scores of a perfect map that is displaced sideways by some pixels. Shape: truth (N, H, W)."""
    rows = []
    for by in shifts:
        found = torch.roll(truth, by, dims=2)
        target = truth.masked_fill(found == IGNORE, IGNORE)
        target[..., : max(by, 0)] = IGNORE  # what was rolled in from the other side has no verdict
        counts = metrics.confusion_matrix(found, target)
        edges = metrics.boundary_f1(metrics.boundary_counts(found, target))["boundary_f1"]
        rows.append((metrics.overall_accuracy(counts), metrics.mean_iou(counts), edges or 0.0))
    names = ["overall accuracy", "mIoU", "boundary F1"]
    return pd.DataFrame(rows, index=pd.Index(shifts, name="pixels"), columns=names)


def batch_table(counts: np.ndarray, sizes: Sequence[int]) -> pd.DataFrame:
    """Pixel AA the published way, as a mean over batches, in the given order and sorted by commonest class.

    Shape: counts (N, K, K); the last row is pooled. Columns: batches, those without a value because a class is absent,
    and the two means with absent classes left out.
    """
    ordered = counts[np.argsort(counts.sum(2).argmax(1), kind="stable")]
    rows = {}
    for size in (*sizes, len(counts)):
        starts = range(0, len(counts), size)
        given, by_class = (np.add.reduceat(c, starts) for c in (counts, ordered))  # (B, K, K)
        rows[f"batches of {size}" if size in sizes else "pooled over the set"] = {
            "batches": len(given),
            "without a value": (given.sum(2) == 0).any(1).sum(),
            "mean of the rest": np.nanmean(metrics.average_accuracy(given)),
            "sorted by class": np.nanmean(metrics.average_accuracy(by_class)),
        }
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


def moved(before: Sequence[nn.Module], after: Sequence[nn.Module]) -> float:
    """How far all weights of some networks have moved, as a share of their length: ‖after − before‖ / ‖before‖."""
    nets = map(nn.ModuleList, (before, after))
    old, new = (parameters_to_vector(net.parameters()).detach().cpu() for net in nets)
    return ((new - old).norm() / old.norm()).item()


def scores(results: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """mIoU with its interval, pixel AA with its interval, boundary F1 and seconds of each training."""
    rows = {}
    for name in MODELS:
        lines = pick(results, "segment", name, 1.0)
        rows[get_method(name).label] = {
            "mIoU": percent(interval(folder, results, "segment", name, 1.0, "miou")),
            "pixel AA": percent(interval(folder, results, "segment", name, 1.0, "aa")),
            "boundary F1, %": f"{100 * lines['test.boundary_f1'].mean():.0f}",
            "seeds": len(lines),
            "seconds": "–" if name == "ensemble" else f"{lines['seconds'].mean():.0f}",  # it trains nothing
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("Method")


def pair_probabilities(down: Any, pairs: Sequence[Pair], tile: int) -> Tensor:
    """Probabilities of pairs, mirrored where they are smaller than a tile, in the model's statistics: (N, 8, P, P)."""
    size = min(pair.s1.shape[-1] for pair in pairs)
    side = max(size, tile)
    batch = pair_batch(pairs, side, down.statistics)
    images = torch.cat([batch["s1"], batch["s2"]], 1)  # (N, 15, S, S)
    mask = torch.full((len(pairs), side, side), IGNORE, dtype=torch.uint8)
    patches = Patches(None, mask, list(range(len(pairs))), np.arange(len(pairs)), images)

    def forward(squares: dict[str, Tensor]) -> Tensor:
        return down.model({name: squares[name].to(down.device) for name in ("s1", "s2")})

    edge = (side - size) // 2
    return probabilities(forward, patches, tile)[..., edge : edge + size, edge : edge + size]


# --- Panels of maps ---


def choose_rows(source: Any, rows: Collection[int], count: int = 3) -> list[int]:
    """The patches with the most classes."""
    codes = {row: np.unique(source.mask(row, 0, 0, source.patch_size)) for row in sorted(rows)}
    return sorted(codes, key=lambda row: (codes[row] != IGNORE).sum(), reverse=True)[:count]


def predicted_maps(folder: Path, results: pd.DataFrame, method: str) -> dict[int, np.ndarray]:
    """Label maps that the first seed of a method predicted, by row of the catalogue (written while testing)."""
    key = str(pick(results, "segment", method, 1.0)["key"].iloc[0])
    with np.load(inside(Path(folder), "counts", f"{key}.npz"), allow_pickle=False) as file:
        return {int(name.removeprefix("map_")): file[name] for name in file.files if name.startswith("map_")}


def qualitative(source: Any, folder: Path, results: pd.DataFrame) -> Figure:
    """S2 true colour, S1, truth, the prediction of each method, and where the last one errs; one test patch per row."""
    maps = {name: predicted_maps(folder, results, name) for name in PANEL}
    pictures, said = [], []
    for number, row in enumerate(choose_rows(source, set.intersection(*map(set, maps.values()))), 1):
        patch, truth = source.read(row), source.mask(row, 0, 0, source.patch_size)
        found = {name: one[row] for name, one in maps.items()}
        errors = _VERDICT[np.where(truth == IGNORE, 2, found[PANEL[-1]] != truth)]
        labels = map(show.label_map, (truth, *found.values()))
        pictures.append([show.true_colour(patch["s2"]), show.radar(patch["s1"]), *labels, errors])
        known = truth != IGNORE
        right = {get_method(name).label: (one == truth)[known].mean() for name, one in found.items()}
        said.append(f"Row {number}: {shares(truth[known])}; pixels right: {listed(right)}.")
    titles = ["Sentinel-2", "Sentinel-1", "truth", *map(_title, PANEL), "errors of the last"]
    fig = show.grid(pictures, titles, cell=1.25)
    show.legend(fig, loc="outside lower left", ncols=8, fontsize=7)
    alt = f"Grid of images, one test patch per row: {', '.join(titles)}. {' '.join(said)}"
    return show.describe(fig, alt)


def real_panel(pairs: Sequence[Pair], maps: Mapping[str, np.ndarray], kind: str) -> Figure:
    """Predictions where there is no truth map: S2, S1 and one map (N, H, W) per model, labels as text.

    `kind` says what the patches are ("real", "simulated").
    """
    titles = [f"Sentinel-2 ({kind})", f"Sentinel-1 ({kind})", *map(_title, maps)]
    optical, radar = [show.true_colour(p.s2, p.s2_bands) for p in pairs], [show.radar(p.s1) for p in pairs]
    labels = [map(show.label_map, one) for one in maps.values()]
    fig, said = show.grid([*zip(optical, radar, *labels)], titles, cell=1.5, extra=0.45), []
    for i, pair in enumerate(pairs):
        words = "; ".join(pair.labels) or "no labels"
        ax = fig.axes[i * len(titles)]
        caption = textwrap.fill(f"{pair.country}: {words}", 24 * len(titles))
        ax.text(0, -0.03, caption, transform=ax.transAxes, fontsize=7, va="top").set_in_layout(False)
        found = "; ".join(f"{get_method(name).label} {shares(m[i], 2)}" for name, m in maps.items())
        said.append(f"Row {i + 1}, {pair.country}, labelled {words}: {found}")
    show.legend(fig, loc="outside lower left", ncols=8, fontsize=7)
    return show.describe(fig, f"Predictions on {kind} patches, without a truth map. {'. '.join(said)}.")


def _title(method: str) -> str:
    """The label of a method, broken to stand above a small picture."""
    return get_method(method).label.replace(" from ", "\nfrom ").replace(", ", ",\n").replace(" + ", "\n+ ")


def shares(labels: np.ndarray, count: int = 3) -> str:
    """The commonest classes of a label map with their shares."""
    share = np.bincount(labels.ravel(), minlength=NUM_CLASSES)[:NUM_CLASSES] / max(labels.size, 1)
    return listed({CLASS_NAMES[k]: share[k] for k in np.argsort(-share)[:count] if share[k] > 0})


# --- Exercise checks ---


@exercise("patch expand", praise="Channels became places, and no number was lost.")
def check_patch_expand(patch_expand: Callable) -> None:
    x = torch.arange(2 * 8 * 2 * 3, dtype=torch.float32).reshape(2, 8, 2, 3)
    got = torch.from_numpy(numbers(patch_expand(x)))
    expect_shape(got, (2, 2, 4, 6), "The expanded map of a (2, 8, 2, 3) input")
    once = "Patch expand moves numbers, it does not make any: every value must appear exactly once."
    expect(torch.equal(got.flatten().sort().values, x.flatten().double()), once)
    block = got[:, :, :2, :2]  # the four fine pixels of the coarse pixel (0, 0): (2, 2, 2, 2)
    own = all(set(block[b].flatten().tolist()) == set(x[b, :, 0, 0].tolist()) for b in range(2))
    plain = "A plain reshape mixes neighbours; split the channels, move the new axes beside H and W (permute), reshape"
    expect(own, f"The four fine pixels in a corner must come from the *one* coarse pixel there. {plain}.")
    split = x.reshape(2, 2, 2, 2, 2, 3)  # (B, p, q, C/4, H, W)
    wanted = split.permute(0, 3, 4, 1, 5, 2).reshape(2, 2, 4, 6)
    turned = split.permute(0, 3, 4, 2, 5, 1).reshape(2, 2, 4, 6)
    mistakes = {
        "rows and columns of the little squares are exchanged: the first of the two axes of 2 goes beside H": turned,
        "the channels were split as (C/4, 2, 2), a pixel shuffle; the package has (2, 2, C/4)":
            nn.functional.pixel_shuffle(x, 2),
    }  # fmt: skip
    expect_close(got, wanted, "The expanded map", mistakes=mistakes)


@exercise("mIoU", praise="Every pixel of the set counts once, whatever batch it came in.")
def check_mean_iou(mean_iou: Callable) -> None:
    confusion = np.array([[6, 2, 0], [1, 3, 0], [0, 2, 10]])  # rows: truth
    first = numbers(mean_iou(confusion))
    expect(first.ndim == 0, "That is a number for each class; the mean of them is still to be taken.")
    expect_close(
        first, (6 / 9 + 3 / 8 + 10 / 12) / 3, "mIoU of three classes",
        mistakes={
            "that is average accuracy: the union also holds what was wrongly given to the class (its column)":
                (6 / 8 + 3 / 4 + 10 / 12) / 3,
            "the hits were counted twice in the union: row sum + column sum − hits": (6 / 15 + 3 / 11 + 10 / 22) / 3,
            "that is overall accuracy: divide each class by its own union, then take the mean": 19 / 24,
            "all classes were put into one ratio: divide each class by its own union, then take the mean": 19 / 29,
        },
    )  # fmt: skip
    absent = np.array([[6, 2, 0], [0, 0, 0], [0, 2, 6]])
    got = numbers(mean_iou(absent))
    expect(np.isfinite(got).all(), "A class that never occurs in the truth gave NaN (0 divided by 0).")
    expect_close(
        got, (6 / 8 + 6 / 8) / 2, "mIoU where class 1 is predicted but never true",
        mistakes={"the class that never occurs in the truth was counted as 0: leave it out of the mean": (6 / 8 + 6 / 8) / 3},
    )  # fmt: skip
    random = np.random.default_rng(0).integers(0, 30, (8, 8))
    random[3] = 0
    expect_close(mean_iou(random), metrics.mean_iou(random), "mIoU of a random confusion matrix")
