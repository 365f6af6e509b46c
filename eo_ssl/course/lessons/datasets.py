"""Computations of chapter 02: band features, shared ground, folds, label lists with copies, damaged files."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eo_ssl.errors import DataError
from eo_ssl.sensors import IGNORE, NUM_CLASSES
from eo_ssl.data.measures import band_statistics

Change = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def band_features(source: Any, rows: Sequence[int], change: Change | None = None) -> np.ndarray:
    """Mean and standard deviation of the 15 bands of each patch, (N, 30), after `change(s1, s2)` if given.

    S1 in dB, S2 in reflectance; pixels that are no data do not count.
    """
    features = []
    for row in rows:
        patch = source.read(int(row))
        s1, s2 = (patch["s1"], patch["s2"]) if change is None else change(patch["s1"], patch["s2"])
        if patch["valid"].all():
            features.append(band_statistics(s1, s2))
        else:
            bands = np.concatenate([s1, s2])[:, patch["valid"]].astype(np.float64)  # (15, pixels)
            features.append(np.concatenate([bands.mean(1), bands.std(1)]))
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
    for name in names:
        own = frame[frame["scene"] == name]
        x, y = own["x"].fillna(0), own["y"].fillna(0)
        away = np.maximum((x - (x.min() + x.max()) / 2).abs(), (y - (y.min() + y.max()) / 2).abs())
        kept += own.loc[away.sort_values(kind="stable").index, "row"].iloc[:per_scene].tolist()
    return sorted(kept)


def per_image_maximum(s1: np.ndarray, s2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normalisation of the code published with the papers: clip, then divide each channel by its own maximum.

    S1 is clipped to [−25, 0] dB and shifted by 25, S2 to reflectance [0, 1]; every channel then ends at 1.
    """
    s1, s2 = np.clip(s1, -25, 0) + 25, np.clip(s2, 0, 1)
    return tuple(x / np.maximum(x.max((1, 2), keepdims=True), 1e-9) for x in (s1, s2))  # type: ignore[return-value]


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
        near = train[
            (train["epsg"] == epsg) & ((train["x"] - x).abs() < extent) & ((train["y"] - y).abs() < extent)
        ]
        px, py = np.meshgrid(x + points, y - points)
        covered = np.zeros_like(px, dtype=bool)
        for left, top in zip(near["x"], near["y"]):
            covered |= (px >= left) & (px < left + extent) & (py <= top) & (py > top - extent)
        shares.append(covered.mean())
    return np.array(shares)


def unique_in_balanced_list(counts: Sequence[int], fraction: float) -> float:
    """Expected number of different patches in a share of a class-balanced list made by copying.

    Every class of n patches is repeated until it has as many entries as the largest, n_max. In a random share f
    of that list a given patch is missing with probability (1 − f)^(n_max / n), so

        unique(f) = Σ_c n_c · (1 − (1 − f)^(n_max / n_c)).

    >>> round(unique_in_balanced_list([10, 10], 0.1), 6), round(unique_in_balanced_list([10, 1], 0.5), 3)
    (2.0, 5.999)
    """
    n = np.asarray([c for c in counts if c > 0], dtype=float)
    return float((n * (1 - (1 - fraction) ** (n.max() / n))).sum())


def draw_from_balanced_list(labels: np.ndarray, fraction: float, seed: int = 0) -> np.ndarray:
    """Positions drawn from the class-balanced list with copies, as the published lists were: copies included."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(labels == c) for c in np.unique(labels[labels != IGNORE])]
    most = max(map(len, members))
    entries = np.concatenate([np.resize(rng.permutation(m), most) for m in members])
    return rng.choice(entries, max(1, round(fraction * len(entries))), replace=False)


def damaged_copy(root: Path, patches: pd.DataFrame, out: Path) -> dict[str, str]:
    """Copy some patches into a small data root and damage four of them; returns what was done, id → words.

    `patches` are rows of a catalog with s1, s2 and label files, four at least.
    """
    if len(patches) < 4:
        raise DataError(f"{len(patches)} patches: at least 4 are needed to damage four of them")
    shutil.rmtree(out, ignore_errors=True)
    for path in [p for key in ("s1", "s2", "lc", "dfc") for p in patches[key] if p]:
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(root) / path, out / path)
    nan, partner, scaled, cut = patches.iloc[:4].to_dict("records")
    _rewrite(out / nan["s1"], _one_nan)
    (out / partner["s2"]).unlink()
    _rewrite(out / scaled["s1"], lambda data: data * 100)
    whole = (out / cut["s2"]).read_bytes()
    (out / cut["s2"]).write_bytes(whole[: len(whole) // 2])
    return {
        nan["id"]: "one radar pixel set to NaN",
        partner["id"]: "its optical file deleted",
        scaled["id"]: "its radar file stored as dB × 100",
        cut["id"]: "half of its optical file cut off",
    }


def _one_nan(data: np.ndarray) -> np.ndarray:
    data[0, 0, 0] = np.nan
    return data


def _rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    import rasterio

    with rasterio.open(path) as image:
        data, profile = image.read(), image.profile
    with rasterio.open(path, "w", **profile) as image:
        image.write(change(data).astype(profile["dtype"]))
