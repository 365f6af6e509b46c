"""Checks of chapter 04: NT-Xent, the bound on mutual information, a log-sum-exp that survives."""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eo_ssl.course.checks import ExerciseFailed, exercise, expect, expect_close
from eo_ssl.losses import clip_loss, nt_xent


def _pairs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    z1 = torch.randn(5, 8, generator=generator)
    return 3 * z1, z1 + 0.7 * torch.randn(
        5, 8, generator=generator
    )  # lengths differ: they must be normalised


def _without_mask(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    return F.cross_entropy(z @ z.T / temperature, torch.arange(len(z)).roll(len(z1)))


def _one_way(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    logits = F.normalize(z1, dim=1) @ F.normalize(z2, dim=1).T / temperature
    return F.cross_entropy(logits, torch.arange(len(z1)))


def _unnormalised(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    z = torch.cat([z1, z2])
    logits = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))


def _wrong_partner(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    logits = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
    return F.cross_entropy(logits, torch.arange(len(z)) ^ 1)


@exercise("NT-Xent", praise="The same loss trains SimCLR here and Dual-SimCLR in chapter 05.")
def check_nt_xent(my_nt_xent: Callable) -> None:
    z1, z2 = _pairs()
    first = z1.clone().requires_grad_()
    got = my_nt_xent(first, z2.clone(), 0.2)
    expect(isinstance(got, Tensor), "Return a torch tensor, so that gradients can flow through it.")
    expect(got.ndim == 0, f"Return one number, the mean over all views; the shape is {tuple(got.shape)}.")
    wanted = nt_xent(z1, z2, 0.2)
    mistakes = {
        "each view is compared with itself, which is always its most similar one: mask the diagonal":
            _without_mask(z1, z2, 0.2),
        "the embeddings do not have length 1: divide each by its norm first": _unnormalised(z1, z2, 0.2),
        "the temperature has no effect: divide the cosines by it": nt_xent(z1, z2, 1.0),
        "multiply or divide? The cosines are divided by the temperature": nt_xent(z1, z2, 5.0),
        "this is the sum over the views; take the mean": 10 * wanted,
        "this is the sum over the views of each sensor; take the mean over all 2N": 2 * wanted,
        "negatives from the same set are missing: each view has 2N − 2 negatives": clip_loss(z1, z2, 0.2),
        "only the first set asks, and only the second may answer: all 2N views ask, and all others may answer":
            _one_way(z1, z2, 0.2),
        "partners are N rows apart (0 and N), not next to each other": _wrong_partner(z1, z2, 0.2),
        "the sign is turned around": -wanted,
    }  # fmt: skip
    expect_close(got, wanted, "the loss of 5 pairs at τ = 0.2", rtol=1e-4, mistakes=mistakes)
    same = torch.ones(3, 4)
    expect_close(my_nt_xent(same, same, 0.1), math.log(5), "the loss of 3 identical pairs, log(2·3 − 1),")
    _check_gradient(my_nt_xent, z1, z2)
    tiny = my_nt_xent(z1.clone(), -z2.clone(), 0.005)
    expect(
        bool(torch.isfinite(torch.as_tensor(tiny))),
        "At τ = 0.005 the loss is not finite: an exponential overflowed. F.cross_entropy works on logits and is safe.",
    )
    expect_close(tiny, nt_xent(z1, -z2, 0.005), "the loss at τ = 0.005")


def _check_gradient(my_nt_xent: Callable, z1: Tensor, z2: Tensor) -> None:
    ours, theirs = z1.clone().requires_grad_(), z1.clone().requires_grad_()
    loss = my_nt_xent(ours, z2, 0.2)
    expect(loss.requires_grad, "No gradient flows: was a value detached, or taken out with .item()?")
    try:
        loss.backward()
    except RuntimeError as error:
        raise ExerciseFailed(
            "The loss is right, but its gradient cannot be computed. A value that the gradient needs was changed "
            "in place: mask the logits with −inf before the exponential, not its result."
        ) from error
    nt_xent(theirs, z2, 0.2).backward()
    expect_close(ours.grad, theirs.grad, "the gradient with respect to z1", rtol=1e-3, atol=1e-5)


@exercise("information", praise="Doubling the batch buys at most one more bit.")
def check_information(information: Callable) -> None:
    nats = math.log(255) - 2.0
    mistakes = {
        "this is in nats; divide by log 2 for bits": nats,
        "this is log(2N): a view is never its own candidate, so 2N − 1": (math.log(256) - 2.0) / math.log(2),
        "this is log N: both views of each place are candidates": (math.log(128) - 2.0) / math.log(2),
        "the sign is turned around: guessing minus loss": -nats / math.log(2),
        "dividing by log 2 also applies to the loss, which is in nats": math.log2(255) - 2.0,
    }
    got = information(2.0, 128)
    expect_close(got, nats / math.log(2), "the bound for a loss of 2 and 128 pairs", mistakes=mistakes)
    expect_close(information(0.0, 2), math.log2(3), "the bound for a loss of 0 and 2 pairs")
    worse = information(7.0, 128)
    expect_close(worse, 0.0, "the bound for a loss above guessing",
                 mistakes={"mutual information is never negative: return 0": (math.log(255) - 7) / math.log(2)})  # fmt: skip


@exercise("log-sum-exp", praise="Every stable softmax subtracts the largest entry first.")
def check_log_sum_exp(log_sum_exp: Callable) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 6, generator=generator)
    mistakes = {
        "the sum runs over the wrong dimension, or over everything": x.exp().sum().log().expand(4),
        "this is the sum of exponentials; its logarithm is missing": x.exp().sum(1),
        "this is the mean, not the sum, of the exponentials": x.exp().mean(1).log(),
        "subtract the largest entry inside, and add it again outside": (x - x.max(1, keepdim=True).values).exp().sum(1).log(),
    }  # fmt: skip
    expect_close(log_sum_exp(x.clone()), x.logsumexp(1), "log-sum-exp of small numbers", mistakes=mistakes)
    for scale, what in ((1000.0, "entries up to 1000"), (-1000.0, "entries down to −1000")):
        got = log_sum_exp(torch.full((2, 3), scale))
        if not bool(torch.isfinite(torch.as_tensor(got)).all()):
            raise ExerciseFailed(
                f"With {what} the result is {got}: exp runs out of numbers. Subtract the row's maximum."
            )
        expect_close(got, [scale + np.log(3)] * 2, f"log-sum-exp of {what}", rtol=1e-6)
    mixed = torch.tensor([[-1000.0, 0.0, 1.0], [1000.0, 999.0, 0.0]])
    expect_close(log_sum_exp(mixed), mixed.logsumexp(1), "rows of very different size",
                 mistakes={"each row needs its own maximum": torch.tensor([-np.inf, 1000.3133])})  # fmt: skip
    masked = torch.tensor([[-torch.inf, 1.0, 2.0], [3.0, -torch.inf, 0.5]])
    expect_close(log_sum_exp(masked), masked.logsumexp(1), "rows with a masked entry")
