"""Chapter 09: the geometry of windows is that of the network."""

import numpy as np
import pytest
import torch

from chapters import ch09
from eo_ssl.models.encoders import make_encoder


@pytest.mark.parametrize("token", [(0, 0), (5, 14)])
@pytest.mark.parametrize(("blocks", "order"), [(1, (0,)), (2, (0, 2)), (3, (0, 2, "merge", 0))])
def test_exactly_the_pixels_within_reach_influence_a_token(token, blocks, order):
    torch.manual_seed(0)
    encoder = make_encoder("swin_mini", 2, 64).eval()
    found = ch09.influence(encoder, torch.randn(1, 2, 64, 64), blocks, token)
    expected = ch09.reach(16, 4, order, token).repeat(4, 0).repeat(4, 1)
    assert np.array_equal(found > 0, expected)


def test_without_shifts_no_depth_leaves_the_window():
    assert ch09.reach(16, 4, (0,) * 9, (7, 7)).sum() == 16
    assert ch09.reach(16, 4, (0, 2), (7, 7)).sum() == 64
    assert ch09.reach(4, 4, (2,), (0, 0)).all()  # one window only: nothing to shift
