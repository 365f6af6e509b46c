"""Retrieval, spread, CKA and probes on representations whose answer is known."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eo_ssl.errors import DataError
from eo_ssl.evaluate.probe import average_accuracy, knn, linear_probe
from eo_ssl.evaluate.retrieval import (
    alignment,
    embedding_metrics,
    feature_spread,
    linear_cka,
    ranks,
    retrieval,
    retrieval_metrics,
    uniformity,
)


def features(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_a_collapsed_encoder_scores_chance_not_everything():
    z = torch.ones(20, 4)
    scores = retrieval(z, z, ks=(1, 5))
    assert scores["s1_to_s2_recall@1"] == pytest.approx(1 / 20) == pytest.approx(scores["chance_recall@1"])
    assert scores["s2_to_s1_recall@5"] == pytest.approx(5 / 20)
    assert scores["s1_to_s2_mrr"] == pytest.approx(sum(1 / r for r in range(1, 21)) / 20)
    z = features(30, 8)
    scores = retrieval(z, 3 * z)
    assert scores["s1_to_s2_recall@1"] == scores["s2_to_s1_mrr"] == 1.0


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 15))
def test_recall_and_mrr_equal_sorting_by_hand(seed, n):
    z1, z2 = features(n, 6, seed), features(n, 6, seed + 1)
    scores = retrieval(z1, z2, ks=(1, 3))
    a, b = (torch.nn.functional.normalize(z.double(), dim=1).numpy() for z in (z1, z2))
    rank = np.array([1 + int(np.flatnonzero(np.argsort(-(b @ a[i])) == i)[0]) for i in range(n)])
    assert scores["s1_to_s2_recall@3"] == pytest.approx((rank <= 3).mean())
    assert scores["s1_to_s2_mrr"] == pytest.approx((1 / rank).mean())


def test_neighbours_that_share_pixels_do_not_compete():
    z1 = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    z2 = torch.tensor([[0.9, 0.1], [1.0, 0.0], [0.0, 1.0]])  # the two overlapping patches look swapped
    assert retrieval(z1, z2, ks=(1,))["s1_to_s2_recall@1"] == pytest.approx(1 / 3)
    assert retrieval(z1, z2, ks=(1,), group=torch.tensor([0, 0, 1]))["s1_to_s2_recall@1"] == 1.0


def test_what_training_watches_follows_the_same_rule():
    z1, z2 = (torch.nn.functional.normalize(features(20, 5, seed).double(), dim=1) for seed in (0, 1))
    group = torch.arange(20) // 2
    z1[4:8] = z2[4:8] = z1[4]  # some ties
    watched = retrieval_metrics(
        (z1 @ z2.T).round(decimals=9), (group[:, None] == group) & ~torch.eye(20).bool()
    )
    scores = retrieval(z1, z2, group=group)
    for name, one in (("recall@1", "top1"), ("recall@5", "top5"), ("mrr", "mrr")):
        both = (scores[f"s1_to_s2_{name}"] + scores[f"s2_to_s1_{name}"]) / 2
        assert watched[one] == pytest.approx(both, abs=1e-6)
    assert watched["chance_top5"] == pytest.approx(scores["chance_recall@5"])


def test_a_perfect_similarity_ranks_every_partner_first_and_a_constant_one_by_chance():
    metrics = retrieval_metrics(torch.eye(12))
    assert (metrics["top1"], metrics["top5"], metrics["mean_rank"], metrics["mrr"]) == (1, 1, 1, 1)
    metrics = retrieval_metrics(torch.ones(21, 21))
    assert metrics["mean_rank"] == 11 and metrics["top5"] == pytest.approx(metrics["chance_top5"])
    similarity = torch.tensor([[1.0, 2.0], [0.0, 3.0]])  # row 0 prefers column 1; columns are right
    assert retrieval_metrics(similarity)["mean_rank"] == pytest.approx((2 + 1 + 1 + 1) / 4)


def test_chunks_do_not_change_the_ranks():
    z1, z2 = features(25, 5), features(25, 5, 1)
    assert all(torch.equal(a, b) for a, b in zip(ranks(z1, z2), ranks(z1, z2, chunk=4)))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_embeddings_that_are_no_numbers_are_refused_by_row(bad):
    z1, z2 = torch.randn(6, 4), torch.randn(6, 4)
    z2[[1, 4], [0, 2]] = bad
    for ask in (retrieval, ranks):
        with pytest.raises(DataError, match=r"2 of 6 rows hold NaN or infinity \(rows 1, 4\)"):
            ask(z1, z2)
    with pytest.raises(DataError, match="embeddings of S2"):
        retrieval(z1, z2)
    with pytest.raises(ValueError, match="equal"):
        retrieval(z1, z2[:5])


@pytest.mark.parametrize("debiased", [False, True])
def test_cka_ignores_rotation_scale_and_shift(debiased):
    x = features(40, 6)
    rotation = torch.linalg.qr(features(6, 6, 2))[0]
    assert linear_cka(x, 7 * x @ rotation + 3, debiased) == pytest.approx(1.0)
    y = features(40, 9, 5)
    assert linear_cka(x, y, debiased) == pytest.approx(linear_cka(y, x, debiased))


def test_cka_equals_its_feature_space_form_is_nan_for_a_constant_and_debiased_near_zero_for_noise():
    x, y = features(60, 200), features(60, 200, 1)
    assert linear_cka(x, y) > 0.5
    assert abs(linear_cka(x, y, debiased=True)) < 0.1
    x, y = features(30, 4).double(), features(30, 7, 3).double()
    x0, y0 = x - x.mean(0), y - y.mean(0)
    expected = (y0.T @ x0).norm() ** 2 / ((x0.T @ x0).norm() * (y0.T @ y0).norm())
    assert linear_cka(x, y) == pytest.approx(float(expected))
    assert np.isnan(linear_cka(torch.full((10, 3), 0.1), features(10, 3)))


def test_alignment_uniformity_and_spread_in_closed_form():
    even = torch.nn.functional.normalize(features(4000, 16), dim=1)
    assert feature_spread(even) == pytest.approx(1.0, abs=0.02)
    assert feature_spread(torch.ones(10, 16) / 4) == pytest.approx(0.0, abs=1e-6)
    z = torch.eye(4)
    assert alignment(z, z) == 0
    assert alignment(z, -z) == pytest.approx(4.0)
    assert uniformity(z) == pytest.approx(-4.0)  # all distances are √2
    assert uniformity(torch.ones(5, 4) / 2) == pytest.approx(0.0, abs=1e-6)


def test_maps_are_averaged_over_space_before_they_are_compared():
    maps, vectors = (maps := features(6, 72).view(6, 8, 3, 3)), maps.mean((2, 3))
    assert embedding_metrics(maps, maps) == pytest.approx(embedding_metrics(vectors, vectors))


def clusters(n, seed, spread=0.3):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    return np.eye(3)[y] + spread * rng.normal(size=(n, 3)), y


@pytest.mark.parametrize("probe", [linear_probe, knn])
def test_probes_solve_separable_classes_and_leave_out_unlabelled_rows(probe):
    x, y = clusters(90, 0)
    fitted = probe((x, y), clusters(60, 1))
    test, truth = clusters(200, 2)
    assert average_accuracy(truth, fitted.predict(test)) > 0.9
    dirty = probe((np.vstack([x, np.full((5, 3), np.nan)]), np.append(y, [255] * 5)), clusters(60, 1))
    assert np.array_equal(dirty.predict(test), fitted.predict(test))


@pytest.mark.parametrize("probe", [linear_probe, knn])
def test_probes_say_what_they_cannot_work_with(probe):
    x, y = clusters(20, 0)
    broken = x.copy()
    broken[5, 0] = np.inf
    for train, val, words in (
        ((x, y * 0), (x, y), "at least two"),
        ((x, y), (x, np.full(20, 255)), "validation"),
        ((broken, y), (x, y), r"training features: 1 of 20 rows .* \(row 5\)"),
        ((x, y), (broken, y), r"validation features: 1 of 20 rows .* \(row 5\)"),
    ):
        with pytest.raises(DataError, match=words):
            probe(train, val)


def test_ties_between_regularisations_go_to_the_stronger():
    x, y = clusters(60, 0, spread=0.01)
    assert linear_probe((x, y), (x, y), cs=(10.0, 0.1))[-1].C == 0.1


def test_average_accuracy_says_what_it_cannot_score():
    with pytest.raises(DataError, match="all 3 labels are 255"):
        average_accuracy(np.full(3, 255), np.zeros(3, int))
    with pytest.raises(DataError, match="label -1 is not in the legend"):
        average_accuracy(np.array([0, -1]), np.zeros(2, int))


def test_a_broken_encoder_is_no_perfect_one():
    with pytest.raises(DataError, match="similarities: 1 of 4 rows hold NaN"):
        retrieval_metrics(torch.eye(4).index_fill(0, torch.tensor([2]), torch.nan))
