"""The checks of chapter 02 accept right answers in any form and answer the usual mistakes by name."""

import itertools

import numpy as np
import pytest

from chapters import ch02
from eo_ssl.course.checks import ExerciseFailed


def split(scenes, share, seed):
    names = np.unique(scenes)
    rng = np.random.default_rng(seed)
    return np.isin(
        scenes, rng.choice(names, min(max(1, round(share * len(names))), len(names) - 1), replace=False)
    )


def by_patch(scenes, share, seed):
    return np.random.default_rng(seed).random(len(scenes)) < share


def first_ones(scenes, share, seed):
    names = np.unique(scenes)
    return np.isin(scenes, names[: min(max(1, round(share * len(names))), len(names) - 1)])


counter = itertools.count()


def unseeded(scenes, share, seed):
    return split(scenes, share, next(counter))


def as_they_come(scenes, share, seed):
    names = np.array(list(dict.fromkeys(scenes.tolist())))
    drawn = np.random.default_rng(seed).permutation(names)[
        : min(max(1, round(share * len(names))), len(names) - 1)
    ]
    return np.isin(scenes, drawn)


def greedy(scenes, share, seed):
    names = np.unique(scenes)
    return np.isin(scenes, np.random.default_rng(seed).permutation(names)[: int(share * len(names))])


def overlap(train, test, extent):
    out = np.zeros(len(test), bool)
    for i, (zone, x, y) in enumerate(test):
        out[i] = any(z == zone and abs(x - a) < extent and abs(y - b) < extent for z, a, b in train)
    return out


def either(train, test, extent):
    return overlap(train * [1, 1, 0], test * [1, 1, 0], extent) | overlap(
        train * [1, 0, 1], test * [1, 0, 1], extent
    )


def unique(counts, fraction):
    n = np.asarray(counts, float)
    return float((n * (1 - (1 - fraction) ** (n.max() / n))).sum() / n.sum())


@pytest.mark.parametrize(
    "check, answer", [("check_scene_split", split), ("check_leaks", overlap), ("check_true_fraction", unique)]
)
def test_right_answers_pass(check, answer):
    assert "Correct" in repr(getattr(ch02, check)(answer))


@pytest.mark.parametrize(
    "check, answer, hint",
    [
        ("check_scene_split", by_patch, "draw scenes, not patches"),
        ("check_scene_split", first_ones, "at random"),
        ("check_scene_split", unseeded, "same seed"),
        ("check_scene_split", as_they_come, "another order"),
        ("check_scene_split", greedy, "empty"),
        ("check_scene_split", lambda s, p, k: split(s, p, k).astype(int), "booleans"),
        ("check_scene_split", lambda s, p, k: split(s, 0.6, k), "4 test scenes"),
        ("check_leaks", lambda a, b, e: overlap(a, b, e + 1e-6), "touch"),
        ("check_leaks", lambda a, b, e: overlap(a * [0, 1, 1], b * [0, 1, 1], e), "zone"),
        ("check_leaks", lambda a, b, e: overlap(a, b, 1e-6), "identical"),
        ("check_leaks", either, "x \\*or\\* y"),
        ("check_leaks", lambda a, b, e: ~overlap(a, b, e), "other way round"),
        ("check_leaks", lambda a, b, e: overlap(a, b, 1280), "300 m"),
        ("check_true_fraction", lambda n, f: f, "nominal"),
        ("check_true_fraction", lambda n, f: unique(n, f) * np.sum(n), "divide"),
        ("check_true_fraction", lambda n, f: 1 - unique(n, f), "missing"),
    ],
)  # fmt: skip
def test_usual_mistakes_are_named(check, answer, hint):
    with pytest.raises(ExerciseFailed, match=hint):
        getattr(ch02, check)(answer)
