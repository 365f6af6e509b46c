"""One table of the three losses with inputs that fit them, so that every property is tested on all."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from eo_ssl.losses import clip_loss, mma_loss, nt_xent


@dataclass(frozen=True)
class Case:
    """A loss, and the shapes of one item of its two inputs."""

    name: str
    loss: Callable[..., Tensor]
    shape1: tuple[int, ...]
    shape2: tuple[int, ...]
    negatives: Callable[[int], int]

    def inputs(self, pairs: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return tuple(
            torch.randn(pairs, *shape, generator=generator, dtype=dtype)
            for shape in (self.shape1, self.shape2)
        )


CASES = {
    case.name: case
    for case in (
        Case("nt_xent", nt_xent, (16,), (16,), lambda n: 2 * n - 1),
        Case("clip", clip_loss, (16,), (16,), lambda n: n),
        Case("mma", mma_loss, (4, 3, 3), (4, 3, 3), lambda n: n),
        Case("mma-search", mma_loss, (4, 4, 5), (4, 2, 3), lambda n: n),
        Case("mma-search-back", mma_loss, (4, 2, 3), (4, 4, 3), lambda n: n),
    )
}


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param
