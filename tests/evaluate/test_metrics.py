"""Metrics equal scikit-learn on random inputs, are blind to 255, and say something true at the edges."""

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eo_ssl.errors import DataError
from eo_ssl.evaluate import metrics
from eo_ssl.losses import NonFiniteError

K = 8


@st.composite
def labelled_logits(draw):
    n = draw(st.integers(0, 40))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    logits = 3 * torch.randn(n, K, generator=generator)
    classes = draw(st.integers(1, K))  # often fewer classes than the model knows
    label = torch.randint(0, classes, (n,), generator=generator)
    label[torch.rand(n, generator=generator) < draw(st.sampled_from([0.0, 0.3]))] = 255
    return logits, label


@settings(max_examples=60, deadline=None)
@given(labelled_logits())
def test_classification_metrics_equal_scikit_learn(sample):
    logits, label = sample
    ours = metrics.classification_metrics(logits, label)
    keep = (label != 255).numpy()
    truth, guess = label.numpy()[keep], logits.argmax(1).numpy()[keep]
    if not keep.any():
        assert ours["aa"] is None and ours["oa"] is None and ours["n"] == 0
        return
    present = np.unique(truth)
    assert ours["confusion"] == sk.confusion_matrix(truth, guess, labels=range(K)).tolist()
    assert ours["oa"] == pytest.approx(sk.accuracy_score(truth, guess))
    assert ours["f1_micro"] == pytest.approx(sk.f1_score(truth, guess, average="micro"))
    over_present = {"labels": present, "average": "macro", "zero_division": 0}
    assert ours["aa"] == pytest.approx(sk.recall_score(truth, guess, **over_present))
    assert ours["f1_macro"] == pytest.approx(sk.f1_score(truth, guess, **over_present))
    assert ours["classes_present"] == len(present)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 30), st.floats(0.0, 1.0))
def test_multilabel_metrics_equal_scikit_learn(seed, n, share):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, K, generator=generator)
    target = (torch.rand(n, K, generator=generator) < share).long()
    ours = metrics.multilabel_metrics(logits, target)
    truth, guess, score = target.numpy(), (logits > 0).long().numpy(), logits.sigmoid().numpy()
    present = np.flatnonzero(truth.any(0))
    assert ours["classes_present"] == len(present)
    if len(present):
        f1 = sk.f1_score(truth, guess, average=None, zero_division=0)[present].mean()
        precision = [sk.average_precision_score(truth[:, c], score[:, c]) for c in present]
        assert ours["f1_macro"] == pytest.approx(f1)
        assert ours["map"] == pytest.approx(np.mean(precision))
    else:
        assert ours["f1_macro"] is None and ours["map"] is None
    if (truth | guess).any():
        assert ours["f1_micro"] == pytest.approx(sk.f1_score(truth, guess, average="micro", zero_division=0))


def test_a_diverged_model_is_refused():
    with pytest.raises(NonFiniteError, match="diverged"):
        metrics.classification_metrics(torch.tensor([[0.0, torch.inf]]), torch.tensor([1]))


def test_scores_of_many_counts_at_once_equal_those_of_each():
    confusion = np.random.default_rng(0).integers(0, 9, (4, 3, 3))
    confusion[1, 2] = 0  # an absent class
    plain = [metrics.segmentation_metrics(torch.tensor(one)) for one in confusion]
    for name in ("aa", "oa", "miou"):
        assert metrics.METRICS[name](confusion).tolist() == [one[name] for one in plain]
    assert np.isnan(metrics.mean_iou(np.zeros((2, 3, 3), int))).all()  # nothing counted, nothing known


LEGEND = r"is not in the legend: 0 Forest, .*7 Water, 255 no label"
LOGITS = torch.eye(8)[:3]


@pytest.mark.parametrize("label", [[0, 1, -1], [-100, 1, 2], [0, 8, 1], [0.0, 0.5, 1.0]])
def test_a_label_outside_the_legend_is_named_with_the_legend(label):
    wrong = next(value for value in label if value not in range(8))
    for kind in (np.array, torch.tensor):
        with pytest.raises(DataError, match=f"label {wrong:g} {LEGEND}"):
            metrics.classification_metrics(LOGITS, kind(label))


def test_numpy_lists_and_other_types_of_labels_are_scored_alike():
    label = [0, 1, 255]
    wanted = metrics.classification_metrics(LOGITS, torch.tensor(label))
    for one in (np.array(label), np.array(label, np.uint8), torch.tensor(label, dtype=torch.float64), label):
        assert metrics.classification_metrics(LOGITS.numpy(), one) == wanted


def test_one_hot_labels_and_soft_targets_are_refused_in_one_line():
    with pytest.raises(DataError, match=r"labels \(3, 8\).* of one-hot labels the argmax"):
        metrics.classification_metrics(LOGITS, torch.eye(8)[:3])
    with pytest.raises(DataError, match=r"0 or 1 for each class, not 0\.4"):
        metrics.multilabel_metrics(LOGITS, torch.full((3, 8), 0.4))
    with pytest.raises(DataError, match=r"label 9 is not in the legend: .*7 Water$"):
        metrics.confusion_matrix(np.array([0, 9]), np.array([0, 1]))


def random_maps(seed, classes=4, ignored=0.2):
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, classes, (2, 3, 3), generator=generator)
    truth = blocks.repeat_interleave(3, 1).repeat_interleave(3, 2)
    truth[torch.rand(truth.shape, generator=generator) < ignored] = 255
    prediction = torch.randint(0, 4, truth.shape, generator=generator)
    return prediction, truth


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4), st.sampled_from([0.0, 0.3]))
def test_iou_equals_scikit_learn_over_the_classes_in_the_truth(seed, classes, ignored):
    prediction, truth = random_maps(seed, classes, ignored)
    ours = metrics.segmentation_metrics(metrics.confusion_matrix(prediction, truth))
    keep = (truth != 255).numpy()
    flat, guess = truth.numpy()[keep], prediction.numpy()[keep]
    expected = sk.jaccard_score(flat, guess, labels=np.unique(flat), average="macro", zero_division=0)
    assert ours["miou"] == pytest.approx(expected)


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
    for c in range(8):
        p, t = edges(prediction, c), edges(truth, c)
        rows.append([matched(p, t), len(p), matched(t, p), len(t)])
    return rows


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 3))
def test_boundary_counts_equal_a_pixel_by_pixel_search(seed, tolerance):
    prediction, truth = random_maps(seed)
    maps = zip(prediction.numpy(), truth.numpy())
    slow = sum(np.array(slow_boundary_counts(*one, tolerance)) for one in maps)
    assert metrics.boundary_counts(prediction, truth, tolerance).tolist() == slow.tolist()


def test_a_perfect_map_has_boundary_f1_one_and_a_shifted_one_depends_on_the_tolerance():
    truth = torch.zeros(1, 12, 12, dtype=torch.long)
    truth[:, :, 6:] = 1
    shifted = truth.roll(2, 2)
    shifted[:, :, :2] = 0
    perfect = metrics.boundary_f1(metrics.boundary_counts(truth, truth, 0))
    assert perfect["boundary_f1"] == 1.0 and perfect["boundary_f1_per_class"] == [1.0, 1.0, *[None] * 6]
    assert metrics.boundary_f1(metrics.boundary_counts(shifted, truth, 2))["boundary_f1"] == 1.0
    assert metrics.boundary_f1(metrics.boundary_counts(shifted, truth, 0))["boundary_f1"] == 0.0
    flat = torch.zeros_like(truth)  # no boundary, no score
    assert metrics.boundary_f1(metrics.boundary_counts(flat, flat, 2))["boundary_f1"] is None
