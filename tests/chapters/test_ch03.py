"""Plausible wrong answers of chapter 03 get an answer that teaches."""

import numpy as np
import pytest
import torch
from torch import nn

from chapters import ch03
from eo_ssl.course.checks import ExerciseFailed


class NoMissingSensor(nn.Module):
    def __init__(self, d1: int, d2: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d1 + d2, classes)

    def forward(self, h1, h2):
        return self.linear(torch.cat([h1, h2], dim=1))


def test_a_head_that_cannot_miss_a_sensor_is_told_what_to_put_in_its_place():
    with pytest.raises(ExerciseFailed, match="zeros of the right width"):
        ch03.check_late_fusion(NoMissingSensor)


def test_an_accuracy_that_warns_is_not_yet_right():
    with pytest.raises(ExerciseFailed, match="divides 0 by 0 and warns"):
        ch03.check_average_accuracy(lambda c: np.nanmean(np.diag(c) / np.sum(c, axis=1)))


def test_an_accuracy_that_counts_the_absent_class_as_zero_is_named():
    with pytest.raises(ExerciseFailed, match="counted as 0"):
        ch03.check_average_accuracy(lambda c: np.mean(np.diag(c) / np.maximum(np.sum(c, axis=1), 1)))
