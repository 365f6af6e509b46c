"""Chapter 03: the verdict follows the paired interval; plausible wrong answers get an answer that teaches."""

import numpy as np
import pytest
import torch
from torch import nn

from chapters import ch03
from eo_ssl.course.checks import ExerciseFailed
from eo_ssl.experiments.results import read_results


class NoMissingSensor(nn.Module):
    def __init__(self, d1: int, d2: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d1 + d2, classes)

    def forward(self, h1, h2):
        return self.linear(torch.cat([h1, h2], dim=1))


def three_classes(c):
    occurs = c.sum(1) > 0
    return np.mean([np.diag(c)[occurs][i] / c.sum(1)[occurs][i] for i in range(3)])


@pytest.mark.parametrize(
    ("check", "answer", "message"),
    [
        (ch03.check_late_fusion, NoMissingSensor, "zeros of the right width"),
        (
            ch03.check_average_accuracy,
            lambda c: np.nanmean(np.diag(c) / c.sum(1)),
            "divides 0 by 0 and warns",
        ),
        (
            ch03.check_average_accuracy,
            lambda c: np.mean(np.diag(c) / np.maximum(c.sum(1), 1)),
            "counted as 0",
        ),
        (ch03.check_average_accuracy, three_classes, "IndexError"),  # and not called a division
    ],
)
def test_a_known_mistake_is_told_what_it_is(check, answer, message):
    with pytest.raises(ExerciseFailed, match=message):
        check(answer)


def words(folder):
    return ch03.fusion_verdict(read_results(folder / "results.jsonl"), folder, "single")


def test_a_clear_gain_is_called_one_and_a_loss_is_not(tmp_path, write_model):
    write_model("s2", 5)
    write_model("late", 9)
    assert "**Late fusion is ahead of Only S2** by average accuracy: +40.0 points" in words(tmp_path)
    write_model("s1", 10)
    assert "**Only S1 is ahead of Late fusion** by average accuracy: +10.0 points" in words(tmp_path)


def test_equal_models_are_not_told_apart_and_without_a_single_sensor_nothing_is_compared(
    tmp_path, write_model
):
    write_model("early", 7)
    assert words(tmp_path) == "Of the fused models Early fusion is best, average accuracy 70% (70–70%)."
    write_model("s2", 7)
    assert "**Early fusion and Only S2 cannot be told apart**" in words(tmp_path)
