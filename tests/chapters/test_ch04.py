"""Chapter 04: the loss of guessing; checks pass right answers in any style and tell each known mistake what it is."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from chapters import ch04
from eo_ssl.course.checks import ExerciseFailed
from eo_ssl.losses import chance_level, clip_loss, nt_xent

RIGHT = {
    "check_nt_xent": nt_xent,
    "check_information": lambda loss, pairs: max(0.0, math.log2(2 * pairs - 1) - loss / math.log(2)),
    "check_log_sum_exp": lambda x: x.logsumexp(1),
}


@pytest.mark.parametrize("name", RIGHT)
def test_another_right_answer_passes_and_a_stub_fails(name):
    def stub(*_):
        raise NotImplementedError("your turn")

    assert "Correct" in repr(getattr(ch04, name)(RIGHT[name]))
    with pytest.raises(ExerciseFailed, match="nothing is there yet"):
        getattr(ch04, name)(stub)


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


class Unwilling(torch.autograd.Function):
    """Its gradient fails for a reason of its own."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError("the device has no such operator")


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
    ("check_nt_xent", lambda a, b, t: Unwilling.apply(nt_xent(a, b, t)), "the device has no such operator"),
]


@pytest.mark.parametrize(("name", "answer", "message"), WRONG, ids=[f"{w[0]}: {w[2]}" for w in WRONG])
def test_a_known_mistake_is_told_what_it_is(name, answer, message):
    with pytest.raises(ExerciseFailed, match=message):
        getattr(ch04, name)(answer)


@pytest.mark.parametrize("n", [2, 7])
def test_chance_level_is_the_loss_of_identical_embeddings(n):
    same, others = torch.ones(n, 3), ~np.eye(n, dtype=bool)
    assert chance_level(others) == pytest.approx(nt_xent(same, same, 0.1).item(), rel=1e-5)
    one_sensor = chance_level(others, same_sensor=False)
    assert one_sensor == pytest.approx(clip_loss(same, same).item(), rel=1e-5)


def test_chance_level_leaves_masked_neighbours_out_as_the_loss_does():
    mask = torch.zeros(5, 5, dtype=torch.bool)
    mask[0, 1] = mask[1, 0] = mask[2, 4] = mask[4, 2] = True
    same = torch.ones(5, 3)
    allowed = ~(mask | torch.eye(5, dtype=torch.bool)).numpy()
    assert chance_level(allowed) == pytest.approx(nt_xent(same, same, 0.1, mask).item(), rel=1e-5)


def test_the_worked_example_states_the_loss_of_its_own_numbers():
    pictures = list(np.random.default_rng(0).random((4, 6, 6, 3)))
    share = np.full((4, 4), 1 / 3)
    logits = np.where(np.eye(4, dtype=bool), -np.inf, 0.0)
    alt = ch04.worked_example(np.eye(4), logits, share, pictures).eo_alt
    assert "mean 1.10, chance 1.10" in alt and "nan" not in alt
