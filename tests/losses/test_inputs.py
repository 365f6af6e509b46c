"""Input that cannot be right is refused in one clear line."""

import pytest
import torch

from eo_ssl.errors import ConfigError
from eo_ssl.losses import NonFiniteError, map_similarity, mma_loss, nt_xent


def test_one_pair_has_no_negative(case):
    with pytest.raises(ConfigError, match="at least 2 pairs"):
        case.loss(*case.inputs(1), 0.1)


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), float("inf")])
def test_temperature_must_be_above_zero(case, temperature):
    with pytest.raises(ConfigError, match="temperature must be"):
        case.loss(*case.inputs(4), temperature)


def test_inputs_must_pair_up(case):
    x1, x2 = case.inputs(4)
    with pytest.raises(ConfigError, match="pair up"):
        case.loss(x1, x2[:3], 0.1)
    with pytest.raises(ConfigError, match="pair up"):
        case.loss(x1, x2[:, :2], 0.1)


def test_inputs_must_be_floating_and_of_the_right_rank(case):
    x1, x2 = case.inputs(4)
    with pytest.raises(ConfigError, match="must be floating"):
        case.loss(x1.long(), x2.long(), 0.1)
    with pytest.raises(ConfigError, match="must be floating"):
        case.loss(x1[..., None], x2[..., None], 0.1)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("chunk", [2, 100])
def test_nan_is_named_without_a_warning_from_torch(case, bad, chunk):
    x1, x2 = case.inputs(4)
    x2.view(-1)[5] = bad
    x1.requires_grad_()
    with pytest.raises(NonFiniteError, match="NaN or infinite") as error:
        case.loss(x1, x2, 0.1, chunk=chunk)
    assert isinstance(error.value, ValueError)


def test_a_mask_of_the_wrong_shape_or_type_is_refused(case):
    x1, x2 = case.inputs(4)
    for mask in (torch.zeros(4, 3, dtype=torch.bool), torch.zeros(3, dtype=torch.long), torch.zeros(4, 4)):
        with pytest.raises(ConfigError, match="false_negatives must be"):
            case.loss(x1, x2, 0.1, mask)


def test_chunk_must_be_positive():
    with pytest.raises(ConfigError, match="chunk"):
        nt_xent(torch.randn(4, 8), torch.randn(4, 8), 0.1, chunk=0)


def test_a_map_must_fit_into_the_other():
    wide, tall = torch.randn(3, 4, 2, 5), torch.randn(3, 4, 5, 2)
    with pytest.raises(ConfigError, match="fit into"):
        mma_loss(wide, tall, 0.1)
    with pytest.raises(ConfigError, match="fit into"):
        map_similarity(wide, tall)
