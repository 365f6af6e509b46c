"""Checks of chapters 05 and 06: right answers pass in any style; each known mistake is told what it is."""

import pytest
import torch
import torch.nn.functional as F

from chapters import ch05, ch06
from eo_ssl.course.checks import ExerciseFailed
from eo_ssl.losses import map_similarity
from eo_ssl.train.monitors import uniformity


def check(name):
    return next(vars(chapter)[name] for chapter in (ch05, ch06) if name in vars(chapter))


def best(large, small):
    many = large.shape[1] - small.shape[1] + 1
    score = map_similarity(large[None], small[None])[0, 0]
    surface = F.conv2d(F.normalize(large[None], dim=1), F.normalize(small[None], dim=1))[0, 0]
    return score, divmod(int(surface.argmax()), many)


def mask_of(scene, row, col):
    near = (scene[:, None] == scene) & ((row[:, None] - row).abs() < 2) & ((col[:, None] - col).abs() < 2)
    return near & ~torch.eye(len(scene), dtype=torch.bool)


RIGHT = {
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


WRONG = [
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
