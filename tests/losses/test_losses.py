"""What holds for every contrastive loss: against plain loops, closed forms, chunks, precision, gradients."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest
import torch
from lightly.loss import NTXentLoss
from torch import Tensor

from eo_ssl.errors import ConfigError
from eo_ssl.losses import NonFiniteError, clip_loss, map_similarity, mma_loss, nt_xent, siglip_loss
from eo_ssl.losses.common import sum_over_chunks

# The losses written as plain loops over pairs: slow, short, and hard to get wrong.


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


def cross_entropy(positive: float, others: list[float]) -> float:
    """−log of the softmax of the first of these logits, by log-sum-exp."""
    logits = [positive, *others]
    top = max(logits)
    return top + math.log(sum(math.exp(x - top) for x in logits)) - positive


def plain_nt_xent(z1: Tensor, z2: Tensor, temperature: float, drop: Tensor | None = None) -> float:
    z, n = torch.cat([z1, z2]).double(), len(z1)
    total = 0.0
    for i in range(2 * n):
        partner = (i + n) % (2 * n)
        others = [
            cosine(z[i], z[k]) / temperature
            for k in range(2 * n)
            if k not in (i, partner) and not (drop is not None and bool(drop[i % n, k % n]))
        ]
        total += cross_entropy(cosine(z[i], z[partner]) / temperature, others)
    return total / (2 * n)


def symmetric(similarity: list[list[float]], temperature: float, drop: Tensor | None = None) -> float:
    """Mean cross-entropy over the rows and columns of a similarity matrix."""
    n, total = len(similarity), 0.0
    for i in range(n):
        keep = [j for j in range(n) if j != i and not (drop is not None and bool(drop[i, j]))]
        positive = similarity[i][i] / temperature
        total += cross_entropy(positive, [similarity[i][j] / temperature for j in keep])
        total += cross_entropy(positive, [similarity[j][i] / temperature for j in keep])
    return total / (2 * n)


def plain_clip(z1: Tensor, z2: Tensor, temperature: float, drop: Tensor | None = None) -> float:
    return symmetric([[cosine(a, b) for b in z2.double()] for a in z1.double()], temperature, drop)


def best_offset(a: Tensor, b: Tensor) -> float:
    """Best mean cosine of two maps (E, H, W), (E, h, w) over all offsets of the smaller in the larger."""
    if a.shape[1] < b.shape[1] or a.shape[2] < b.shape[2]:
        a, b = b, a
    h, w = b.shape[1:]
    best = -math.inf
    for y in range(a.shape[1] - h + 1):
        for x in range(a.shape[2] - w + 1):
            places = [cosine(a[:, y + i, x + j], b[:, i, j]) for i in range(h) for j in range(w)]
            best = max(best, sum(places) / len(places))
    return best


def plain_mma(maps1: Tensor, maps2: Tensor, temperature: float, drop: Tensor | None = None) -> float:
    return symmetric([[best_offset(a, b) for b in maps2.double()] for a in maps1.double()], temperature, drop)


def plain_siglip(
    z1: Tensor, z2: Tensor, temperature: float, drop: Tensor | None = None, *, bias: float
) -> float:
    total = 0.0
    for i, a in enumerate(z1.double()):
        for j, b in enumerate(z2.double()):
            if i == j or drop is None or not drop[i, j]:
                logit = cosine(a, b) / temperature + bias
                total += cross_entropy(logit if i == j else 0.0, [0.0 if i == j else logit])
    return total / len(z1)


class Case(NamedTuple):
    """A loss, its plain loop, and the shapes of one item of its two inputs."""

    loss: Callable[..., Tensor]
    plain: Callable[..., float]
    shape1: tuple[int, ...]
    shape2: tuple[int, ...]

    def inputs(self, pairs: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
        generator, shapes = torch.Generator().manual_seed(0), (self.shape1, self.shape2)
        return [torch.randn(pairs, *shape, generator=generator, dtype=dtype) for shape in shapes]


CASES = {
    "nt_xent": Case(nt_xent, plain_nt_xent, (16,), (16,)),
    "clip": Case(clip_loss, plain_clip, (16,), (16,)),
    "mma": Case(mma_loss, plain_mma, (4, 3, 3), (4, 3, 3)),
    "mma-search": Case(mma_loss, plain_mma, (4, 4, 5), (4, 2, 3)),
    "mma-search-back": Case(mma_loss, plain_mma, (4, 2, 3), (4, 4, 3)),
    "siglip": Case(partial(siglip_loss, bias=-1.0), partial(plain_siglip, bias=-1.0), (16,), (16,)),
}


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(params=[name for name in CASES if name != "siglip"])
def softmax(request: pytest.FixtureRequest) -> Case:
    """A loss in which a pair competes with others."""
    return CASES[request.param]


def together(*groups):
    """The mask of patches of one group, themselves included."""
    group = torch.tensor(groups)
    return group[:, None] == group[None, :]


def value_and_gradient(case, x1, x2, *args, **kwargs):
    x1, x2 = x1.clone().requires_grad_(), x2.clone().requires_grad_()
    loss = case.loss(x1, x2, *args, **kwargs)
    loss.backward()
    return loss.detach(), x1.grad, x2.grad


@pytest.mark.parametrize("temperature", [0.005, 1.0, 100.0])
@pytest.mark.parametrize("pairs", [2, 5])
def test_equals_the_plain_loop(case, pairs, temperature):
    x1, x2 = case.inputs(pairs)
    expected = case.plain(x1, x2, temperature)
    assert case.loss(x1, x2, temperature).item() == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("chunk", [None, 2])
def test_equals_the_plain_loop_with_false_negatives(case, chunk):
    x1, x2 = case.inputs(6)
    drop = together(3, 1, 3, 2, 1, 3)
    expected = case.plain(x1, x2, 0.1, drop)
    assert expected != pytest.approx(case.plain(x1, x2, 0.1), rel=1e-3)
    before = drop.clone()
    for mask in (drop, drop & ~torch.eye(6, dtype=torch.bool)):  # a patch and itself are never left out
        value = case.loss(x1, x2, 0.1, mask, chunk=chunk).item()
        assert value == pytest.approx(expected, rel=1e-4)
    assert drop.equal(before)


def test_a_false_negative_gets_no_gradient(softmax):
    x1, x2 = softmax.inputs(2)
    loss, grad1, grad2 = value_and_gradient(softmax, x1, x2, 0.1, together(0, 0))
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert grad1.abs().max() < 1e-6 and grad2.abs().max() < 1e-6


@pytest.mark.parametrize("pairs", [2, 7])
@pytest.mark.parametrize("temperature", [0.005, 100.0])
def test_identical_embeddings_give_the_log_of_the_number_of_candidates(softmax, pairs, temperature):
    x1, x2 = (torch.ones(pairs, *shape) for shape in (softmax.shape1, softmax.shape2))
    expected = math.log(2 * pairs - 1 if softmax.loss is nt_xent else pairs)
    assert softmax.loss(x1, x2, temperature).item() == pytest.approx(expected, rel=1e-5)


def test_neither_order_of_sensors_and_pairs_nor_scale_change_the_loss(case):
    x1, x2 = case.inputs(9)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    for same in ((x2, x1), (x1[order], x2[order]), (1e3 * x1, 1e-3 * x2)):
        torch.testing.assert_close(case.loss(*same, 0.1), case.loss(x1, x2, 0.1), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("chunk", [1, 3, 100])
@pytest.mark.parametrize("masked", [False, True])
def test_chunks_change_neither_value_nor_gradient(case, chunk, masked):
    x1, x2 = case.inputs(10, dtype=torch.float64)
    mask = together(*range(4), *range(3), *range(3)) if masked else None
    whole = value_and_gradient(case, x1, x2, 0.1, mask, chunk=1000)
    parts = value_and_gradient(case, x1, x2, 0.1, mask, chunk=chunk)
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_gradient_equals_finite_differences(case):
    x1, x2 = (x.requires_grad_() for x in case.inputs(3, dtype=torch.float64))
    temperature = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    mask = together(0, 1, 0)
    assert torch.autograd.gradcheck(lambda a, b, t: case.loss(a, b, t, mask, chunk=2), (x1, x2, temperature))


def test_the_bias_of_the_sigmoid_loss_learns():
    z1, z2 = CASES["siglip"].inputs(6, dtype=torch.float64)
    bias = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    assert siglip_loss(z1, z2, 0.5, bias=bias).item() == pytest.approx(plain_siglip(z1, z2, 0.5, bias=2.0))
    assert torch.autograd.gradcheck(lambda b: siglip_loss(z1, z2, 0.5, bias=b, chunk=4), (bias,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_and_half_inputs_are_computed_in_float32(case, dtype):
    x1, x2 = (x.to(dtype) for x in case.inputs(8))
    expected = value_and_gradient(case, x1.float(), x2.float(), 0.005, chunk=3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, grad1, grad2 = value_and_gradient(case, x1, x2, 0.005, chunk=3)
    assert loss.dtype == torch.float32 and grad1.dtype == dtype
    torch.testing.assert_close(loss, expected[0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(grad1, expected[1].to(dtype))
    torch.testing.assert_close(grad2, expected[2].to(dtype))


def test_a_zero_embedding_is_no_nan(case):
    x1, x2 = case.inputs(4)
    x1[0] = 0
    assert torch.isfinite(case.loss(x1, x2, 0.1))


@pytest.mark.parametrize("pairs", [2, 33])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_equals_lightly_in_value_and_gradient(pairs, temperature):
    z = torch.randn(2, pairs, 24, generator=torch.Generator().manual_seed(0))
    ours, theirs = z.clone().requires_grad_(), z.clone().requires_grad_()
    a, b = nt_xent(*ours, temperature, chunk=5), NTXentLoss(temperature)(*theirs)
    a.backward()
    b.backward()
    torch.testing.assert_close(a, b)
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_no_block_of_logits_is_larger_than_the_chunk():
    shapes = []

    def block_loss(rows, anchors, keys):
        shapes.append((len(anchors), len(keys)))
        return (anchors @ keys.T).sum()

    sum_over_chunks(block_loss, torch.randn(10, 3), torch.randn(7, 3), 4)
    assert shapes == [(4, 7), (4, 7), (2, 7)]


def test_a_part_is_found_wherever_it_was_cut_and_a_shift_only_where_it_is_searched_for():
    maps = torch.randn(4, 8, 9, 9, generator=torch.Generator().manual_seed(0))
    for y, x in ((0, 0), (3, 1), (4, 4)):
        part = maps[:, :, y : y + 5, x : x + 5]
        torch.testing.assert_close(map_similarity(maps, part).diagonal(), torch.ones(4))
        assert map_similarity(maps, part).argmax(1).tolist() == [0, 1, 2, 3]
    maps = torch.randn(4, 8, 6, 6, generator=torch.Generator().manual_seed(0))
    assert map_similarity(maps, maps.roll(1, dims=3)).diagonal().max() < 0.5


# Input that cannot be right is refused in one clear line.


WRONG = {
    "at least 2 pairs": lambda x1, x2: (x1[:1], x2[:1]),
    "must pair up": lambda x1, x2: (x1, x2[:3]),
    "must be floating": lambda x1, x2: (x1.long(), x2.long()),
    "temperature must be": lambda x1, x2: (x1, x2, 0.0),
    "temperature .* got nan": lambda x1, x2: (x1, x2, math.nan),
    "false_negatives must be .* bool": lambda x1, x2: (x1, x2, 0.1, torch.zeros(4, 4)),
}


@pytest.mark.parametrize(("words", "spoil"), WRONG.items(), ids=WRONG)
def test_inputs_that_do_not_fit_are_refused(case, words, spoil):
    with pytest.raises(ConfigError, match=words):
        case.loss(*spoil(*case.inputs(4)))
    with pytest.raises(ConfigError, match="chunk must be"):
        case.loss(*case.inputs(4), chunk=0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_is_named_without_a_warning_from_torch(case, bad):
    x1, x2 = case.inputs(4)
    x2.view(-1)[5] = bad
    with pytest.raises(NonFiniteError, match="NaN or infinite"):
        case.loss(x1.requires_grad_(), x2, 0.1, chunk=2)


@pytest.mark.parametrize("compare", [mma_loss, map_similarity])
def test_a_map_must_fit_into_the_other(compare):
    with pytest.raises(ConfigError, match="fit into"):
        compare(torch.randn(3, 4, 2, 5), torch.randn(3, 4, 5, 2))
