"""What holds for every contrastive loss: against plain loops, closed forms, chunks, precision, gradients."""

import importlib.util
import math
from pathlib import Path

import pytest
import torch

from eo_ssl.errors import ConfigError
from eo_ssl.losses import NonFiniteError, clip_loss, map_similarity, mma_loss, nt_xent

_spec = importlib.util.spec_from_file_location("reference", Path(__file__).with_name("reference.py"))
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)
PLAIN = {
    "nt_xent": reference.nt_xent,
    "clip": reference.clip_loss,
    "mma": reference.mma_loss,
    "mma-search": reference.mma_loss,
    "mma-search-back": reference.mma_loss,
}


def together(*groups):
    """The mask of patches of one group, themselves included."""
    group = torch.tensor(groups)
    return group[:, None] == group[None, :]


def value_and_gradient(case, x1, x2, *args, **kwargs):
    x1, x2 = x1.clone().requires_grad_(), x2.clone().requires_grad_()
    loss = case.loss(x1, x2, *args, **kwargs)
    loss.backward()
    return loss.detach(), x1.grad, x2.grad


@pytest.mark.parametrize("temperature", [0.005, 0.1, 1.0, 100.0])
@pytest.mark.parametrize("pairs", [2, 5])
def test_equals_the_plain_loop(case, pairs, temperature):
    x1, x2 = case.inputs(pairs)
    expected = PLAIN[case.name](x1, x2, temperature)
    assert case.loss(x1, x2, temperature).item() == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("chunk", [None, 2])
def test_equals_the_plain_loop_with_false_negatives(case, chunk):
    x1, x2 = case.inputs(6)
    drop = together(3, 1, 3, 2, 1, 3)
    expected = PLAIN[case.name](x1, x2, 0.1, drop)
    assert expected != pytest.approx(PLAIN[case.name](x1, x2, 0.1), rel=1e-3)
    before = drop.clone()
    for mask in (drop, drop & ~torch.eye(6, dtype=torch.bool)):  # a patch and itself are never left out
        value = case.loss(x1, x2, 0.1, mask, chunk=chunk).item()
        assert value == pytest.approx(expected, rel=1e-4)
    assert drop.equal(before)


def test_a_false_negative_gets_no_gradient(case):
    x1, x2 = case.inputs(2)
    loss, grad1, grad2 = value_and_gradient(case, x1, x2, 0.1, together(0, 0))
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert grad1.abs().max() < 1e-6 and grad2.abs().max() < 1e-6


@pytest.mark.parametrize("pairs", [2, 7])
@pytest.mark.parametrize("temperature", [0.005, 0.5, 100.0])
def test_identical_embeddings_give_the_log_of_the_number_of_candidates(case, pairs, temperature):
    x1, x2 = (torch.ones(pairs, *shape) for shape in (case.shape1, case.shape2))
    expected = math.log(case.negatives(pairs))
    assert case.loss(x1, x2, temperature).item() == pytest.approx(expected, rel=1e-5)


def test_perfect_pairs_at_low_temperature_have_no_loss():
    z = torch.eye(8)
    for loss in (nt_xent, clip_loss):
        assert loss(z, z, 0.01).item() == pytest.approx(0.0, abs=1e-6)


def test_swapping_the_sensors_changes_nothing(case):
    x1, x2 = case.inputs(6)
    assert torch.allclose(case.loss(x1, x2, 0.1), case.loss(x2, x1, 0.1), rtol=1e-5)


def test_the_order_of_the_pairs_changes_nothing(case):
    x1, x2 = case.inputs(9)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(case.loss(x1, x2, 0.1), case.loss(x1[order], x2[order], 0.1), rtol=1e-5)


def test_the_scale_of_the_embeddings_changes_nothing(case):
    x1, x2 = case.inputs(6)
    assert torch.allclose(case.loss(x1, x2, 0.1), case.loss(1e3 * x1, 1e-3 * x2, 0.1), rtol=1e-4)


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("masked", [False, True])
def test_chunks_change_neither_value_nor_gradient(case, chunk, masked):
    x1, x2 = case.inputs(10, dtype=torch.float64)
    mask = together(*range(4), *range(3), *range(3)) if masked else None
    whole = value_and_gradient(case, x1, x2, 0.1, mask, chunk=1000)
    parts = value_and_gradient(case, x1, x2, 0.1, mask, chunk=chunk)
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("chunk", [2, 100])
def test_gradient_equals_finite_differences(case, chunk):
    x1, x2 = (x.requires_grad_() for x in case.inputs(4, dtype=torch.float64))
    temperature = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    mask = together(0, 1, 0, 2)
    assert torch.autograd.gradcheck(
        lambda a, b, t: case.loss(a, b, t, mask, chunk=chunk), (x1, x2, temperature)
    )


def test_only_one_side_may_want_a_gradient(case):
    x1, x2 = case.inputs(5)
    both = value_and_gradient(case, x1, x2, 0.1, chunk=2)
    x1.requires_grad_()
    case.loss(x1, x2, 0.1, chunk=2).backward()
    torch.testing.assert_close(x1.grad, both[1])
    with torch.no_grad():
        assert not case.loss(x1, x2, 0.1, chunk=2).requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("chunk", [3, 100])
def test_autocast_and_half_inputs_are_computed_in_float32(case, dtype, chunk):
    x1, x2 = (x.to(dtype) for x in case.inputs(8))
    expected = value_and_gradient(case, x1.float(), x2.float(), 0.005, chunk=chunk)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, grad1, grad2 = value_and_gradient(case, x1, x2, 0.005, chunk=chunk)
    assert loss.dtype == torch.float32 and grad1.dtype == dtype
    torch.testing.assert_close(loss, expected[0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(grad1, expected[1].to(dtype))
    torch.testing.assert_close(grad2, expected[2].to(dtype))


@pytest.mark.parametrize("temperature", [0.005, 100.0])
def test_extreme_temperatures_stay_finite(case, temperature):
    x1, x2 = case.inputs(64)
    loss, *grads = value_and_gradient(case, x1, x2, temperature, chunk=5)
    assert torch.isfinite(loss) and all(torch.isfinite(g).all() for g in grads)


def test_a_zero_embedding_is_no_nan(case):
    x1, x2 = case.inputs(4)
    x1[0] = 0
    assert torch.isfinite(case.loss(x1, x2, 0.1))


# Input that cannot be right is refused in one clear line.


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
    for mask in (torch.zeros(4, 3, dtype=torch.bool), torch.zeros(4, dtype=torch.long), torch.zeros(4, 4)):
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
