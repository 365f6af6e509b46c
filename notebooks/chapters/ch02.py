"""Chapter 02: band features, shared ground, label lists with copies, damaged files; a map of splits; the checks."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import rasterio
from matplotlib.figure import Figure

from eo_ssl import show
from eo_ssl.course.checks import booleans, exercise, expect, expect_close, expect_shape
from eo_ssl.data.measures import band_statistics
from eo_ssl.sensors import IGNORE, NUM_CLASSES

SETS = {"training": show.PALETTE[0], "validation": show.PALETTE[5], "test": "#ee7733"}  # and their colours


def band_features(source: Any, rows: Sequence[int], change: Callable | None = None) -> np.ndarray:
    """Mean and standard deviation of the 15 bands of each patch, (N, 30), after `s1, s2 = change(s1, s2)` if given.

    S1 in dB, S2 in reflectance; pixels that are no data do not count.
    """
    features = []
    for patch in map(source.read, map(int, rows)):
        both = patch["s1"], patch["s2"]
        features.append(band_statistics(*(change(*both) if change else both)))
    return np.stack(features)


def compact_sample(
    catalog: pd.DataFrame, rows: Sequence[int], scenes: int, per_scene: int, seed: int = 0
) -> list[int]:
    """Rows of some scenes drawn at random, in each of them the patches nearest its middle, sorted.

    Large sets have hundreds of patches a scene; this keeps neighbours together and the work small.
    """
    frame = catalog.iloc[np.asarray(rows)].assign(row=np.asarray(rows))
    names = np.random.default_rng([seed, 2]).permutation(frame["scene"].unique())[:scenes]
    kept: list[int] = []
    for _, own in frame[frame["scene"].isin(names)].groupby("scene"):
        place = own[["x", "y"]].fillna(0)
        away = (place - (place.min() + place.max()) / 2).abs().max(axis=1)
        kept += own.loc[away.nsmallest(per_scene).index, "row"].tolist()
    return sorted(kept)


def per_image_maximum(s1: np.ndarray, s2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As in the published code: clip S1 to [−25, 0] dB (+ 25) and S2 to [0, 1], divide channels by their maximum."""
    s1, s2 = np.clip(s1, -25, 0) + 25, np.clip(s2, 0, 1)
    return tuple(x / np.maximum(np.nanmax(x, (1, 2), keepdims=True), 1e-9) for x in (s1, s2))  # type: ignore[return-value]


def confusion_counts(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """One 8 × 8 confusion matrix per patch, so that patches can be resampled. Shape: (N,), (N,) → (N, 8, 8)."""
    counts = np.zeros((len(truth), NUM_CLASSES, NUM_CLASSES), dtype=np.int64)
    known = np.flatnonzero(truth != IGNORE)
    counts[known, truth[known], guess[known]] = 1
    return counts


def shared_ground(frame: pd.DataFrame, in_test: np.ndarray, size: int, cells: int = 16) -> np.ndarray:
    """Share of the ground of each test patch that lies in training patches too, measured on `cells`² points.

    `frame` has the columns epsg, x, y (upper-left corner) and resolution; patches are `size` pixels wide.
    Shape: (N,) bool → (number of test patches,) in [0, 1].
    """
    test, train = frame[in_test], frame[~np.asarray(in_test)]
    extent = float(frame["resolution"].iloc[0]) * size
    points = (np.arange(cells) + 0.5) / cells * extent
    shares = []
    for epsg, x, y in zip(test["epsg"], test["x"], test["y"]):
        near = train[(train["epsg"] == epsg) & ((train[["x", "y"]] - [x, y]).abs() < extent).all(axis=1)]
        right = x + points - near[["x"]].to_numpy()  # (M, cells) of the left edge
        below = near[["y"]].to_numpy() - (y - points)
        inside = [(away >= 0) & (away < extent) for away in (right, below)]
        shares.append((inside[0][:, None] & inside[1][:, :, None]).any(0).mean())
    return np.array(shares)


def draw_from_balanced_list(labels: np.ndarray, fraction: float, seed: int = 0) -> np.ndarray:
    """Positions drawn from the class-balanced list with copies, as the published lists were: copies included."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(labels == c) for c in np.unique(labels[labels != IGNORE])]
    most = max(map(len, members))
    entries = np.concatenate([np.resize(rng.permutation(m), most) for m in members])
    return rng.choice(entries, max(1, round(fraction * len(entries))), replace=False)


def damaged_copy(root: Path, patches: pd.DataFrame, out: Path) -> dict[str, str]:
    """Copy patches, four or more rows of a catalog, into a small data root and damage four: what was done, by id."""
    for path in [p for key in ("s1", "s2", "lc", "dfc") for p in patches[key] if p]:
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(root) / path, out / path)
    nan, partner, scaled, cut = patches.iloc[:4].to_dict("records")
    with rasterio.open(out / nan["s1"], "r+") as image:
        image.write(np.full((1, 1), np.nan, dtype=image.dtypes[0]), 1, window=((0, 1), (0, 1)))
    with rasterio.open(out / scaled["s1"], "r+") as image:
        image.write(image.read() * 100)
    (out / partner["s2"]).unlink()
    whole = (out / cut["s2"]).read_bytes()
    (out / cut["s2"]).write_bytes(whole[: len(whole) // 2])
    return {
        nan["id"]: "one radar pixel set to NaN",
        partner["id"]: "its optical file deleted",
        scaled["id"]: "its radar file stored as dB × 100",
        cut["id"]: "half of its optical file cut off",
    }


def about_distances(catalog: pd.DataFrame) -> str:
    """How near the training patches of the random split in use come to its test patches, in a sentence or two."""
    said = "*The patches of this data set do not overlap, so no split of them shares ground.*"
    part = catalog.get("published", pd.Series("", catalog.index))
    train, test = (catalog[part == name] for name in ("train", "test"))
    if train.empty or test.empty:
        return said
    same = test["region"].isin(train["region"]).mean()
    return f"""{said} But in the random split that others use **{same:.0%}** of the {len(test)} test patches have training
patches in their own MGRS tile (100 km), often on the same day, through the same air. Ours keeps whole tiles apart."""


def split_maps(
    frame: pd.DataFrame, splits: Mapping[str, np.ndarray], scenes: Sequence[str], size: int
) -> Figure:
    """Patches of some scenes as translucent squares, training or test, under named splits (N,) bool (True: test)."""
    extent = float(frame["resolution"].iloc[0]) * size
    fig, axes = show.axes_grid(len(splits), len(scenes))
    for line, (name, in_test) in zip(axes, splits.items()):
        show.row_name(line[0], name)
        for ax, scene in zip(line, scenes):
            own = frame.assign(test=in_test)[frame["scene"] == scene]
            for x, y, test in zip(own["x"], own["y"], own["test"]):
                look = {"fc": SETS["test" if test else "training"], "ec": "white", "alpha": 0.45}
                ax.add_patch(plt.Rectangle((x, y - extent), extent, extent, **look))
            ax.autoscale_view()
            ax.set_aspect("equal")
    handles = [plt.Rectangle((0, 0), 1, 1, fc=SETS[s], alpha=0.6, label=s) for s in ("training", "test")]
    fig.legend(handles=handles, loc="outside lower center", ncols=2)
    alt = f"""{len(scenes)} scenes as overlapping squares under {len(splits)} splits ({", ".join(splits)}). Split by
    single patches, test squares lie on training squares everywhere; split by scenes, each scene has one colour."""
    return show.describe(fig, alt)


def _test_scenes(scene_split: Callable, scenes: np.ndarray, share: float, seed: int) -> frozenset[str]:
    chosen = booleans(scene_split(scenes.copy(), share, seed))
    expect_shape(chosen, scenes.shape, "the result")
    test, train = set(scenes[chosen].tolist()), set(scenes[~chosen].tolist())
    both = test & train
    expect(not both, f"{len(both)} scenes are in training and in test: draw scenes, not patches.")
    expect(test, "The test set is empty: at least one scene belongs in it.")
    expect(train, "Nothing is left for training: keep at least one scene.")
    return frozenset(test)


@exercise("scene-disjoint split", praise="No patch of a test scene was ever near the training set.")
def check_scene_split(scene_split: Callable) -> None:
    names = np.repeat([f"scene_{i}" for i in range(20)], np.arange(20) % 4 + 2)
    scenes = np.random.default_rng(3).permutation(names)
    drawn = _test_scenes(scene_split, scenes, 0.2, 0)
    hint = "the share counts scenes, not patches, and is to be used"
    expect(len(drawn) == 4, f"20 % of 20 scenes are 4 test scenes; here are {len(drawn)}: {hint}.")
    others = [_test_scenes(scene_split, scenes, 0.2, seed) for seed in range(6)]
    expect(others[0] == drawn, "The same seed gave other scenes: make the generator from it, each time.")
    expect(len({*others}) > 1, "Every seed gives the same scenes: draw them at random, with the seed.")
    mixed = _test_scenes(scene_split, np.random.default_rng(1).permutation(scenes), 0.2, 0)
    expect(mixed == drawn, "Patches in another order gave other scenes: sort the names (np.unique does).")
    few = np.repeat(["a", "b"], 3)
    for share in (0.01, 0.99):
        count = len(_test_scenes(scene_split, few, share, 0))
        expect(count == 1, f"{share:.0%} of two scenes is one for test; here {count} are test.")


@exercise("find the leak", praise="Run this on every split you are given, before you believe a score.")
def check_leaks(leaks: Callable) -> None:
    train = np.array([[32632, 0, 0], [32632, 5000, 0], [32633, 9000, 9000]], dtype=float)
    test = np.array([
        [32632, 640, 0],      # half of it
        [32632, 1280, 0],     # touches
        [32632, 640, 3000],   # the same column, far south
        [32633, 0, 0],        # equal numbers, another zone
        [32632, 5000, 0],     # the very same patch
        [32632, 3720, 0],     # touches from the west
        [32632, -1200, 1200], # a corner of it, west and north
    ], dtype=float)  # fmt: skip
    zone, signed = test[:, None, 0] == train[None, :, 0], test[:, None, 1:] - train[None, :, 1:]
    apart = np.abs(signed)  # (M, N, 2)
    wanted = (zone & (apart < 1280).all(2)).any(1)
    got = booleans(leaks(train.copy(), test.copy(), 1280.0))
    mistakes = {
        "the zone is not compared: equal coordinates in another zone are another place": (apart < 1280).all(2).any(1),
        "patches that only touch share no ground: use < instead of <=": (zone & (apart <= 1280).all(2)).any(1),
        "close in x *or* y is not enough: both must differ by less than the width": (zone & (apart < 1280).any(2)).any(1),
        "only identical patches were found: half of a patch is a leak, too": (zone & (apart == 0).all(2)).any(1),
        "the differences need their absolute value: patches to the west and north overlap as well":
            (zone & (signed < 1280).all(2) & (signed >= 0).all(2)).any(1),
        "the answer is the other way round: True means it leaks": ~wanted,
    }  # fmt: skip
    expect_close(got, wanted, "the seven test patches", mistakes=mistakes)
    smaller = (zone & (apart < 300).all(2)).any(1)
    expect_close(leaks(train, test, 300.0), smaller, "the same with patches of 300 m")


@exercise("true fraction", praise="Count different patches before you plot a label fraction.")
def check_true_fraction(true_fraction: Callable) -> None:
    counts, fraction = np.array([10, 40, 200]), 0.1
    n = counts.astype(float)
    wanted = (n * (1 - (1 - fraction) ** (n.max() / n))).sum() / n.sum()
    mistakes = {
        "this is the number of patches; divide by the number of all patches": wanted * n.sum(),
        "this is the nominal fraction: patches of small classes stand in the list several times": fraction,
        "the exponent is the other way round: how often does a patch stand in the list? n_max / n":
            (n * (1 - (1 - fraction) ** (n / n.max()))).sum() / n.sum(),
        "copies were counted: entries drawn, not different patches": fraction * len(n) * n.max() / n.sum(),
    }  # fmt: skip
    what = "the true fraction at 10 % of 10, 40 and 200 patches"
    expect_close(true_fraction(counts.copy(), fraction), wanted, what, mistakes=mistakes)
    expect_close(true_fraction([7, 7], 0.25), 0.25, "a balanced set, where nothing is copied,")
