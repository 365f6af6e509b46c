"""Chapter 04: the loss of guessing; checks pass right answers in any style and tell each known mistake what it is."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from chapters import ch04
from eo_ssl.course.checks import ExerciseFailed
from eo_ssl.losses import clip_loss, nt_xent

RIGHT = {
    "check_nt_xent": nt_xent,
    "check_information": lambda loss, pairs: max(0.0, math.log2(2 * pairs - 1) - loss / math.log(2)),
    "check_log_sum_exp": lambda x: x.logsumexp(1),
}


@pytest.mark.parametrize("name", RIGHT)
def test_another_right_answer_passes(name):
    assert "Correct" in repr(getattr(ch04, name)(RIGHT[name]))


def logits_of(z1, z2, temperature):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    return z @ z.T / temperature


def no_mask(z1, *rest):
    logits = logits_of(z1, *rest)
    return F.cross_entropy(logits, torch.arange(len(logits)).roll(len(z1)))


def of_partners(e, n):
    return -(e[torch.arange(2 * n), torch.arange(2 * n).roll(n)] / e.sum(1)).log().mean()


def overflowing(z1, *rest):
    return of_partners(logits_of(z1, *rest).fill_diagonal_(-torch.inf).exp(), len(z1))


def changed_in_place(z1, *rest):
    return of_partners(logits_of(z1, *rest).exp().fill_diagonal_(0), len(z1))


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


def test_the_worked_example_states_the_loss_of_its_own_numbers():
    pictures = list(np.random.default_rng(0).random((4, 6, 6, 3)))
    share = np.full((4, 4), 1 / 3)
    logits = np.where(np.eye(4, dtype=bool), -np.inf, 0.0)
    alt = ch04.worked_example(np.eye(4), logits, share, pictures).eo_alt
    assert "mean 1.10, chance 1.10" in alt and "nan" not in alt
