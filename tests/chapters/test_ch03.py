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


def test_a_head_that_cannot_miss_a_sensor_is_told_what_to_put_in_its_place():
    with pytest.raises(ExerciseFailed, match="zeros of the right width"):
        ch03.check_late_fusion(NoMissingSensor)


def test_an_accuracy_that_warns_is_not_yet_right():
    with pytest.raises(ExerciseFailed, match="divides 0 by 0 and warns"):
        ch03.check_average_accuracy(lambda c: np.nanmean(np.diag(c) / np.sum(c, axis=1)))


def test_an_accuracy_that_counts_the_absent_class_as_zero_is_named():
    with pytest.raises(ExerciseFailed, match="counted as 0"):
        ch03.check_average_accuracy(lambda c: np.mean(np.diag(c) / np.maximum(np.sum(c, axis=1), 1)))


def test_an_index_that_fails_is_not_called_a_division():
    def three_classes(confusion):
        truth, hits = confusion.sum(1), np.diag(confusion)
        occurs = truth > 0
        return np.mean([hits[occurs][i] / truth[occurs][i] for i in range(3)])

    with pytest.raises(ExerciseFailed, match="IndexError"):
        ch03.check_average_accuracy(three_classes)


def words(folder):
    return ch03.fusion_verdict(read_results(folder / "results.jsonl"), folder, "single")


def test_a_clear_gain_is_called_one_and_a_loss_is_not(tmp_path, write_model):
    write_model("s2", 5)
    write_model("late", 9)
    assert "**Late fusion is ahead of Only S2** by average accuracy: +40.0 points" in words(tmp_path)
    write_model("s1", 10)
    assert "**Only S1 is ahead of Late fusion** by average accuracy: +10.0 points" in words(tmp_path)


def test_equal_models_are_not_told_apart_and_no_label_is_lower_cased(tmp_path, write_model):
    for method in ("s2", "early"):
        write_model(method, 7)
    assert "**Early fusion and Only S2 cannot be told apart**" in words(tmp_path)


def test_without_a_single_sensor_nothing_is_compared(tmp_path, write_model):
    write_model("late", 9)
    assert words(tmp_path).startswith("Of the fused models Late fusion is best, average accuracy 90%")
    assert "ahead" not in words(tmp_path)
