"""Intervals cover what they should, and pairing sees what separate intervals do not."""

import numpy as np
import pytest
import torch

from eo_ssl.evaluate import intervals
from eo_ssl.evaluate.metrics import average_accuracy, confusion_metrics, overall_accuracy


def random_confusions(seeds, patches, skill, seed):
    """Patches with one of three classes each, predicted right with probability `skill`."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, patches)
    counts = np.zeros((seeds, patches, 3, 3), dtype=int)
    for s in range(seeds):
        guess = np.where(rng.random(patches) < skill, truth, (truth + 1) % 3)
        counts[s, np.arange(patches), truth, guess] = 1
    return counts


def test_the_value_is_the_mean_over_seeds_of_the_pooled_metric():
    counts = random_confusions(3, 50, 0.7, 0)
    interval = intervals.hierarchical_interval(counts, np.arange(50), average_accuracy)
    expected = np.mean([confusion_metrics(torch.tensor(one.sum(0)))["aa"] for one in counts])
    assert interval.value == pytest.approx(expected)
    assert interval.low <= interval.value <= interval.high


def test_95_percent_intervals_cover_the_truth_about_that_often():
    """A tenth narrower or a quarter wider, or of 90 or 98 percent, they lie outside of these bounds."""
    hits = 0
    for trial in range(600):
        counts = random_confusions(1, 80, 0.7, trial)
        interval = intervals.hierarchical_interval(counts, np.arange(80), overall_accuracy)
        hits += interval.low <= 0.7 <= interval.high
    assert 0.94 <= hits / 600 <= 0.97


def test_pairing_sees_a_difference_that_separate_intervals_do_not():
    hard = random_confusions(1, 60, 0.5, 2)
    better = hard.copy()
    for patch in np.flatnonzero(hard[0].trace(axis1=1, axis2=2) == 0)[:5]:
        better[0, patch] = np.diag(hard[0, patch].sum(1))
    groups = np.arange(60)
    compared = intervals.paired_difference(better, hard, groups, overall_accuracy)
    assert compared.low > 0
    separate = [intervals.hierarchical_interval(c, groups, overall_accuracy) for c in (better, hard)]
    assert separate[0].low < separate[1].high
    same = intervals.paired_difference(hard, hard, groups, overall_accuracy)
    assert (same.low, same.high) == (0, 0)


def test_an_interval_of_seeds_stays_within_them_and_needs_values():
    interval = intervals.bootstrap_interval(np.array([0.5, 0.6, 0.7]))
    assert interval.value == pytest.approx(0.6) and 0.5 <= interval.low < interval.high <= 0.7
    for nothing in ([], [np.nan]):
        with pytest.raises(ValueError, match="finite values"):
            intervals.bootstrap_interval(np.array(nothing))


def test_an_interval_over_groups_is_that_of_as_many_independent_values_and_keeps_the_mean_of_all():
    rng = np.random.default_rng(0)
    scene = np.repeat(np.arange(40), 16)
    values = rng.random(40)[scene]  # all patches of a scene say the same
    over_scenes, as_patches = (intervals.bootstrap_interval(values, by) for by in (scene, None))
    as_scenes = intervals.bootstrap_interval(values[::16])
    wide, same, narrow = (one.high - one.low for one in (over_scenes, as_scenes, as_patches))
    assert wide == pytest.approx(same, rel=0.1) and wide > 3 * narrow
    uneven = intervals.bootstrap_interval(np.array([0.0, 1.0, 1.0, 1.0]), ["a", "b", "b", "b"])
    assert uneven.value == 0.75 and (uneven.low, uneven.high) == (0, 1)
