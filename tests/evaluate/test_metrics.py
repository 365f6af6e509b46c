"""Metrics equal scikit-learn on random inputs, and say something true at the edges."""

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_calibration_error

from eo_ssl.evaluate import metrics
from eo_ssl.evaluate.calibration import CalibrationBins

K = 5


@st.composite
def labelled_logits(draw, minimum=1):
    n = draw(st.integers(minimum, 40))
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
    expected = {
        "aa": sk.recall_score(truth, guess, labels=present, average="macro", zero_division=0),
        "f1_macro": sk.f1_score(truth, guess, labels=present, average="macro", zero_division=0),
    }
    assert {name: ours[name] for name in expected} == pytest.approx(expected)
    assert ours["classes_present"] == len(present)


@settings(max_examples=60, deadline=None)
@given(labelled_logits())
def test_calibration_error_equals_torchmetrics_however_it_is_batched(sample):
    logits, label = sample
    bins = CalibrationBins()
    for part in range(0, len(logits), 7):
        bins.update(logits[part : part + 7].softmax(1), label[part : part + 7])
    keep = label != 255
    if not keep.any():
        assert bins.error() is None
        return
    expected = multiclass_calibration_error(logits[keep].softmax(1), label[keep], K, n_bins=15, norm="l1")
    assert bins.error() == pytest.approx(float(expected), abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 30), st.floats(0.0, 1.0))
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
        assert ours["map"] == pytest.approx(np.mean(precision), abs=1e-5)
    else:
        assert ours["f1_macro"] is None and ours["map"] is None
    if (truth | guess).any():
        assert ours["f1_micro"] == pytest.approx(sk.f1_score(truth, guess, average="micro", zero_division=0))


def test_an_absent_class_changes_neither_average_accuracy_nor_macro_f1():
    logits = torch.eye(3)[[0, 0, 1]]
    two, eight = (
        metrics.classification_metrics(torch.nn.functional.pad(logits, (0, extra)), torch.tensor([0, 0, 0]))
        for extra in (0, 5)
    )
    assert two["aa"] == eight["aa"] == pytest.approx(2 / 3)
    assert two["f1_macro"] == eight["f1_macro"]
    assert eight["per_class"][1:] == [None] * 7


def test_label_255_is_never_counted_as_a_class():
    logits = torch.eye(3)[[0, 1, 2, 2]]
    with_ignored = metrics.classification_metrics(logits, torch.tensor([0, 1, 255, 255]))
    assert with_ignored["aa"] == 1.0 and with_ignored["n"] == 2 and with_ignored["classes_present"] == 2


@pytest.mark.parametrize("label", [[], [255], [255, 255]])
def test_nothing_to_score_gives_none_not_nan(label):
    result = metrics.classification_metrics(torch.randn(len(label), K), torch.tensor(label, dtype=torch.long))
    assert {result[name] for name in ("aa", "oa", "f1_macro", "ece")} == {None}


def test_one_sample_is_enough():
    result = metrics.classification_metrics(torch.tensor([[0.0, 2.0]]), torch.tensor([1]))
    assert (result["aa"], result["oa"], result["per_class"]) == (1.0, 1.0, [None, 1.0])
    assert metrics.multilabel_metrics(torch.tensor([[9.0, -9.0]]), torch.tensor([[1, 0]]))["map"] == 1.0


def test_an_empty_multilabel_set_scores_none():
    result = metrics.multilabel_metrics(torch.zeros(0, K), torch.zeros(0, K))
    assert result["f1_macro"] is None and result["map"] is None and result["n"] == 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_diverged_model_is_refused(bad):
    with pytest.raises(ValueError, match="diverged"):
        metrics.classification_metrics(torch.tensor([[0.0, bad]]), torch.tensor([1]))


def test_pooling_differs_from_averaging_over_batches():
    """The reason to pool: batch averages of AA depend on how the batches fell."""
    label = torch.tensor([0, 0, 0, 1])
    logits = torch.eye(2)[[0, 1, 0, 1]]
    pooled = metrics.classification_metrics(logits, label)["aa"]
    halves = [metrics.classification_metrics(logits[i : i + 2], label[i : i + 2])["aa"] for i in (0, 2)]
    assert pooled == pytest.approx((2 / 3 + 1) / 2) and sum(halves) / 2 != pytest.approx(pooled)
