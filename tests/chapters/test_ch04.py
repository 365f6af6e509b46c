"""Chapter 04: the loss of guessing is that of identical embeddings."""

import pytest
import torch

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
