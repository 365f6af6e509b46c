"""What holds for every contrastive loss: against plain loops, closed forms, chunks, precision, gradients."""

import importlib.util
import math
from pathlib import Path

import pytest
import torch

from eo_ssl.losses import CLIPLoss, MMALoss, NTXent, same_group

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
    group = torch.tensor([3, 1, 3, 2, 1, 3])
    drop = same_group(group)
    expected = PLAIN[case.name](x1, x2, 0.1, drop)
    assert expected != pytest.approx(PLAIN[case.name](x1, x2, 0.1), rel=1e-3)
    for mask in (drop, group, drop | torch.eye(6, dtype=torch.bool)):
        value = case.loss(x1, x2, 0.1, mask, chunk=chunk).item()
        assert value == pytest.approx(expected, rel=1e-4)


def test_a_false_negative_gets_no_gradient(case):
    x1, x2 = case.inputs(2)
    everyone = torch.zeros(2, dtype=torch.long)
    loss, grad1, grad2 = value_and_gradient(case, x1, x2, 0.1, everyone)
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
    for loss in (NTXent(0.01), CLIPLoss(0.01)):
        assert loss(z, z).item() == pytest.approx(0.0, abs=1e-6)


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
    group = torch.arange(10) // 3 if masked else None
    whole = value_and_gradient(case, x1, x2, 0.1, group, chunk=1000)
    parts = value_and_gradient(case, x1, x2, 0.1, group, chunk=chunk)
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("chunk", [2, 100])
def test_gradient_equals_finite_differences(case, chunk):
    x1, x2 = (x.requires_grad_() for x in case.inputs(4, dtype=torch.float64))
    temperature = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    group = torch.tensor([0, 1, 0, 2])
    assert torch.autograd.gradcheck(
        lambda a, b, t: case.loss(a, b, t, group, chunk=chunk), (x1, x2, temperature)
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


def test_the_module_is_the_function(case):
    module = {"nt_xent": NTXent, "clip": CLIPLoss}.get(case.name, MMALoss)
    x1, x2 = case.inputs(6)
    group = torch.arange(6) // 2
    assert module(0.2, chunk=4)(x1, x2, group).equal(case.loss(x1, x2, 0.2, group, chunk=4))
