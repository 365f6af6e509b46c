"""The schedule is counted in updates and ends where it should."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from eo_ssl.train.config import DualSimCLRConfig
from eo_ssl.train.loop import make_optimizer, set_learning_rate
from eo_ssl.train.step import learning_rate


def test_warm_up_rises_linearly_to_the_peak_and_the_cosine_falls_to_the_floor() -> None:
    rates = [learning_rate(step, 100, 10, 1.0, 0.1) for step in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[10] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.1)
    assert all(a > b for a, b in pairwise(rates[10:]))


def test_the_rate_moves_within_an_epoch_not_only_between_epochs() -> None:
    config = DualSimCLRConfig(epochs=3, warmup_epochs=1, lr=1.0)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.0)
    rates = [set_learning_rate(optimizer, config, step, per_epoch=4) for step in range(12)]
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[-1] == pytest.approx(config.min_lr)
    assert optimizer.param_groups[0]["lr"] == rates[-1]


def test_adamw_does_not_decay_biases_and_norms() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(3, 4))
    groups = make_optimizer(DualSimCLRConfig(weight_decay=0.1), model).param_groups
    decay = {parameter.ndim: group["weight_decay"] for group in groups for parameter in group["params"]}
    assert decay == {4: 0.1, 2: 0.1, 1: 0.0}


def test_the_papers_adam_decays_everything() -> None:
    optimizer = make_optimizer(DualSimCLRConfig(optimizer="adam", weight_decay=1e-4), nn.Linear(2, 2))
    assert type(optimizer) is torch.optim.Adam
    assert [group["weight_decay"] for group in optimizer.param_groups] == [1e-4]
