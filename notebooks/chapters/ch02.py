"""Checks of chapter 02: a scene-disjoint split, patches that share ground, the true label fraction."""

from collections.abc import Callable

import numpy as np

from eo_ssl.course.checks import exercise, expect, expect_close, expect_shape
from eo_ssl.course.lessons.datasets import unique_in_balanced_list


def _scenes() -> np.ndarray:
    names = np.array([f"scene_{i}" for i in range(20)])
    return np.random.default_rng(3).permutation(np.repeat(names, np.arange(20) % 4 + 2))


def _test_scenes(scene_split: Callable, scenes: np.ndarray, share: float, seed: int) -> frozenset[str]:
    chosen = np.asarray(scene_split(scenes.copy(), share, seed))
    expect_shape(chosen, scenes.shape, "the result")
    expect(chosen.dtype == bool, f"Return booleans, True for test; the type is {chosen.dtype}.")
    test, train = set(scenes[chosen].tolist()), set(scenes[~chosen].tolist())
    both = test & train
    expect(not both, f"{len(both)} scenes are in training and in test, such as {min(both, default='')}: "
           "draw scenes, not patches.")  # fmt: skip
    expect(test, "The test set is empty: at least one scene belongs in it.")
    expect(train, "Nothing is left for training: keep at least one scene.")
    return frozenset(test)


@exercise("scene-disjoint split", praise="No patch of a test scene was ever near the training set.")
def check_scene_split(scene_split: Callable) -> None:
    scenes = _scenes()
    drawn = _test_scenes(scene_split, scenes, 0.2, 0)
    if len(drawn) != 4:
        hint = "the share counts scenes, not patches" if len(drawn) > 1 else "was the share used?"
        expect(False, f"20 % of 20 scenes are 4 test scenes; here are {len(drawn)}: {hint}.")
    expect(
        len(_test_scenes(scene_split, scenes, 0.5, 0)) == 10, "Half of 20 scenes should be 10 test scenes."
    )
    expect(_test_scenes(scene_split, scenes, 0.2, 0) == drawn,
           "The same seed gave other scenes the second time: make the generator from it, inside the function.")  # fmt: skip
    others = {_test_scenes(scene_split, scenes, 0.2, seed) for seed in range(1, 6)}
    expect(len(others | {drawn}) > 1, "Every seed gives the same scenes: draw them at random, with the seed.")
    mixed = np.random.default_rng(1).permutation(scenes)
    expect(_test_scenes(scene_split, mixed, 0.2, 0) == drawn,
           "The same patches in another order gave other scenes: sort the names (np.unique does), then draw.")  # fmt: skip
    few = np.repeat(["a", "b"], 3)
    for share, what in ((0.01, "1 %"), (0.99, "99 %")):
        count = len(_test_scenes(scene_split, few, share, 0))
        expect(
            count == 1, f"{what} of two scenes: one for test, one left for training; here {count} are test."
        )


def _patches() -> tuple[np.ndarray, np.ndarray]:
    train = np.array([[32632, 0, 0], [32632, 5000, 0], [32633, 9000, 9000]], dtype=float)
    test = np.array([
        [32632, 640, 0],      # half of it
        [32632, 1280, 0],     # touches
        [32632, 640, 3000],   # the same column, far south
        [32633, 0, 0],        # equal numbers, another zone
        [32632, 5000, 0],     # the very same patch
        [32632, 3720, 0],     # touches from the west
        [32633, 9900, 8100],  # a corner of it, east and south
        [32632, -1200, 1200], # a corner of it, west and north
    ], dtype=float)  # fmt: skip
    return train, test


def _overlap(train: np.ndarray, test: np.ndarray, extent: float) -> np.ndarray:
    apart = np.abs(test[:, None, 1:] - train[None, :, 1:])  # (M, N, 2)
    return ((test[:, None, 0] == train[None, :, 0]) & (apart < extent).all(2)).any(1)


@exercise("find the leak", praise="Run this on every split you are given, before you believe a score.")
def check_leaks(leaks: Callable) -> None:
    train, test = _patches()
    apart = np.abs(test[:, None, 1:] - train[None, :, 1:])
    zone = test[:, None, 0] == train[None, :, 0]
    wanted = _overlap(train, test, 1280)
    got = np.asarray(leaks(train.copy(), test.copy(), 1280.0))
    expect_shape(got, (len(test),), "the result, one answer for each test patch,")
    signed = test[:, None, 1:] - train[None, :, 1:]
    mistakes = {
        "the zone is not compared: equal coordinates in another zone are another place": (apart < 1280).all(2).any(1),
        "patches that only touch share no ground: use < instead of <=": (zone & (apart <= 1280).all(2)).any(1),
        "close in x *or* y is not enough: both must differ by less than the width": (zone & (apart < 1280).any(2)).any(1),
        "only identical patches were found: half of a patch is a leak, too": (zone & (apart == 0).all(2)).any(1),
        "the differences need their absolute value: patches to the west and north overlap as well":
            (zone & (signed < 1280).all(2) & (signed >= 0).all(2)).any(1),
        "a circle is not a square: compare x and y one by one": (zone & (np.hypot(*np.moveaxis(apart, 2, 0)) < 1280)).any(1),
        "the answer is the other way round: True means it leaks": ~wanted,
    }  # fmt: skip
    named = {text: np.asarray(value, dtype=float) for text, value in mistakes.items()}
    expect_close(got.astype(float), wanted.astype(float), "the eight test patches", mistakes=named)
    expect_close(np.asarray(leaks(train, test, 300.0)).astype(float), _overlap(train, test, 300).astype(float),
                 "the same with patches of 300 m")  # fmt: skip
    empty = np.asarray(leaks(train[:0], test, 1280.0))
    expect(not empty.any(), "With no training patches nothing leaks.")


@exercise("true fraction", praise="Count different patches before you plot a label fraction.")
def check_true_fraction(true_fraction: Callable) -> None:
    counts, fraction = np.array([10, 40, 200]), 0.1
    n = counts.astype(float)
    wanted = unique_in_balanced_list(counts, fraction) / n.sum()
    mistakes = {
        "this is the number of patches; divide by the number of all patches": wanted * n.sum(),
        "this is the nominal fraction: patches of small classes stand in the list several times": fraction,
        "the exponent is the other way round: how often does a patch stand in the list? n_max / n":
            (n * (1 - (1 - fraction) ** (n / n.max()))).sum() / n.sum(),
        "this is the share that is missing; one minus it": 1 - wanted,
        "copies were counted: entries drawn, not different patches": fraction * len(n) * n.max() / n.sum(),
        "the classes need their size as weight": float((1 - (1 - fraction) ** (n.max() / n)).mean()),
        "every class has its own number of copies: n_max / n, not the number of classes":
            1 - (1 - fraction) ** len(n),
    }  # fmt: skip
    expect_close(true_fraction(counts.copy(), fraction), wanted, "the true fraction at 10 % of 10, 40 and 200 patches",
                 mistakes=mistakes)  # fmt: skip
    expect_close(true_fraction([7, 7], 0.25), 0.25, "a balanced set, where nothing is copied,")
    expect_close(true_fraction([3, 30], 1.0), 1.0, "the whole list")
    expect_close(true_fraction([3, 30], 0.0), 0.0, "nothing of the list")
