"""Computations of chapter 07 against plain loops and cases with a known answer."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from eo_ssl.course.lessons import representation as lesson
from eo_ssl.course.recipes import Embeddings
from eo_ssl.losses import map_similarity


def embeddings(n=12, d=4, seed=0, radar=True):
    g = torch.Generator().manual_seed(seed)
    h1, h2, z = torch.randn(n, d, generator=g), torch.randn(n, d, generator=g), torch.randn(n, d, generator=g)
    index = torch.arange(n)
    return Embeddings(h1, h2, z, z, index) if radar else Embeddings(None, h2, None, None, index)


def test_the_cosine_of_flattened_maps_is_what_mma_compares():
    g = torch.Generator().manual_seed(0)
    m1, m2 = torch.randn(5, 6, 3, 3, generator=g), torch.randn(5, 6, 3, 3, generator=g)
    v1, v2 = (F.normalize(lesson.vectors(m), dim=1) for m in (m1, m2))
    assert torch.allclose(v1 @ v2.T, map_similarity(m1, m2), atol=1e-5)


def test_features_are_those_of_all_sensors_a_method_has():
    assert lesson.features(embeddings()).shape == (12, 8)
    assert lesson.features(embeddings(radar=False)).shape == (12, 4)


def test_neighbours_come_from_other_scenes_and_the_nearest_first():
    values = np.array([[1.0, 0.0], [1.0, 0.01], [1.0, 0.3], [0.0, 1.0], [-1.0, 0.2]])
    scene = ["a", "a", "b", "b", "c"]
    near = lesson.neighbours(values, scene, 2)
    assert all(scene[i] != scene[j] for i, row in enumerate(near) for j in row)
    unit = (values - values.mean(0)) / values.std(0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    others = [j for j in range(5) if scene[j] != scene[0]]
    assert near[0].tolist() == sorted(others, key=lambda j: -unit[0] @ unit[j])[:2]


def test_strangers_are_of_other_scenes_too():
    scene = ["a", "a", "b", "c"]
    drawn = lesson.strangers(scene, 3)
    assert drawn.shape == (4, 3) and all(scene[i] != scene[j] for i, row in enumerate(drawn) for j in row)


def test_methods_without_radar_take_no_part_in_retrieval_and_branch_similarity():
    both = {"SimCLR": embeddings(radar=False), "Dual-SimCLR": embeddings()}
    table = lesson.retrieval_table(both, (1, 3))
    assert list(table.index) == ["Dual-SimCLR", "guessing"]
    assert table.loc["Dual-SimCLR", "s1_to_s2_recall@1"] == 1.0
    assert table.loc["guessing", "s2_to_s1_recall@3"] == pytest.approx(3 / 12)
    assert set(lesson.branch_similarity(both)) == {"Dual-SimCLR"}


def test_label_sets_in_common_are_intersection_over_union():
    labels = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1]])
    assert lesson.shared_labels(np.array([[1, 2], [0, 0], [2, 2]]), labels).tolist() == [0.25, 0.5, 1.0]


def test_on_noise_the_best_on_one_half_is_no_better_on_the_other():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(400, 12)), np.arange(400) % 4
    tries = lesson.selected_twice((x[:100], y[:100]), [(x[100:160], y[100:160]), (x[160:], y[160:])], 80)
    best = tries["a"].idxmax()
    assert tries["a"][best] > 0.33 > tries["b"][best]  # chance is 0.25


def test_a_layout_keeps_neighbours_and_fills_the_square():
    pytest.importorskip("umap")
    rng = np.random.default_rng(0)
    groups = np.repeat(np.eye(2, 6) * 20, 15, axis=0)
    plane = lesson.layout(groups + rng.normal(size=(30, 6)), seed=0)
    assert plane.min() == 0 and plane.max() == 1
    centre = plane[:15].mean(0), plane[15:].mean(0)
    nearer = np.linalg.norm(plane - centre[0], axis=1) < np.linalg.norm(plane - centre[1], axis=1)
    assert nearer[:15].all() and not nearer[15:].any()
