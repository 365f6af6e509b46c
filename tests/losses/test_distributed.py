"""Two processes give the loss and the gradients of one process on the whole batch."""

import sys

import forked
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from eo_ssl.errors import ConfigError
from eo_ssl.losses import (
    NonFiniteError,
    barlow_loss,
    clip_loss,
    gather,
    mean_over_ranks,
    mma_loss,
    nt_xent,
    siglip_loss,
)

WORLD, PAIRS = 2, 8
LOOPBACK = "lo" if sys.platform == "linux" else "lo0"
LOSSES = {
    "nt_xent": nt_xent,
    "clip": clip_loss,
    "siglip": siglip_loss,
    "mma": mma_loss,
    "mma-search": lambda a, b, *args, **kwargs: mma_loss(a, b[:, :, 1:4], *args, **kwargs),
    "barlow": lambda a, b, temperature, mask, chunk: barlow_loss(a, b, temperature, common=4),
}
SETTINGS = [(name, *one) for name in LOSSES for one in ((False, None), (True, 3))]
GROUPS = torch.tensor([0, 1, 0, 2, 3, 2, 1, 4])  # some overlaps cross the ranks


class Branches(nn.Module):
    """A convolution per sensor; a vector loss sees its mean, a map loss the maps."""

    def __init__(self, maps):
        super().__init__()
        torch.manual_seed(3)
        self.one, self.two, self.maps = nn.Conv2d(2, 6, 3), nn.Conv2d(5, 6, 3), maps

    def forward(self, s1, s2):
        out = self.one(s1), self.two(s2)
        return out if self.maps else tuple(x.mean((2, 3)) for x in out)


def step(name, masked, chunk, rows=slice(0, PAIRS), wrap=lambda model: model):
    """Loss and parameter gradients of one training step on some of the pairs."""
    generator = torch.Generator().manual_seed(5)
    s1, s2 = (torch.randn(PAIRS, c, 6, 6, generator=generator, dtype=torch.float64) for c in (2, 5))
    branches = Branches(name.startswith("mma")).double()
    mask = (GROUPS[:, None] == GROUPS)[rows] if masked else None
    model = wrap(branches)  # kept: it averages the gradients in the backward pass
    loss = LOSSES[name](*model(s1[rows], s2[rows]), 0.1, mask, chunk=chunk)
    loss.backward()
    return {"loss": loss.detach(), **{k: p.grad.clone() for k, p in branches.named_parameters()}}


def rank_of_two(rank, folder):
    """Writes what this rank got to FOLDER/RANK.pt."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'init'}", rank=rank, world_size=WORLD)
    rows = slice(rank * PAIRS // WORLD, (rank + 1) * PAIRS // WORLD)
    results = {str(setting): step(*setting, rows, DistributedDataParallel) for setting in SETTINGS}
    broken = torch.randn(4, 3)
    broken[0, 0] = float("nan") if rank == 1 else 0.0
    for name, z in (("unequal", torch.randn(4 + rank, 3)), ("nan", broken)):
        try:
            nt_xent(z, z, 0.1)
        except (ConfigError, NonFiniteError) as error:
            results[name] = str(error)
    torch.save(results, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    if sys.platform == "win32":
        pytest.skip("gloo does not find its own address on Windows")
    folder = tmp_path_factory.mktemp("gloo")
    processes = [forked.start(rank_of_two, r, folder, GLOO_SOCKET_IFNAME=LOOPBACK) for r in range(WORLD)]
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * WORLD
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: f"{s[0]}-{s[1]}-{s[2]}")
def test_loss_and_gradients_equal_one_process_on_the_whole_batch(ranks, setting):
    expected = step(*setting)
    assert expected["one.weight"].abs().max() > 1e-3
    for results in ranks:
        torch.testing.assert_close(results[str(setting)], expected, rtol=1e-5, atol=1e-10)


def test_all_ranks_stop_together_where_one_is_wrong_and_one_alone_needs_no_setup(ranks):
    for results in ranks:
        assert "unequal batches" in results["unequal"] and "NaN or infinite" in results["nan"]
    x = torch.randn(3, 2)
    assert gather(x) is x and mean_over_ranks(x.sum()).equal(x.sum())
