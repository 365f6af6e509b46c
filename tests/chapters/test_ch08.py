"""The checks of chapter 08 accept right answers in any form and answer the usual mistakes by name."""

import numpy as np
import pytest
import torch

from chapters import ch08
from eo_ssl.course.checks import ExerciseFailed


def interval(means, tail=0.025):
    return tuple(np.quantile(means, [tail, 1 - tail]))


def one_by_one(values, draws, rng):
    return interval([rng.choice(values, len(values)).mean() for _ in range(draws)])


def without_replacement(values, draws, rng):
    return interval([rng.permutation(values).mean() for _ in range(draws)])


def ninety(values, draws, rng):
    return interval([rng.choice(values, len(values)).mean() for _ in range(draws)], 0.05)


def one_mean_per_value(values, draws, rng):
    return interval(values[rng.integers(0, len(values), (draws, len(values)))].mean(0))


def of_the_values(values, draws, rng):
    return interval(values)


def test_a_loop_over_draws_is_a_right_bootstrap():
    assert "Correct" in repr(ch08.check_bootstrap(one_by_one))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (without_replacement, "without"),
        (ninety, "middle 90%"),
        (one_mean_per_value, "one mean per draw"),
        (of_the_values, "redrawn samples"),
    ],
)
def test_a_wrong_bootstrap_is_answered_by_name(answer, message):
    with pytest.raises(ExerciseFailed, match=message):
        ch08.check_bootstrap(answer)


def only_gradients(module):
    return module.requires_grad_(False)


def only_mode(module):
    return module.eval()


def only_batch_norm(module):
    module.requires_grad_(False)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.eval()
    return module


@pytest.mark.parametrize(
    ("answer", "message"),
    [(only_gradients, "statistics"), (only_mode, "gradients"), (only_batch_norm, "dropout")],
)
def test_a_backbone_that_is_only_half_frozen_is_answered_by_name(answer, message):
    with pytest.raises(ExerciseFailed, match=message):
        ch08.check_freeze(answer)
