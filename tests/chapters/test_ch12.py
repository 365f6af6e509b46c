"""Chapter 12: terms add up, probes find what is there and nothing else, sentences follow intervals."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from chapters import ch12
from eo_ssl.course.checks import ExerciseFailed
from eo_ssl.data.statistics import Statistics
from eo_ssl.errors import ConfigError
from eo_ssl.losses import barlow_loss, nt_xent, siglip_loss
from eo_ssl.simulate.landscape import make_landscape
from eo_ssl.simulate.optical import optical
from eo_ssl.simulate.radar import radar
from eo_ssl.simulate.world import Profile, plan

NONE = torch.zeros(6, 6, dtype=torch.bool)


def pairs(seed=0, n=6, dim=5):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(2, n, dim, generator=rng).unbind()


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("NT-Xent", lambda z, w: nt_xent(z, w, ch12.TEMPERATURE)),
        ("sigmoid", lambda z, w: siglip_loss(z, w, ch12.TEMPERATURE, bias=-10.0)),
        ("Barlow Twins", lambda z, w: barlow_loss(z, w) / z.shape[1]),
    ],
)
def test_a_pair_loss_is_that_of_the_package_and_terms_add_up(name, plain):
    loss, first, second = ch12.PairLoss(name), pairs(0), pairs(1)
    across = (plain(*first) + plain(*second)) / 2
    within = (plain(first[0], second[0]) + plain(first[1], second[1])) / 2
    views = [first, second]
    assert torch.allclose(ch12.objective(loss, "cross", [first], NONE), plain(*first), rtol=1e-5)
    assert torch.allclose(ch12.objective(loss, "intra", views, NONE), within, rtol=1e-5)
    assert torch.allclose(ch12.objective(loss, "cross + intra", views, NONE), across + within, rtol=1e-5)


@pytest.mark.parametrize("said", [("nt-xent", "cross"), ("Barlow Twins", "within")])
def test_a_variant_that_is_not_there_is_not_taken_for_another(said):
    with pytest.raises(ConfigError, match="Barlow Twins; the terms cross"):
        ch12.Variant(*said)


def test_scale_and_bias_of_the_sigmoid_learn():
    loss = ch12.PairLoss("sigmoid")
    ch12.objective(loss, "cross", [pairs()], NONE).backward()
    assert all(parameter.grad.abs() > 0 for parameter in loss.parameters())


def known_places(scenes=30, each=4):
    rng = np.random.default_rng(0)
    scene = np.repeat(np.arange(scenes), each)
    x = rng.normal(size=(len(scene), 10))
    factors = {name: rng.normal(size=len(scene)) for name in ch12.FACTORS}
    factors["forest"] = 3 * x[:, 2] - x[:, 5]
    factors["haze"] = rng.normal(size=scenes)[scene]  # one number a scene
    return x, pd.DataFrame(factors | {"scene": scene})


def test_a_probe_finds_what_is_linear_nothing_in_noise_and_no_scene_by_heart():
    x, places = known_places()
    assert ch12.r_squared(ch12.probe(x, places, "forest").sum(0)) > 0.9
    assert ch12.r_squared(ch12.probe(x, places, "built-up").sum(0)) < 0.1
    _, places = known_places()
    fingerprint = np.eye(30)[places["scene"]]  # says which scene, and no more
    assert ch12.r_squared(ch12.probe(fingerprint, places, "haze").sum(0)) < 0.1


def test_patches_without_the_factor_count_nothing():
    x, places = known_places()
    places.loc[5:20, "forest"] = np.nan
    squares = ch12.probe(x, places, "forest")
    assert (squares[5:21] == 0).all() and (squares[:5, 1] > 0).all()


def test_what_was_drawn_is_told_and_changes_no_image():
    (spec,) = plan(Profile("one", 64, (1, 0, 0), (2, 1, 1)), 0)
    land, drawn = make_landscape(spec), {}
    assert np.array_equal(radar(land, drawn), radar(land))
    assert np.array_equal(optical(land, drawn), optical(land))
    assert drawn.keys() == {"soil moisture", "incidence angle", "haze"}
    assert 31 <= drawn["incidence angle"] < 45


def logits(z1, z2, scale, bias):
    return scale * F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T + bias


def logistic(x):
    return -F.logsigmoid(x).sum() / len(x)


def signs(z):
    return 2 * torch.eye(len(z)) - 1


def sigmoid(z1, z2, scale, bias):
    return logistic(signs(z1) * logits(z1, z2, scale, bias))


def decur(c, common, weight=0.005):
    part = torch.arange(len(c)) < common
    inside = (part[:, None] == part).fill_diagonal_(False)
    return (c.diagonal() - part.float()).square().sum() + weight * (c.square() * inside).sum()


MISTAKES = [
    (ch12.check_sigmoid, "by N, not by N²", lambda a, b, t, c: sigmoid(a, b, t, c) / len(a)),
    (ch12.check_sigmoid, "length 1", lambda a, b, t, c: logistic(signs(a) * (t * a @ b.T + c))),
    (ch12.check_sigmoid, "the partners alone", lambda a, b, t, c: logistic(logits(a, b, t, c).diagonal())),
    (ch12.check_sigmoid, "whole bracket", lambda a, b, t, c: logistic(signs(a) * logits(a, b, t, 0) + c)),
    (ch12.check_sigmoid, "was subtracted", lambda a, b, t, c: sigmoid(a, b, t, -c)),
    (ch12.check_sigmoid, "F.logsigmoid is safe", lambda *given: -(-sigmoid(*given)).exp().log()),
    (ch12.check_sigmoid, "Return one number", logits),
    (ch12.check_decur, "this is Barlow Twins", lambda c, k: decur(c, len(c))),
    (ch12.check_decur, "without K", lambda c, k: decur(c, k + 1)),
    (ch12.check_decur, "between the two parts", lambda c, k: decur(c, k) + 0.01 * c[:k, k:].square().sum()),
    (ch12.check_decur, "does not belong", lambda c, k: decur(c, k) + 0.005 * c.diagonal().square().sum()),
    (ch12.check_decur, "weight is missing", lambda c, k: decur(c, k, 1.0)),
]


@pytest.mark.parametrize("form", [lambda x: x, torch.Tensor.item, torch.Tensor.numpy])
def test_right_answers_pass_in_any_type(form):
    ch12.check_sigmoid(lambda *given: form(sigmoid(*given)))
    ch12.check_decur(lambda *given: form(decur(*given)))


@pytest.mark.parametrize(("check", "message", "answer"), MISTAKES)
def test_usual_mistakes_are_named(check, message, answer):
    with pytest.raises(ExerciseFailed, match=message):
        check(answer)


READ = {
    factor: [-0.1, -0.2, 0.0] if who == "only radar" else [0.5, 0.4, 0.6]
    for factor, who in ch12.FACTORS.items()
}
MEASURED = {
    "variants": [
        {"name": "NT-Xent, cross", "aa": [0.6, 0.5, 0.7]},
        {"name": "sigmoid, cross", "gap": [0.0, -0.1, 0.1]},
        {"name": "untrained", "gap": [-0.2, -0.3, -0.1]},
    ],
    "lost": {factor: [-0.3, -0.4, -0.2] if factor == "haze" else [0.1, -0.1, 0.2] for factor in ch12.FACTORS},
    "probes": {"aligned": READ, "each sensor alone": READ},
}


def test_sentences_follow_the_intervals():
    said = ch12.verdict(MEASURED)
    assert "untrained (−20.0 points)" in said and "sigmoid, cross (" not in said
    told = ch12.lost(MEASURED)
    less, neither = told.split("No clear difference")
    clear, unread = neither.split("After neither")
    assert "haze (only light" in less and "forest (both" in clear and "incidence angle" in unread


def test_unseen_places_come_after_the_pretraining_scenes_of_a_source(monkeypatch):
    begun = []

    def half(task):
        begun.append(task[0].number)
        images = [np.zeros((4, bands, 8, 8), np.float32) for bands in (2, 13)]
        return *images, pd.DataFrame({factor: [0.0] * 4 for factor in ch12.FACTORS})

    monkeypatch.setattr(ch12, "_patches", half)
    monkeypatch.setattr(ch12, "cores", lambda: 1)  # in this process
    catalog = pd.DataFrame({"split": ["pretrain"] * 24 + ["test"], "scene": [*range(12), *range(12), 99]})
    known = Statistics((0.0,) * 2, (1.0,) * 2, (0.0,) * 13, (1.0,) * 13)
    source = SimpleNamespace(catalog=catalog, stats=lambda split: known)
    first = next(iter(ch12.plan("many", 0))).number
    places = ch12.unseen_places(source, 8, 3)[1]
    assert begun == [first + n for n in (12, 13, 14)]
    assert places["scene"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
