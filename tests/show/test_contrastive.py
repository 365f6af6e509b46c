"""Figures and sentences of chapters 04 to 06: alt text from the data, wording from the numbers."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eo_ssl.losses import clip_loss, nt_xent
from eo_ssl.show import contrastive, contrastive_maps, contrastive_pairs

RNG = np.random.default_rng(0)
PICTURES = list(RNG.random((8, 6, 6, 3)))


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def history() -> pd.DataFrame:
    epochs = np.arange(1, 5)
    return pd.DataFrame({
        "epoch": epochs, "train_loss": 5 - epochs, "lr": 0.1, "val_loss": [4.0, 3.0, 2.0, 2.5], "val_top1": epochs / 10,
        "val_mrr": [0.1, 0.2, 0.4, 0.3],
        "val_top5": epochs / 5, "val_chance_top5": 0.05, "val_spread": [0.2, 0.5, 0.9, 0.9],
        "val_alignment": [1.0, 0.8, 0.6, 0.5], "val_uniformity": [-0.5, -1, -2, -2.5],
    })  # fmt: skip


def worked() -> plt.Figure:
    logits = RNG.normal(size=(8, 8))
    np.fill_diagonal(logits, -np.inf)
    share = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return contrastive.worked_example(np.eye(8), logits, share, PICTURES)


FIGURES = {
    "worked example": worked,
    "temperatures": lambda: contrastive.temperatures(0.5, RNG.uniform(-1, 1, 9), (0.02, 0.5)),
    "chance": lambda: contrastive.chance_curve([4, 32, 256]),
    "circles": lambda: contrastive.circles({"a": RNG.normal(size=(9, 2))}, RNG.random(9), {"a": [0.5, 1.0]}, "NDVI"),
    "neighbours": lambda: contrastive.neighbours(PICTURES[:2], [PICTURES[2:4], PICTURES[4:6]], [["q", "a", "b"]] * 2),
    "game": lambda: contrastive_pairs.guessing_game(PICTURES[:4], PICTURES[4:]),
    "architecture": contrastive_pairs.architecture,
    "overlap": lambda: contrastive_pairs.overlapping(PICTURES[0], PICTURES[1], (0, 3)),
    "matrices": lambda: contrastive_pairs.matrices({"a": np.eye(5), "b": np.eye(5)}, np.zeros((5, 5), dtype=bool)),
    "push": lambda: contrastive_pairs.push({"x": 0.1, "y": 0.9}, {"x": 0.6, "y": 0.4}),
    "maps": lambda: contrastive_maps.feature_maps({"a": PICTURES[:3], "b": PICTURES[3:6]}),
    "places": lambda: contrastive_maps.place_by_place(PICTURES[0], PICTURES[1], np.eye(4), np.zeros((4, 4))),
    "offsets": lambda: contrastive_maps.offsets(16, 12),
    "surfaces": lambda: contrastive_maps.surfaces({"a": np.eye(3)}, {"a": (1, 2)}),
    "intervals": lambda: contrastive_maps.bars_with_intervals({"a": (0.5, 0.4, 0.6)}, 0.1, "found"),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_brings_alt_text_made_from_its_data(name):
    alt = FIGURES[name]().eo_alt
    assert len(alt) > 30 and "nan" not in alt


def test_training_curves_describe_the_run(history):
    alt = contrastive.training(history, 4.5).eo_alt
    assert "from 4.00 to 2.50" in alt and "guessing 4.50" in alt
    assert "from alignment 1.00" in contrastive_pairs.alignment_uniformity(history).eo_alt


@pytest.mark.parametrize("n", [2, 7])
def test_chance_level_is_the_loss_of_identical_embeddings(n):
    same = torch.ones(n, 3)
    others = ~np.eye(n, dtype=bool)
    assert contrastive.chance_level(others) == pytest.approx(nt_xent(same, same, 0.1).item(), rel=1e-5)
    assert contrastive.chance_level(others, same_sensor=False) == pytest.approx(
        clip_loss(same, same).item(), rel=1e-5
    )


def test_chance_level_leaves_masked_neighbours_out_as_the_loss_does():
    mask = torch.zeros(5, 5, dtype=torch.bool)
    mask[0, 1] = mask[1, 0] = mask[2, 4] = mask[4, 2] = True
    same = torch.ones(5, 3)
    allowed = ~(mask | torch.eye(5, dtype=torch.bool)).numpy()
    assert contrastive.chance_level(allowed) == pytest.approx(nt_xent(same, same, 0.1, mask).item(), rel=1e-5)


@given(st.floats(0.003, 2), st.floats(-1, 1), st.lists(st.floats(-1, 1), min_size=1, max_size=20))
def test_softmax_shares_sum_to_one_at_any_temperature(temperature, positive, negatives):
    share = contrastive.softmax_shares(positive, np.array(negatives), temperature)
    assert share.sum() == pytest.approx(1) and (share >= 0).all()


def test_maps_that_agree_get_the_same_colours():
    maps = RNG.normal(size=(6, 4, 4))
    one, two = contrastive_maps.as_colours([maps, 3 * maps])
    assert one.shape == (4, 4, 3)
    np.testing.assert_allclose(one, two, atol=1e-6)
