"""Chapter 08: the rival and the wording of the claim; checks accept any form and answer the usual mistakes by name."""

import numpy as np
import pytest
import torch

from chapters import ch08
from eo_ssl.course.checks import ExerciseFailed
from eo_ssl.errors import DataError
from eo_ssl.evaluate.intervals import Interval
from eo_ssl.experiments.results import read_results


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


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.01, 0.05, "**The claim holds in this run.**"),
        (-0.05, -0.01, "**The claim does not hold in this run.**"),
        (-0.01, 0.01, "**This run does not settle the claim.**"),
    ],
)
def test_the_claim_is_worded_by_its_interval(low, high, words):
    assert ch08.claim(Interval((low + high) / 2, low, high)) == words


def test_the_rival_is_the_best_supervised_model_with_all_labels(tmp_path, write_model):
    write_model("dual-finetune", 10, 1.0)
    with pytest.raises(DataError, match="chapter 03"):
        ch08.best_supervised(read_results(tmp_path / "results.jsonl"), tmp_path)
    for method, fraction, right in (("late", 1.0, 6), ("early", 1.0, 8), ("late", 0.1, 9)):
        write_model(method, right, fraction)
    rival = ch08.best_supervised(read_results(tmp_path / "results.jsonl"), tmp_path)
    assert rival["method"] == "early" and rival["value"] == pytest.approx(0.8)
