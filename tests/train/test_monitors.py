"""Monitors say chance for a collapsed model and perfection for a perfect one."""

import math

import pytest
import torch
import torch.nn.functional as F

from eo_ssl.evaluate.retrieval import (
    alignment,
    collapse_warning,
    embedding_metrics,
    feature_spread,
    knn_accuracy,
    retrieval_metrics,
    uniformity,
)


def test_a_perfect_similarity_ranks_every_partner_first() -> None:
    metrics = retrieval_metrics(torch.eye(12))
    assert (metrics["top1"], metrics["top5"], metrics["mean_rank"], metrics["mrr"]) == (1, 1, 1, 1)


def test_a_constant_similarity_ranks_in_the_middle_not_first() -> None:
    metrics = retrieval_metrics(torch.ones(21, 21))
    assert metrics["mean_rank"] == 11
    assert metrics["top1"] == metrics["top5"] == 0


def test_ranks_count_both_directions() -> None:
    similarity = torch.tensor([[1.0, 2.0], [0.0, 3.0]])  # row 0 prefers column 1; columns are right
    assert retrieval_metrics(similarity)["mean_rank"] == pytest.approx((2 + 1 + 1 + 1) / 4)


def test_ignored_pairs_do_not_count_against_the_partner() -> None:
    similarity = torch.tensor([[1.0, 2.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 1.0]])
    ignore = torch.zeros(3, 3, dtype=torch.bool)
    ignore[0, 1] = True
    assert retrieval_metrics(similarity, ignore)["mean_rank"] == 1


def test_alignment_uniformity_and_spread_in_closed_form() -> None:
    z = torch.eye(4)
    assert alignment(z, z) == 0
    assert alignment(z, -z) == pytest.approx(4.0)
    assert uniformity(z) == pytest.approx(-4.0)  # all distances are √2
    assert uniformity(torch.ones(5, 4) / 2) == pytest.approx(0.0, abs=1e-6)


def test_spread_is_one_for_even_features_and_zero_for_collapsed_ones() -> None:
    even = F.normalize(torch.randn(4000, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    assert feature_spread(even) == pytest.approx(1.0, abs=0.02)
    assert feature_spread(torch.ones(10, 16) / 4) == pytest.approx(0.0, abs=1e-6)


def test_collapse_is_warned_about_and_health_is_not() -> None:
    assert collapse_warning(0.9) is None
    assert "collapse" in (collapse_warning(0.01) or "")


def test_knn_reads_labels_from_other_groups_only() -> None:
    features = torch.eye(2).repeat(3, 1)
    labels, groups = torch.tensor([1, 2] * 3), torch.tensor([0, 0, 1, 1, 2, 2])
    assert knn_accuracy(features, labels, groups, k=2) == 1.0
    within = torch.tensor([0, 1, 0, 1, 0, 1])  # the only similar neighbours are of the same group
    assert knn_accuracy(features, labels, within, k=2) == 0.0


def test_knn_without_labels_is_nan() -> None:
    assert math.isnan(knn_accuracy(torch.eye(3), torch.full((3,), 255), torch.arange(3)))


def test_maps_are_averaged_over_space_before_they_are_compared() -> None:
    maps = torch.randn(6, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    assert embedding_metrics(maps, maps) == pytest.approx(
        embedding_metrics(maps.mean((2, 3)), maps.mean((2, 3)))
    )
