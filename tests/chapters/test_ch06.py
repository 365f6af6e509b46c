"""Chapter 06: equal maps get equal colours, cases are called what they are; right answers pass, mistakes are named."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch.nn.functional as F

from chapters import ch06
from eo_ssl.course.checks import ExerciseFailed
from eo_ssl.losses import map_similarity


def best(large, small):
    score = map_similarity(large[None], small[None])[0, 0]
    surface = F.conv2d(F.normalize(large[None], dim=1), F.normalize(small[None], dim=1))[0, 0]
    return score, divmod(int(surface.argmax()), large.shape[1] - small.shape[1] + 1)


def cosine_by_loops(a, b):
    _, h, w = a.shape
    return sum(
        float(F.cosine_similarity(a[:, y, x], b[:, y, x], dim=0)) for y in range(h) for x in range(w)
    ) / (h * w)


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (ch06.check_map_cosine, lambda a, b: map_similarity(a[None], b[None])[0, 0]),
        (ch06.check_map_cosine, cosine_by_loops),
        (ch06.check_best_offset, best),
        (ch06.check_best_offset, lambda a, b: list(best(a, b))),  # a list was refused once
        (ch06.check_best_offset, lambda a, b: (float(best(a, b)[0]), np.array(best(a, b)[1]))),
    ],
)
def test_right_answers_pass_in_any_style(check, answer):
    assert "Correct" in repr(check(answer))


@pytest.mark.parametrize(
    ("check", "answer", "message"),
    [
        (ch06.check_map_cosine, lambda *_: None, "nothing is there yet"),
        (
            ch06.check_map_cosine,
            lambda a, b: F.cosine_similarity(a.flatten(), b.flatten(), dim=0),
            "strong places",
        ),
        (
            ch06.check_map_cosine,
            lambda a, b: (F.normalize(a, dim=0) * F.normalize(b, dim=0)).sum(0),
            "Return one number",
        ),
        (ch06.check_map_cosine, lambda a, b: F.cosine_similarity(a, b).mean(), "dimension 1 unless"),
        (ch06.check_best_offset, lambda a, b: (best(a, b)[0], best(a, b)[1][::-1]), "rows first"),
        (ch06.check_best_offset, lambda a, b: best(a, b)[0], "Return two things"),
        (ch06.check_best_offset, lambda a, b: best(a, b)[1], "similarity first"),
    ],
)
def test_a_known_mistake_is_told_what_it_is(check, answer, message):
    with pytest.raises(ExerciseFailed, match=message):
        check(answer)


def test_maps_that_agree_get_the_same_colours():
    maps = np.random.default_rng(0).normal(size=(6, 4, 4))
    one, two = ch06.as_colours([maps, 3 * maps])
    assert one.shape == (4, 4, 3)
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_a_surface_names_its_maximum_and_the_true_offset():
    surface = np.zeros((3, 3))
    surface[2, 0] = 0.5
    alt = ch06.surfaces({"own": surface, "other": surface}, {"own": (1, 2)}).eo_alt
    assert "own: maximum 0.50 at (2, 0), true offset (1, 2); other: maximum 0.50 at (2, 0)" in alt


def test_a_stand_in_is_not_called_a_river():
    real = [SimpleNamespace(source="BigEarthNet v2")] * 10
    assert ch06.places({"river": 9, "fields": 6}, real) == {"river": 9, "fields": 6}
    other = [SimpleNamespace(source="simulated", labels=("Forest",))] * 10
    named = ch06.places({"river": 9, "fields": 6}, other)
    assert list(named.values()) == [9, 6] and not {"river", "fields"} & set(named)
