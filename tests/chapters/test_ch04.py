"""Chapter 04: the loss of guessing is that of identical embeddings, and the worked example states its own numbers."""

import numpy as np
import pytest
import torch

from chapters import ch04
from eo_ssl.losses import chance_level, clip_loss, nt_xent


@pytest.mark.parametrize("neighbours", [[], [(0, 1), (1, 0), (2, 4), (4, 2)]])
def test_chance_level_is_the_loss_of_identical_embeddings_without_masked_neighbours(neighbours):
    mask, same = torch.zeros(5, 5, dtype=torch.bool), torch.ones(5, 3)
    for pair in neighbours:
        mask[pair] = True
    allowed = ~(mask | torch.eye(5, dtype=torch.bool)).numpy()
    assert chance_level(allowed) == pytest.approx(nt_xent(same, same, 0.1, mask).item(), rel=1e-5)
    if not neighbours:
        one_sensor = chance_level(allowed, same_sensor=False)
        assert one_sensor == pytest.approx(clip_loss(same, same).item(), rel=1e-5)


def test_the_worked_example_states_the_loss_of_its_own_numbers():
    pictures, share = list(np.random.default_rng(0).random((4, 6, 6, 3))), np.full((4, 4), 1 / 3)
    logits = np.where(np.eye(4, dtype=bool), -np.inf, 0.0)
    alt = ch04.worked_example(np.eye(4), logits, share, pictures).eo_alt
    assert "mean 1.10, chance 1.10" in alt and "nan" not in alt
