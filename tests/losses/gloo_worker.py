"""One rank of a gloo run: `gloo_worker.py RANK WORLD FOLDER`. Writes what it got to FOLDER/RANK.pt."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from eo_ssl.errors import ConfigError
from eo_ssl.losses import NonFiniteError, clip_loss, mma_loss, nt_xent

PAIRS = 8
LOSSES: dict[str, Callable[..., Tensor]] = {
    "nt_xent": nt_xent,
    "clip": clip_loss,
    "mma": mma_loss,
    "mma-search": lambda a, b, *args, **kwargs: mma_loss(a, b[:, :, 1:4], *args, **kwargs),
}
GROUPS = torch.tensor([0, 1, 0, 2, 3, 2, 1, 4])  # some overlaps cross the ranks


class Branches(nn.Module):
    """A convolution per sensor; a vector loss sees its mean, a map loss the maps."""

    def __init__(self, maps: bool) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.one = nn.Conv2d(2, 6, 3)
        self.two = nn.Conv2d(5, 6, 3)
        self.maps = maps

    def forward(self, s1: Tensor, s2: Tensor) -> tuple[Tensor, Tensor]:
        out = self.one(s1), self.two(s2)
        return out if self.maps else tuple(x.mean((2, 3)) for x in out)


def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return tuple(torch.randn(PAIRS, c, 6, 6, generator=generator, dtype=torch.float64) for c in (2, 5))


def step(name: str, model: nn.Module, rows: slice, masked: bool, chunk: int | None) -> dict[str, Tensor]:
    """Loss and parameter gradients of one training step on some of the pairs."""
    s1, s2 = images()
    z1, z2 = model(s1[rows], s2[rows])
    mask = (GROUPS[:, None] == GROUPS)[rows] if masked else None
    loss = LOSSES[name](z1, z2, 0.1, mask, chunk=chunk)
    loss.backward()
    module = getattr(model, "module", model)
    return {"loss": loss.detach(), **{k: p.grad.clone() for k, p in module.named_parameters()}}


def settings() -> list[tuple[str, bool, int | None]]:
    masks_and_chunks = [(False, None), (True, 3), (True, None)]
    return [(name, masked, chunk) for name in LOSSES for masked, chunk in masks_and_chunks]


def errors(rank: int) -> dict[str, str]:
    """What both ranks say when one of them holds a NaN, or fewer pairs."""
    z = torch.randn(4 + rank, 3)
    found = {}
    try:
        nt_xent(z, z, 0.1)
    except ConfigError as error:
        found["unequal"] = str(error)
    z = torch.randn(4, 3)
    z[0, 0] = float("nan") if rank == 1 else 0.0
    try:
        nt_xent(z, z, 0.1)
    except NonFiniteError as error:
        found["nan"] = str(error)
    return found


def main(rank: int, world: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'init'}", rank=rank, world_size=world)
    share = PAIRS // world
    rows = slice(rank * share, (rank + 1) * share)
    results = {}
    for name, masked, chunk in settings():
        model = DistributedDataParallel(Branches(name.startswith("mma")).double())
        results[f"{name}/{masked}/{chunk}"] = step(name, model, rows, masked, chunk)
    results["errors"] = errors(rank)
    torch.save(results, folder / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
