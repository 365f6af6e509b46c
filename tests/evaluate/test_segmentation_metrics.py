"""Pixel metrics: pooled, blind to 255, equal to scikit-learn and to a slow boundary search."""

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eo_ssl.evaluate import segmentation_metrics as seg

K = 4


def random_maps(seed, classes=K, size=9, batch=2, ignored=0.2):
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randint(0, classes, (batch, 3, 3), generator=generator).repeat_interleave(3, 1)
    truth = truth.repeat_interleave(3, 2)[:, :size, :size]
    truth[torch.rand(truth.shape, generator=generator) < ignored] = 255
    logits = 2 * torch.randn(batch, K, size, size, generator=generator)
    return logits, truth


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, K), st.sampled_from([0.0, 0.3, 1.0]))
def test_iou_equals_scikit_learn_over_the_classes_in_the_truth(seed, classes, ignored):
    logits, truth = random_maps(seed, classes, ignored=ignored)
    score = seg.SegmentationScore(K)
    for one in range(len(truth)):  # batch by batch, scored as one set
        score.update(logits[one : one + 1], truth[one : one + 1])
    ours = score.metrics()
    keep = (truth != 255).numpy()
    flat, guess = truth.numpy()[keep], logits.argmax(1).numpy()[keep]
    if not keep.any():
        assert ours["miou"] is None and ours["aa"] is None
        return
    present = np.unique(flat)
    expected = sk.jaccard_score(flat, guess, labels=present, average="macro", zero_division=0)
    assert ours["miou"] == pytest.approx(expected)
    assert ours["aa"] == pytest.approx(sk.recall_score(flat, guess, labels=present, average="macro"))


def slow_boundary_counts(prediction, truth, tolerance):
    prediction = np.where(truth == 255, 255, prediction)

    def edges(mask, c):
        found = set()
        height, width = mask.shape
        for y in range(height):
            for x in range(width):
                near = [(y + dy, x + dx) for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))]
                values = [mask[p] for p in near if 0 <= p[0] < height and 0 <= p[1] < width]
                if mask[y, x] == c and any(v not in (c, 255) for v in values):
                    found.add((y, x))
        return found

    def matched(ours, theirs):
        return sum(any(max(abs(a - c), abs(b - d)) <= tolerance for c, d in theirs) for a, b in ours)

    rows = []
    for c in range(K):
        p, t = edges(prediction, c), edges(truth, c)
        rows.append([matched(p, t), len(p), matched(t, p), len(t)])
    return rows


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 3))
def test_boundary_counts_equal_a_pixel_by_pixel_search(seed, tolerance):
    logits, truth = random_maps(seed)
    prediction = logits.argmax(1)
    slow = sum(
        np.array(slow_boundary_counts(p, t, tolerance)) for p, t in zip(prediction.numpy(), truth.numpy())
    )
    assert seg.boundary_counts(prediction, truth, tolerance, K).tolist() == slow.tolist()


def test_a_perfect_map_has_boundary_f1_one_and_a_shifted_one_depends_on_the_tolerance():
    truth = torch.zeros(1, 12, 12, dtype=torch.long)
    truth[:, :, 6:] = 1
    shifted = truth.roll(2, 2)
    shifted[:, :, :2] = 0
    perfect = seg.boundary_f1(seg.boundary_counts(truth, truth, 0, K))
    assert perfect["boundary_f1"] == 1.0 and perfect["boundary_f1_per_class"] == [1.0, 1.0, None, None]
    assert seg.boundary_f1(seg.boundary_counts(shifted, truth, 2, K))["boundary_f1"] == 1.0
    assert seg.boundary_f1(seg.boundary_counts(shifted, truth, 0, K))["boundary_f1"] == 0.0


def test_a_map_without_boundaries_has_no_boundary_score():
    flat = torch.zeros(1, 8, 8, dtype=torch.long)
    assert seg.boundary_f1(seg.boundary_counts(flat, flat, 2, K))["boundary_f1"] is None


def test_predictions_where_the_truth_is_unknown_do_not_matter():
    logits, truth = random_maps(3, ignored=0.4)
    other = torch.where((truth == 255)[:, None], torch.randn_like(logits), logits)
    results = []
    for values in (logits, other):
        score = seg.SegmentationScore(K)
        score.update(values, truth)
        results.append(score.metrics())
    assert results[0] == results[1]


def test_an_empty_score_is_none():
    assert seg.SegmentationScore(K).metrics()["miou"] is None
