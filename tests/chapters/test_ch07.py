"""Chapter 07: computations against plain loops and known cases."""

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from chapters import ch07
from eo_ssl.course.recipes import Embeddings
from eo_ssl.losses import map_similarity


def embeddings(n=12, d=4, radar=True):
    g = torch.Generator().manual_seed(0)
    h1, h2, z = (torch.randn(n, d, generator=g) for _ in range(3))
    index = torch.arange(n)
    return Embeddings(h1, h2, z, z, index) if radar else Embeddings(None, h2, None, None, index)


def test_patches_without_a_single_class_have_a_colour_of_their_own():
    group = ch07.class_group(np.array([0, 255]))
    assert group["labels"][group["codes"][1]] == ch07.NO_CLASS and len(group["colours"]) == 9


def test_the_cosine_of_flattened_maps_is_what_mma_compares():
    g = torch.Generator().manual_seed(0)
    m1, m2 = torch.randn(5, 6, 3, 3, generator=g), torch.randn(5, 6, 3, 3, generator=g)
    v1, v2 = (F.normalize(ch07.vectors(m), dim=1) for m in (m1, m2))
    assert torch.allclose(v1 @ v2.T, map_similarity(m1, m2), atol=1e-5)


def test_neighbours_and_strangers_come_from_other_scenes_also_of_stand_ins_and_the_nearest_first():
    values = np.array([[1.0, 0.0], [1.0, 0.01], [1.0, 0.3], [0.0, 1.0], [-1.0, 0.2]])
    scene = ["a", "a", "b", "b", "c"]
    near = ch07.neighbours(values, scene, 2)
    for found in (near, ch07.strangers(scene, 2)):
        assert all(scene[i] != scene[j] for i, row in enumerate(found) for j in row)
    unit = (values - values.mean(0)) / values.std(0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    assert near[0].tolist() == sorted([2, 3, 4], key=lambda j: -unit[0] @ unit[j])[:2]
    names = [f"ROIs0000_validation_0_p{i}" for i in range(4)]  # of one data set: they were of one image once
    assert ch07.strangers(names, 2).shape == (4, 2)


def test_methods_without_radar_take_no_part_in_retrieval():
    assert ch07.features(embeddings()).shape == (12, 8)
    assert ch07.features(embeddings(radar=False)).shape == (12, 4)
    table = ch07.retrieval_table({"SimCLR": embeddings(radar=False), "Dual-SimCLR": embeddings()}, (1, 3))
    assert list(table.index) == ["Dual-SimCLR", "guessing"]
    assert table.loc["Dual-SimCLR", "s1_to_s2_recall@1"] == 1.0
    assert table.loc["guessing", "s2_to_s1_recall@3"] == pytest.approx(3 / 12)


def test_retrieval_is_worded_by_its_interval():
    recall = {"SimCLR": 0.12, "Dual-SimCLR": 0.5, "untrained": 0.0, "guessing": 0.1}
    said = ch07.against_guessing(pd.DataFrame({"s1_to_s2_recall@5": recall}), 100, 5)
    assert "SimCLR 12% (7% to 20%), not to be told from guessing" in said
    assert "Dual-SimCLR 50% (40% to 60%), above guessing" in said
    assert "untrained 0% (0% to 4%), below guessing" in said
