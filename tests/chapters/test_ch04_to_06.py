"""Checks of chapters 04 to 06: right answers pass in any style; each known mistake is told what it is."""

import math

import pytest
import torch
import torch.nn.functional as F

from chapters import ch04, ch05, ch06
from eo_ssl.course.checks import ExerciseFailed
from eo_ssl.losses import clip_loss, map_similarity, nt_xent
from eo_ssl.evaluate.retrieval import uniformity


def check(name):
    return next(vars(chapter)[name] for chapter in (ch04, ch05, ch06) if name in vars(chapter))


def best(large, small):
    many = large.shape[1] - small.shape[1] + 1
    score = map_similarity(large[None], small[None])[0, 0]
    surface = F.conv2d(F.normalize(large[None], dim=1), F.normalize(small[None], dim=1))[0, 0]
    return score, divmod(int(surface.argmax()), many)


def mask_of(scene, row, col):
    near = (scene[:, None] == scene) & ((row[:, None] - row).abs() < 2) & ((col[:, None] - col).abs() < 2)
    return near & ~torch.eye(len(scene), dtype=torch.bool)


RIGHT = {
    "check_nt_xent": nt_xent,
    "check_information": lambda loss, pairs: max(0.0, math.log2(2 * pairs - 1) - loss / math.log(2)),
    "check_log_sum_exp": lambda x: x.logsumexp(1),
    "check_false_negatives": mask_of,
    "check_uniformity": lambda z: uniformity(F.normalize(z, dim=1)),
    "check_map_cosine": lambda a, b: map_similarity(a[None], b[None])[0, 0],
    "check_best_offset": best,
}


@pytest.mark.parametrize("name", RIGHT)
def test_another_right_answer_passes(name):
    assert "Correct" in repr(check(name)(RIGHT[name]))


@pytest.mark.parametrize("name", RIGHT)
def test_a_stub_fails(name):
    def stub(*_):
        raise NotImplementedError("your turn")

    with pytest.raises(ExerciseFailed, match="nothing is there yet"):
        check(name)(stub)


def no_mask(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    return F.cross_entropy(z @ z.T / temperature, torch.arange(len(z)).roll(len(z1)))


def overflowing(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    e = (z @ z.T / temperature).fill_diagonal_(-torch.inf).exp()
    return -(e[torch.arange(len(z)), torch.arange(len(z)).roll(len(z1))] / e.sum(1)).log().mean()


def changed_in_place(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    e = (z @ z.T / temperature).exp().fill_diagonal_(0)
    return -(e[torch.arange(len(z)), torch.arange(len(z)).roll(len(z1))] / e.sum(1)).log().mean()


WRONG = [
    ("check_nt_xent", changed_in_place, "in place"),
    ("check_nt_xent", no_mask, "mask the diagonal"),
    ("check_nt_xent", lambda a, b, t: clip_loss(a, b, t), "2N − 2 negatives"),
    ("check_nt_xent", lambda a, b, t: nt_xent(a, b, 1 / t), "divided by the temperature"),
    ("check_nt_xent", lambda a, b, t: nt_xent(a, b, t).detach(), "No gradient flows"),
    ("check_nt_xent", lambda a, b, t: nt_xent(a, b, t).item(), "Return a torch tensor"),
    ("check_nt_xent", overflowing, "overflowed"),
    ("check_information", lambda loss, n: math.log(2 * n - 1) - loss, "this is in nats"),
    ("check_information", lambda loss, n: (math.log(2 * n - 1) - loss) / math.log(2), "never negative"),
    ("check_log_sum_exp", lambda x: x.exp().sum(1).log(), "exp runs out of numbers"),
    ("check_log_sum_exp", lambda x: x.max() + (x - x.max()).exp().sum(1).log(), "own maximum"),
    ("check_false_negatives", lambda s, r, c: mask_of(s, r, c) | torch.eye(len(s), dtype=torch.bool), "diagonal"),
    ("check_false_negatives", lambda s, r, c: mask_of(s * 0, r, c), "in different scenes"),
    ("check_false_negatives", lambda s, r, c: mask_of(s, r, c) & (r[:, None] == r), "diagonal neighbours"),
    ("check_false_negatives", lambda s, r, c: mask_of(s, r * 0, c), "six rows apart"),
    ("check_uniformity", lambda z: (-2 * torch.cdist(F.normalize(z, dim=1), F.normalize(z, dim=1)) ** 2).exp().mean().log(),
     "leave the diagonal out"),
    ("check_map_cosine", lambda a, b: F.cosine_similarity(a.flatten(), b.flatten(), dim=0), "strong places"),
    ("check_map_cosine", lambda a, b: (F.normalize(a, dim=0) * F.normalize(b, dim=0)).sum(0), "Return one number"),
    ("check_best_offset", lambda a, b: (best(a, b)[0], best(a, b)[1][::-1]), "rows first"),
    ("check_best_offset", lambda a, b: best(a, b)[0], "Return two things"),
    ("check_best_offset", lambda a, b: best(a, b)[1], "similarity first"),
    ("check_map_cosine", lambda a, b: F.cosine_similarity(a, b).mean(), "dimension 1 unless"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer", "message"), WRONG, ids=[f"{w[0]}: {w[2]}" for w in WRONG])
def test_a_known_mistake_is_told_what_it_is(name, answer, message):
    with pytest.raises(ExerciseFailed, match=message):
        check(name)(answer)
