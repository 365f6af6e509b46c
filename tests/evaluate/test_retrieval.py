"""Retrieval, spread, CKA and probes on representations whose answer is known."""

from itertools import permutations

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


def test_what_training_watches_follows_the_same_rule_and_leaves_out_neighbours():
    z1, z2 = (torch.nn.functional.normalize(features(20, 5, seed).double(), dim=1) for seed in (0, 1))
    z1[4:8] = z2[4:8] = z1[4]  # some ties
    similarity = (z1 @ z2.T).round(decimals=9)
    watched, scores = retrieval_metrics(similarity), retrieval(z1, z2)
    for name, one in (("recall@1", "top1"), ("recall@5", "top5"), ("mrr", "mrr")):
        both = (scores[f"s1_to_s2_{name}"] + scores[f"s2_to_s1_{name}"]) / 2
        assert watched[one] == pytest.approx(both, abs=1e-6)
    assert watched["chance_top5"] == pytest.approx(scores["chance_recall@5"])
    similarity = torch.tensor([[1.0, 2.0], [0.0, 3.0]])  # row 0 prefers column 1; columns are right
    assert retrieval_metrics(similarity)["mean_rank"] == pytest.approx((2 + 1 + 1 + 1) / 4)
    assert retrieval_metrics(torch.ones(21, 21))["mean_rank"] == 11
    swapped = torch.tensor([[0.9, 1.0, 0.0], [1.0, 0.9, 0.0], [0.0, 0.0, 1.0]])  # 0 and 1 share ground
    shared = torch.zeros(3, 3, dtype=torch.bool)
    shared[0, 1] = shared[1, 0] = True
    assert retrieval_metrics(swapped)["top1"] == pytest.approx(1 / 3)
    assert retrieval_metrics(swapped, shared)["top1"] == 1.0


def test_chunks_do_not_change_the_ranks():
    z1, z2 = features(25, 5), features(25, 5, 1)
    assert all(torch.equal(a, b) for a, b in zip(ranks(z1, z2), ranks(z1, z2, chunk=4)))


def test_embeddings_that_are_no_numbers_are_refused_by_row():
    z1, z2 = torch.randn(2, 6, 4)
    z2[[1, 4], [0, 2]] = torch.nan
    with pytest.raises(DataError, match="gallery: 2 of 6 rows hold NaN or infinity, first row 1"):
        retrieval(z1, z2)
    with pytest.raises(DataError, match="similarities: 6 of 6 rows hold NaN"):
        retrieval_metrics(z1 @ z2.T)
    with pytest.raises(ValueError, match="equal"):
        retrieval(z1, z2[:5])


def test_cka_ignores_rotation_scale_and_shift_is_symmetric_near_zero_for_noise_and_nan_for_a_constant():
    x, y, noise = features(40, 6), features(40, 9, 5), features(40, 200)
    rotation = torch.linalg.qr(features(6, 6, 2))[0]
    assert linear_cka(x, 7 * x @ rotation + 3) == pytest.approx(1.0)
    assert linear_cka(x, y) == pytest.approx(linear_cka(y, x))
    assert abs(linear_cka(noise, features(40, 200, 1))) < 0.1
    assert np.isnan(linear_cka(torch.full((10, 3), 0.1), features(10, 3)))


def test_cka_equals_the_average_over_all_four_different_samples():
    """HSIC as a U-statistic: h(i, j, q, r) = k_ij (l_ij + l_qr − 2 l_iq), mean over ordered quadruples."""
    x, y = features(7, 3).double(), features(7, 4, 3).double()

    def hsic(a, b):
        k, l = ((z - z.mean(0)) @ (z - z.mean(0)).T for z in (a, b))
        return np.mean(
            [k[i, j] * (l[i, j] + l[q, r] - 2 * l[i, q]) for i, j, q, r in permutations(range(7), 4)]
        )

    assert linear_cka(x, y) == pytest.approx(hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y)))


def test_alignment_uniformity_and_spread_in_closed_form():
    even = torch.nn.functional.normalize(features(4000, 16), dim=1)
    assert feature_spread(even) == pytest.approx(1.0, abs=0.02)
    assert feature_spread(torch.ones(10, 16) / 4) == pytest.approx(0.0, abs=1e-6)
    z = torch.eye(4)
    assert alignment(z, z) == 0
    assert alignment(z, -z) == pytest.approx(4.0)
    assert uniformity(z) == pytest.approx(-4.0)  # all distances are √2
    assert uniformity(torch.ones(5, 4) / 2) == pytest.approx(0.0, abs=1e-6)
    maps = features(6, 72).view(6, 8, 3, 3)
    vectors = maps.mean((2, 3))  # what is compared of maps
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
        ((x, y), (broken, y), "validation features: 1 of 20 rows .* first row 5"),
    ):
        with pytest.raises(DataError, match=words):
            probe(train, val)
    with pytest.raises(DataError, match="all 3 labels are 255"):
        average_accuracy(np.full(3, 255), np.zeros(3, int))


def test_ties_between_regularisations_go_to_the_stronger():
    x, y = clusters(60, 0, spread=0.01)
    assert linear_probe((x, y), (x, y), cs=(10.0, 0.1))[-1].C == 0.1
