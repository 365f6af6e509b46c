"""Chapter 12: terms add up, views turn alike, probes find what is there and nothing else, sentences follow intervals."""

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from chapters import ch12
from eo_ssl.course.checks import ExerciseFailed
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


def test_scale_and_bias_of_the_sigmoid_learn():
    loss = ch12.PairLoss("sigmoid")
    ch12.objective(loss, "cross", [pairs()], NONE).backward()
    assert all(parameter.grad.abs() > 0 for parameter in loss.parameters())


def test_both_sensors_turn_alike():
    image, rng, seen = torch.arange(32.0).view(1, 2, 4, 4), torch.Generator().manual_seed(0), set()
    for _ in range(200):
        found = ch12.turned({"s1": image, "s2": image + 100, "index": torch.zeros(1)}, rng)
        assert torch.equal(found["s2"] - 100, found["s1"])
        seen.add(tuple(found["s1"].flatten().tolist()))
    assert len(seen) == 8  # the symmetries of a square


def known_places(scenes=30, each=4):
    rng = np.random.default_rng(0)
    scene = np.repeat(np.arange(scenes), each)
    x = rng.normal(size=(len(scene), 10))
    factors = {name: rng.normal(size=len(scene)) for name in ch12.FACTORS}
    factors["forest"] = 3 * x[:, 2] - x[:, 5]
    factors["haze"] = rng.normal(size=scenes)[scene]  # one number a scene
    return x, ch12.Places({}, scene, pd.DataFrame(factors))


def test_a_probe_finds_what_is_linear_nothing_in_noise_and_no_scene_by_heart():
    x, places = known_places()
    assert ch12.r_squared(ch12.probe(x, places, "forest").sum(0)) > 0.9
    assert ch12.r_squared(ch12.probe(x, places, "built-up").sum(0)) < 0.1
    _, places = known_places()
    fingerprint = np.eye(30)[places.scene]  # says which scene, and no more
    assert ch12.r_squared(ch12.probe(fingerprint, places, "haze").sum(0)) < 0.1


def test_patches_without_the_factor_count_nothing():
    x, places = known_places()
    places.factors.loc[5:20, "forest"] = np.nan
    squares = ch12.probe(x, places, "forest")
    assert (squares[5:21] == 0).all() and (squares[:5, 1] > 0).all()


def test_what_was_drawn_is_told_and_changes_no_image():
    (spec,) = plan(Profile("one", 64, (1, 0, 0), (2, 1, 1)), 0)
    land, drawn = make_landscape(spec), {}
    assert np.array_equal(radar(land, drawn), radar(land)) and np.array_equal(
        optical(land, drawn), optical(land)
    )
    assert (
        drawn.keys() == {"soil moisture", "incidence angle", "haze"} and 31 <= drawn["incidence angle"] < 45
    )


def sigmoid(z1, z2, scale, bias):
    cosine = F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T
    return -F.logsigmoid((2 * torch.eye(len(z1)) - 1) * (scale * cosine + bias)).sum() / len(z1)


def decur(c, common, weight=0.005):
    part = torch.arange(len(c)) < common
    inside = (part[:, None] == part).fill_diagonal_(False)
    return (c.diagonal() - part.float()).square().sum() + weight * (c.square() * inside).sum()


def test_right_answers_pass_in_any_type_and_usual_mistakes_fail():
    ch12.check_sigmoid(lambda *given: sigmoid(*given).item())
    ch12.check_decur(decur)
    wrong = [
        (ch12.check_sigmoid, lambda z1, z2, t, b: sigmoid(z1, z2, t, b) / len(z1)),  # N² instead of N
        (ch12.check_sigmoid, lambda z1, z2, t, b: sigmoid(z1, z2, t, -b)),
        (ch12.check_decur, lambda c, common: decur(c, len(c))),  # Barlow Twins
        (ch12.check_decur, lambda c, common: decur(c, common, weight=0.0)),
    ]
    for check, answer in wrong:
        with pytest.raises(ExerciseFailed):
            check(answer)


READ = {
    factor: [-0.1, -0.2, 0.0] if who == "radar" else [0.5, 0.4, 0.6] for factor, who in ch12.FACTORS.items()
}
MEASURED = {
    "profile": "laptop", "epochs": 8, "seeds": 3, "date": "2026-01-01",
    "variants": [
        {"name": "NT-Xent, cross", "lr": 2e-3, "top5": [0.4, 0.5, 0.6], "aa": [0.6, 0.5, 0.7]},
        {"name": "sigmoid, cross", "lr": 2e-3, "top5": [0.6, 0.6, 0.6], "aa": [0.6, 0.5, 0.7], "gap": [0.0, -0.1, 0.1]},
        {"name": "untrained", "lr": 0.0, "top5": [], "aa": [0.4, 0.3, 0.5], "gap": [-0.2, -0.3, -0.1]},
    ],
    "lost": {factor: [-0.3, -0.4, -0.2] if factor == "haze" else [0.1, -0.1, 0.2] for factor in ch12.FACTORS},
    "probes": {"aligned": READ, "each sensor alone": READ},
}  # fmt: skip


def test_sentences_follow_the_intervals():
    said = ch12.verdict(MEASURED)
    assert "untrained by −20.0" in said and "sigmoid, cross by" not in said
    assert "**sigmoid, cross**" in said  # retrieves best
    told = ch12.lost(MEASURED)
    less, neither = told.split("No clear difference")
    clear, unread = neither.split("After neither")
    assert "haze (only light" in less and "forest (both" in clear and "incidence angle" in unread
    assert len(ch12.comparison(MEASURED).rows) == 3


def test_figures_say_their_numbers():
    scores = {kind: {f: [0.5, 0.4, 0.6] for f in ch12.FACTORS} for kind in ("aligned", "untrained")}
    assert "aligned: soil moisture" in ch12.probes(scores).eo_alt.replace("\n", " ")
    z, w = pairs(n=48, dim=7)
    assert "Mean of the diagonal" in ch12.questions(z, w).eo_alt
    scores["aligned"] |= {f: [-0.1, -0.2, 0.1] for f, who in ch12.FACTORS.items() if who == "light"}
    said = ch12.most_known(scores, "aligned")
    assert "both sensors see, forest (R² 0.50" in said and "light sees, nothing can be read" in said
