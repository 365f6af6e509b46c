"""The checks of all exercises: right answers pass in any style, each usual mistake is told what it is."""

import itertools
import math
from collections import Counter
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import rankdata
from torch import nn

from chapters import ch01, ch02, ch03, ch04, ch05, ch06, ch07, ch08, ch09, ch10, ch11
from eo_ssl.course.checks import ExerciseFailed, numbers
from eo_ssl.data.measures import normalised_difference
from eo_ssl.evaluate.retrieval import uniformity
from eo_ssl.losses import clip_loss, map_similarity, nt_xent


def unit(x):
    return F.normalize(x, dim=1)


def quiet_ndvi(red, nir):
    with np.errstate(invalid="ignore"):
        return np.nan_to_num((nir - red) / (nir + red))


def split(scenes, share, seed, names=None, shuffled=True, least=1):
    names = np.unique(scenes) if names is None else names
    order = np.random.default_rng(seed).permutation(names) if shuffled else names
    return np.isin(scenes, order[: min(max(least, round(share * len(names))), len(names) - 1)])


counter = itertools.count()


def overlap(train, test, extent, ways=(1, 2)):
    near = lambda p, q: p[0] == q[0] and all(abs(p[k] - q[k]) < extent for k in ways)  # noqa: E731
    return np.array([any(near(p, q) for q in train) for p in test], dtype=bool)


def unique(counts, fraction):
    n = np.asarray(counts, float)
    return float((n * (1 - (1 - fraction) ** (n.max() / n))).sum() / n.sum())


class NoMissingSensor(nn.Module):
    def __init__(self, d1, d2, classes):
        super().__init__()
        self.linear = nn.Linear(d1 + d2, classes)

    def forward(self, h1, h2):
        return self.linear(torch.cat([h1, h2], dim=1))


def three_classes(c):
    occurs = c.sum(1) > 0
    return np.mean([np.diag(c)[occurs][i] / c.sum(1)[occurs][i] for i in range(3)])


def cosines(z1, z2, temperature):
    z = unit(torch.cat([z1, z2]))
    return z @ z.T / temperature


def of_partners(e):
    views = torch.arange(len(e))
    return -(e[views, views.roll(len(e) // 2)] / e.sum(1)).log().mean()


def shared(scene, row, col):
    near = (scene[:, None] == scene) & ((row[:, None] - row).abs() < 2) & ((col[:, None] - col).abs() < 2)
    return near & ~torch.eye(len(scene), dtype=torch.bool)


def best(large, small):
    score = map_similarity(large[None], small[None])[0, 0]
    surface = F.conv2d(unit(large[None]), unit(small[None]))[0, 0]
    return score, divmod(int(surface.argmax()), large.shape[1] - small.shape[1] + 1)


def majority(features, labels, queries, k, similarity=None):
    table = unit(queries) @ unit(features).T if similarity is None else similarity
    near = (labels[row.argsort(descending=True)[:k]].tolist() for row in table)
    return torch.tensor([Counter(one).most_common(1)[0][0] for one in near])  # of equals the one met first


def recall(z1, z2, k):
    return sum(i in row.topk(k).indices for i, row in enumerate(unit(z1) @ unit(z2).T)) / len(z1)


def interval(means, tail=0.025):
    return tuple(np.quantile(means, [tail, 1 - tail]))


def redrawn(values, draws, rng, tail=0.025, replace=True):
    return interval([rng.choice(values, len(values), replace).mean() for _ in range(draws)], tail)


def without_dropout_only(module):
    for part in module.requires_grad_(False).modules():
        part.train(not isinstance(part, nn.BatchNorm2d))
    return module


def windows(x, size, shift=0):
    b, h, w, c = x.shape
    x = torch.roll(x, (-shift, -shift), (1, 2)).view(b, h // size, size, w // size, size, c)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, size * size, c)


def paired(first, second, draws, rng, seeds=True, places=True, paired=True):
    (s, n), means = first.shape, []
    for _ in range(draws):
        a = rng.integers(0, s, s) if seeds else np.arange(s)
        b, c = (rng.integers(0, n, n) if places else np.arange(n) for _ in range(2))
        means.append(first[a][:, b].mean() - second[a][:, b if paired else c].mean())
    return [first.mean() - second.mean(), *interval(means)]


def average_rank(scores):
    ranks = [np.where(np.isnan(c), np.nan, rankdata(-np.nan_to_num(c, nan=-np.inf))) for c in scores]
    counts = np.isfinite(ranks).sum(0)
    return np.where(counts > 0, np.nansum(ranks, 0) / np.maximum(counts, 1), np.nan)


RIGHT = [
    (ch01.check_ndvi, lambda red, nir: normalised_difference(nir, red)),
    (ch01.check_ndvi, quiet_ndvi),
    (ch01.check_decibels, lambda p: 10 * np.log10(np.clip(p, 1e-5, None))),
    (ch01.check_looks, lambda db: 1 / np.var(10 ** (db / 10) / np.mean(10 ** (db / 10)))),
    (ch02.check_scene_split, split),
    (ch02.check_leaks, overlap),
    (ch02.check_true_fraction, unique),
    (ch04.check_information, lambda loss, n: max(0.0, math.log2(2 * n - 1) - loss / math.log(2))),
    (ch04.check_log_sum_exp, lambda x: x.logsumexp(1)),
    (ch05.check_false_negatives, shared),
    (ch05.check_uniformity, lambda z: float(uniformity(unit(z)))),
    (ch06.check_map_cosine, lambda a, b: map_similarity(a[None], b[None])[0, 0]),
    (ch06.check_best_offset, lambda a, b: list(best(a, b))),  # a list was refused once
    (ch07.check_knn, majority),
    (ch07.check_recall_at_k, recall),
    (ch08.check_bootstrap, redrawn),
    (ch09.check_windows, windows),
    (ch11.check_paired_difference, paired),
    (ch11.check_average_rank, average_rank),
]
WRONG = [
    (ch01.check_ndvi, lambda red, nir: (red - nir) / (red + nir), "swapped"),
    (ch01.check_ndvi, lambda red, nir: (nir - red) / (nir + red), "divide zero by zero"),
    (ch01.check_decibels, lambda p: 10 * np.log10(p), "−∞"),
    (ch01.check_looks, lambda db: db.mean() ** 2 / db.var(), "into power first"),
    (ch01.check_looks, lambda db: None, "nothing is there"),
    (ch02.check_scene_split, lambda s, p, k: np.random.default_rng(k).random(len(s)) < p, "draw scenes, not"),
    (ch02.check_scene_split, lambda *a: split(*a, shuffled=False), "at random"),
    (ch02.check_scene_split, lambda s, p, k: split(s, p, next(counter)), "same seed"),
    (ch02.check_scene_split, lambda s, *a: split(s, *a, names=pd.unique(s)), "another order"),
    (ch02.check_scene_split, lambda *a: split(*a, least=0), "empty"),
    (ch02.check_scene_split, lambda s, p, k: split(s, 0.6, k), "4 test scenes"),
    (ch02.check_leaks, lambda a, b, e: overlap(a, b, e + 1e-6), "touch"),
    (ch02.check_leaks, lambda a, b, e: overlap(a * [0, 1, 1], b * [0, 1, 1], e), "zone"),
    (ch02.check_leaks, lambda a, b, e: overlap(a, b, e, [1]) | overlap(a, b, e, [2]), "x \\*or\\* y"),
    (ch02.check_leaks, lambda a, b, e: overlap(a, b, 1280), "300 m"),
    (ch02.check_true_fraction, lambda n, f: f, "nominal"),
    (ch03.check_late_fusion, NoMissingSensor, "zeros of the right width"),
    (ch03.check_average_accuracy, lambda c: np.mean(np.diag(c) / np.maximum(c.sum(1), 1)), "counted as 0"),
    (ch03.check_average_accuracy, lambda c: np.nanmean(np.diag(c) / c.sum(1)), "divides 0 by 0"),
    (ch03.check_average_accuracy, three_classes, "IndexError"),  # and not called a division
    (ch04.check_nt_xent, lambda *a: of_partners(cosines(*a).exp().fill_diagonal_(0)), "in place"),
    (ch04.check_nt_xent, lambda *a: of_partners(cosines(*a).exp()), "mask the diagonal"),
    (ch04.check_nt_xent, lambda *a: of_partners(cosines(*a).fill_diagonal_(-torch.inf).exp()), "overflowed"),
    (ch04.check_nt_xent, clip_loss, "2N − 2 negatives"),
    (ch04.check_nt_xent, lambda a, b, t: nt_xent(a, b, 1 / t), "divided by the temperature"),
    (ch04.check_nt_xent, lambda *a: nt_xent(*a).detach(), "No gradient flows"),
    (ch04.check_nt_xent, lambda *a: nt_xent(*a).item(), "Return a torch tensor"),
    (ch04.check_information, lambda loss, n: math.log(2 * n - 1) - loss, "this is in nats"),
    (ch04.check_information, lambda loss, n: (math.log(2 * n - 1) - loss) / math.log(2), "never negative"),
    (ch04.check_log_sum_exp, lambda x: x.exp().sum(1).log(), "exp runs out of numbers"),
    (ch04.check_log_sum_exp, lambda x: x.max() + (x - x.max()).exp().sum(1).log(), "own maximum"),
    (ch05.check_false_negatives, lambda *a: shared(*a).fill_diagonal_(True), "diagonal"),
    (ch05.check_false_negatives, lambda s, r, c: shared(s * 0, r, c), "in different scenes"),
    (ch05.check_false_negatives, lambda s, r, c: shared(s, r, c) & (r[:, None] == r), "diagonal neighbours"),
    (ch05.check_false_negatives, lambda s, r, c: shared(s, r * 0, c), "six rows apart"),
    (ch05.check_uniformity, lambda z: (4 * unit(z) @ unit(z).T - 4).exp().mean().log(), "leave the diagonal"),
    (ch06.check_map_cosine, lambda a, b: F.cosine_similarity(a.ravel(), b.ravel(), 0), "strong places"),
    (ch06.check_map_cosine, lambda a, b: F.cosine_similarity(a, b, dim=0), "Return one number"),
    (ch06.check_best_offset, lambda a, b: (best(a, b)[0], best(a, b)[1][::-1]), "rows first"),
    (ch06.check_best_offset, lambda a, b: best(a, b)[0], "Return two things"),
    (ch06.check_best_offset, lambda a, b: best(a, b)[1], "similarity first"),
    (ch07.check_knn, lambda f, y, q, k: majority(f, y, q, k, q @ f.T), "length 1"),
    (ch07.check_knn, lambda f, y, q, k: majority(f, y, q, k, -torch.cdist(q, f)), "Euclidean"),
    (ch07.check_knn, lambda f, y, q, k: majority(f, y, q, 1), "only the first"),
    (ch07.check_knn, lambda f, y, q, k: y[(unit(q) @ unit(f).T).topk(k)[1]].mode()[0], "class number"),
    (ch07.check_recall_at_k, lambda a, b, k: recall(b, a, k), "other direction"),
    (ch07.check_recall_at_k, lambda a, b, k: recall(a, b, k + 1), "number k \\+ 1"),
    (ch08.check_bootstrap, lambda *a: redrawn(*a, replace=False), "without"),
    (ch08.check_bootstrap, lambda *a: redrawn(*a, tail=0.05), "middle 90%"),
    (ch08.check_bootstrap, lambda v, n, g: interval(v[g.integers(0, 200, (n, 200))].mean(0)), "per draw"),
    (ch08.check_bootstrap, lambda values, *_: interval(values), "redrawn samples"),
    (ch08.check_freeze, lambda module: module.requires_grad_(False), "statistics"),
    (ch08.check_freeze, lambda module: module.eval(), "gradients"),
    (ch08.check_freeze, without_dropout_only, "dropout"),
    (ch09.check_windows, lambda x, size, shift=0: windows(x, size, size // 2), "although the shift is 0"),
    (ch09.check_windows, lambda x, size, shift=0: windows(x, size), "the shift is ignored"),
    (ch09.check_mask, lambda side, size, shift: ~ch09._mask(side, size, shift), "turned around"),
    (ch10.check_patch_expand, lambda x: x.reshape(len(x), -1, 2 * x.shape[2], 2 * x.shape[3]), "permute"),
    (ch10.check_patch_expand, lambda x: F.pixel_shuffle(x, 2), "pixel shuffle"),
    (ch10.check_patch_expand, lambda x: F.interpolate(x[:, :2], scale_factor=2), "exactly once"),
    (ch10.check_mean_iou, lambda c: np.mean(np.diag(c) / np.maximum(c.sum(1), 1)), "average accuracy"),
    (ch10.check_mean_iou, lambda c: np.trace(c) / (2 * c.sum() - np.trace(c)), "one ratio"),
    (ch10.check_mean_iou, lambda c: np.diag(c) / (c.sum(0) + c.sum(1) - np.diag(c)), "number for each class"),
    (ch11.check_paired_difference, lambda *a: paired(*a, paired=False), "same positions for both"),
    (ch11.check_paired_difference, lambda *a: paired(*a, seeds=False), "draw seeds"),
    (ch11.check_paired_difference, lambda *a: paired(*a, places=False), "many places"),
    (ch11.check_paired_difference, lambda a, b, *rest: paired(b, a, *rest), "first minus second"),
    (ch11.check_paired_difference, lambda *_: (1.0, 2.0), "three numbers"),
    (ch11.check_average_rank, lambda x: np.mean(x, 0), "rank within each column"),
    (ch11.check_average_rank, lambda x: rankdata(x, axis=1).mean(0), "from the highest down"),
    (ch11.check_average_rank, lambda x: rankdata(-x, axis=1, method="ordinal").mean(0), "share the mean"),
    (ch11.check_average_rank, lambda x: rankdata(-np.nan_to_num(x), axis=1).mean(0), "not run"),
]


def retyped(answer, form):
    """The function with its result in another form; where it returns several things, each of them."""

    def call(*args):
        result = answer(*args)
        if isinstance(result, tuple | list) and len(result) == 2 and np.ndim(result[1]):
            return tuple(form(numbers(one)) for one in result)  # a value, and where it is
        return form(numbers(result))

    return call


@pytest.mark.parametrize("form", [None, np.ndarray.tolist, partial(torch.tensor, requires_grad=True)])
@pytest.mark.parametrize(("check", "answer"), RIGHT)
def test_a_right_answer_passes_in_any_style_and_type(check, answer, form):
    assert "Correct" in repr(check(retyped(answer, form) if form else answer))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("check", "answer", "hint"), WRONG, ids=[f"{c.__name__}: {h}" for c, _, h in WRONG])
def test_a_usual_mistake_is_told_what_it_is(check, answer, hint):
    with pytest.raises(ExerciseFailed, match=hint):
        check(answer)
