"""The sigmoid pair loss: against a plain loop, in closed form, in chunks, and what its gradient leaves alone."""

import math

import pytest
import torch

from eo_ssl.errors import ConfigError
from eo_ssl.losses import NonFiniteError, siglip_loss


def pairs(n=6, dtype=torch.float64):
    return torch.randn(2, n, 5, generator=torch.Generator().manual_seed(n), dtype=dtype)


def plain(z1, z2, temperature, bias, drop=None):
    total = 0.0
    for i, a in enumerate(z1.double()):
        for j, b in enumerate(z2.double()):
            if i == j or drop is None or not drop[i, j]:
                logit = float(a @ b / (a.norm() * b.norm())) / temperature + bias
                total += math.log1p(math.exp(-logit if i == j else logit))
    return total / len(z1)


def together(*groups):
    group = torch.tensor(groups)
    return group[:, None] == group


@pytest.mark.parametrize("chunk", [None, 1, 4])
@pytest.mark.parametrize(("temperature", "bias"), [(0.1, -10.0), (1.0, 0.0), (0.5, 2.0)])
@pytest.mark.parametrize("drop", [None, together(0, 1, 0, 2, 1, 3)], ids=["all", "masked"])
def test_equals_the_plain_loop(temperature, bias, chunk, drop):
    z1, z2 = pairs()
    expected = plain(z1, z2, temperature, bias, drop)
    assert siglip_loss(z1, z2, temperature, drop, bias, chunk).item() == pytest.approx(expected, rel=1e-9)
    assert siglip_loss(z2, z1, temperature, drop, bias, chunk).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("chunk", [None, 3])
def test_gradient_equals_finite_differences_also_of_temperature_and_bias(chunk):
    z1, z2 = (z.requires_grad_() for z in pairs(4))
    temperature, bias = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (0.4, -1.0))
    mask = together(0, 1, 0, 2)
    assert torch.autograd.gradcheck(
        lambda a, b, t, c: siglip_loss(a, b, t, mask, c, chunk), (z1, z2, temperature, bias)
    )


def test_identical_embeddings_are_n_equal_questions():
    z = torch.ones(7, 3)
    expected = math.log1p(math.exp(-1.0)) + 6 * math.log1p(math.exp(1.0))  # every logit is 2 − 1
    assert siglip_loss(z, z, 0.5, bias=-1.0).item() == pytest.approx(expected, rel=1e-6)


def test_a_pair_far_away_changes_nothing_for_another():
    """No softmax: the gradient of one question does not depend on the others."""
    z1, z2 = pairs(2)
    both, alone = (z1.clone().requires_grad_() for _ in range(2))
    siglip_loss(both, z2, 0.5, together(0, 0)).backward()  # the two negatives are left out
    (2 * siglip_loss(alone, torch.stack([z2[0], -z2[1]]), 0.5, together(0, 0))).backward()
    torch.testing.assert_close(2 * both.grad[0], alone.grad[0])


def test_half_inputs_are_computed_in_float32_and_nan_is_named():
    z1, z2 = pairs(dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = siglip_loss(z1, z2, 0.05)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, siglip_loss(z1.float(), z2.float(), 0.05))
    z1, z2 = pairs()
    z1[0, 0] = torch.nan
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        siglip_loss(z1, z2)


@pytest.mark.parametrize(
    "spoil", [{"temperature": 0.0}, {"chunk": 0}, {"false_negatives": torch.zeros(6, 6)}]
)
def test_arguments_that_cannot_be_are_refused(spoil):
    with pytest.raises(ConfigError):
        siglip_loss(*pairs(), **spoil)
