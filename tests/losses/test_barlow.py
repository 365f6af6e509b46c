"""Cross-modal Barlow Twins and its common dimensions: plain loops, lightly, closed forms, gradients."""

import pytest
import torch
from lightly.loss import BarlowTwinsLoss

from eo_ssl.errors import ConfigError
from eo_ssl.losses import NonFiniteError, barlow_loss, cross_correlation

SQUARE = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])  # two uncorrelated dimensions


def pairs(n=9, dim=4, dtype=torch.float64):
    return torch.randn(2, n, dim, generator=torch.Generator().manual_seed(n), dtype=dtype)


@pytest.mark.parametrize("common", [None, 1, 3, 4])
def test_equals_the_plain_loop(common):
    z1, z2 = pairs()
    expected, shared = 0.0, common or 4
    for a in range(4):
        for b in range(4):
            c = float(torch.corrcoef(torch.stack([z1[:, a], z2[:, b]]))[0, 1])
            if a == b:
                expected += (1 - c) ** 2 if a < shared else c**2
            elif (a < shared) == (b < shared):
                expected += 0.02 * c**2
    assert barlow_loss(z1, z2, 0.02, common).item() == pytest.approx(expected, rel=1e-4)
    assert barlow_loss(z2, z1, 0.02, common).item() == pytest.approx(expected, rel=1e-4)


def test_equals_lightly_in_value_and_gradient():
    z = pairs(33, 24, torch.float32)
    ours, theirs = z.clone().requires_grad_(), z.clone().requires_grad_()
    a, b = barlow_loss(*ours, 0.005), BarlowTwinsLoss(lambda_param=0.005)(*theirs)
    a.backward()
    b.backward()
    torch.testing.assert_close(a, b)
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_gradient_equals_finite_differences():
    z1, z2 = (z.requires_grad_() for z in pairs(6, 3))
    assert torch.autograd.gradcheck(lambda a, b: barlow_loss(a, b, 0.1, 2), (z1, z2))


def test_the_best_and_the_worst_in_closed_form():
    assert barlow_loss(SQUARE, SQUARE).item() == pytest.approx(0.0, abs=1e-6)
    assert barlow_loss(SQUARE, SQUARE.flip(1), 0.5).item() == pytest.approx(2 + 0.5 * 2, rel=1e-4)
    unique = torch.cat([SQUARE[:, :1], SQUARE[:, :1] * SQUARE[:, 1:]], 1)  # shares only the first dimension
    assert barlow_loss(SQUARE, unique, common=1).item() == pytest.approx(0.0, abs=1e-6)
    assert barlow_loss(SQUARE, unique).item() == pytest.approx(1.0, rel=1e-4)


def test_a_collapsed_dimension_is_a_loss_and_no_nan():
    z1, z2 = pairs()
    z1[:, 0] = 5.0
    assert cross_correlation(z1, z2)[0].abs().max() < 1e-6
    assert barlow_loss(z1, z2, 0.0) >= 1 - 1e-6


def test_half_inputs_are_computed_in_float32_and_nan_is_named():
    z1, z2 = pairs(dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(barlow_loss(z1, z2), barlow_loss(z1.float(), z2.float()))
    z1[0, 0] = torch.nan
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        barlow_loss(z1, z2)


@pytest.mark.parametrize("spoil", [{"common": 0}, {"common": 5}, {"weight": -1.0}])
def test_arguments_that_cannot_be_are_refused(spoil):
    with pytest.raises(ConfigError, match="common must lie in 1 to 4"):
        barlow_loss(*pairs(), **spoil)
