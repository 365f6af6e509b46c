"""Figures and sentences of chapters 04 to 06: alt text from the data, wording from the numbers."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eo_ssl.losses import clip_loss, nt_xent
from eo_ssl.show import contrastive, contrastive_text

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
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_brings_alt_text_made_from_its_data(name):
    alt = FIGURES[name]().eo_alt
    assert len(alt) > 30 and "nan" not in alt


def test_training_curves_describe_the_run(history):
    alt = contrastive.training(history, 4.5).eo_alt
    assert "from 4.00 to 2.50" in alt and "guessing 4.50" in alt


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


def test_no_result_is_stated_without_caution_at_smoke(history):
    first, second = np.ones(20), np.zeros(20)
    sentences = [
        contrastive_text.trained(history, 4.5, False),
        contrastive_text.compared(("A", "B"), first, second, "the partner is first", False),
        contrastive_text.neighbours_agree({"A": first, "B": second}, False),
    ]
    assert all("no evidence" in sentence for sentence in sentences)


def test_a_run_at_chance_is_called_no_better_than_guessing(history):
    assert "no better than guessing" in contrastive_text.trained(history, 1.9, True)
    learned = contrastive_text.trained(history, 4.5, True)
    assert "no better" not in learned and "**2.00**" in learned and "epoch 3 of 4" in learned


def test_a_run_that_overfits_is_told_apart_from_one_that_learned_nothing(history):
    worse = history.assign(val_loss=9.0)
    assert "overfits" in contrastive_text.trained(worse.assign(val_top5=0.9, val_chance_top5=0.1), 1.9, True)
    assert "overfits" not in contrastive_text.trained(
        worse.assign(val_top5=0.1, val_chance_top5=0.1), 1.9, True
    )


def test_a_collapsed_run_is_called_collapsed(history):
    assert "collapsed" in contrastive_text.trained(history.assign(val_spread=0.01), 4.5, True)


def test_a_difference_is_claimed_only_when_its_interval_excludes_zero():
    many = np.r_[np.ones(40), np.zeros(10)]
    assert "With B the partner is first more often than with A" in contrastive_text.compared(
        ("A", "B"), 1 - many, many, "the partner is first", True
    )
    close = contrastive_text.compared(("A", "B"), many, np.roll(many, 3), "the partner is first", True)
    assert "cannot tell A and B apart" in close
    assert "cannot be told apart" in contrastive_text.neighbours_agree(
        {"A": many, "B": np.roll(many, 3)}, True
    )


def test_interval_covers_the_mean_and_is_repeatable():
    values = np.r_[np.ones(30), np.zeros(70)]
    mean, low, high = contrastive_text.interval(values)
    assert low < mean < high and mean == pytest.approx(0.3)
    assert contrastive_text.interval(values) == (mean, low, high)
