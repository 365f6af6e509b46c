"""Checks of chapter 05: the mask of false negatives, uniformity."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eo_ssl.course.checks import exercise, expect, expect_close, expect_shape
from eo_ssl.evaluate import retrieval as monitors

# Six patches: 0 and 1 side by side, 2 diagonal to 0, 3 two steps away, 4 at the same grid place of another scene.
SCENE = torch.tensor([7, 7, 7, 7, 8, 7])
ROW = torch.tensor([3, 3, 4, 3, 3, 9])
COL = torch.tensor([5, 6, 6, 7, 5, 5])
PAIRS = {(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)}


def _mask(*pairs: tuple[int, int]) -> Tensor:
    mask = torch.zeros(6, 6, dtype=torch.bool)
    for i, j in pairs:
        mask[i, j] = mask[j, i] = True
    return mask


@exercise("false negatives", praise="The mask removes the hardest negatives that were none.")
def check_false_negatives(false_negatives: Callable) -> None:
    got = false_negatives(SCENE.clone(), ROW.clone(), COL.clone())
    expect(isinstance(got, Tensor), f"Return a torch tensor, not a {type(got).__name__}.")
    expect_shape(got, (6, 6), "The mask of 6 patches")
    expect(got.dtype == torch.bool, f"The mask should be boolean, but it is {got.dtype}.")
    expect(
        not bool(got.diagonal().any()),
        "A patch and itself are the positive pair: the diagonal must be False. If it were masked, the partner would be gone.",
    )
    wanted = _mask(*PAIRS)
    expect(
        bool((got == got.T).all()),
        "If patch i shares ground with j, then j with i: the mask must be symmetric.",
    )
    expect(
        not bool(got[0, 4]),
        "Patches 0 and 4 have the same row and column, but in different scenes: not the same ground.",
    )
    expect(
        bool(got[0, 1]), "Patches 0 and 1 are one step apart in one scene: they share half of their ground."
    )
    expect(bool(got[0, 2]), "Patches 0 and 2 are diagonal neighbours: they share a quarter of their ground.")
    expect(not bool(got[0, 3]), "Patches 0 and 3 are two steps apart, a whole patch: they only touch.")
    expect(
        not bool(got[0, 5]),
        "Patches 0 and 5 have the same column but are six rows apart: *both* differences must be below 2.",
    )
    expect(bool((got == wanted).all()), f"Some pairs are wrong: {_differences(got, wanted)}.")


def _differences(got: Tensor, wanted: Tensor) -> str:
    pairs = [(i, j) for i, j in (got != wanted).nonzero().tolist() if i < j]
    return ", ".join(f"({i}, {j}) should be {bool(wanted[i, j])}" for i, j in pairs[:4])


@exercise("uniformity", praise="A collapsed network scores 0, however well its partners agree.")
def check_uniformity(uniformity: Callable) -> None:
    generator = torch.Generator().manual_seed(5)
    z = 3 * torch.randn(7, 4, generator=generator) + 1
    unit = F.normalize(z, dim=1)
    squared = 2 - 2 * unit @ unit.T
    off = ~torch.eye(7, dtype=torch.bool)
    raw, raw_unit = torch.cdist(z, z).square(), torch.cdist(unit, unit)
    mistakes = {
        "the embeddings must have length 1 first": (-2 * raw[off]).exp().mean().log(),
        "each patch is compared with itself, too: leave the diagonal out": (-2 * squared).exp().mean().log(),
        "the factor 2 in the exponent is missing": (-squared[off]).exp().mean().log(),
        "the exponent holds the squared distance, not the distance": (-2 * raw_unit[off]).exp().mean().log(),
        "the logarithm of the mean, not the mean of the logarithms": (-2 * squared[off]).mean(),
        "the logarithm is missing": (-2 * squared[off]).exp().mean(),
        "the sum over the pairs was taken; take the mean": (-2 * squared[off]).exp().sum().log(),
        "the sign of the exponent is turned around": (2 * squared[off]).exp().mean().log(),
    }  # fmt: skip
    got = uniformity(z.clone())
    expect(np.ndim(got.detach() if isinstance(got, Tensor) else got) == 0, "Return one number.")
    expect_close(got, monitors.uniformity(unit), "the uniformity of 7 embeddings", mistakes=mistakes)
    expect_close(uniformity(torch.ones(5, 3)), 0.0, "the uniformity of identical embeddings", atol=1e-4)
    expect_close(
        uniformity(torch.tensor([[1.0, 0.0], [-2.0, 0.0]])), -8.0, "the uniformity of two opposite embeddings"
    )
