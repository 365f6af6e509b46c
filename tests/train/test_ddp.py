"""Two processes make the training step of one process on the whole batch."""

import socket
import sys
from pathlib import Path
from typing import Any

import ddp_worker
import forked
import pytest
import torch
from safetensors.torch import load_file
from toy_pairs import ToySource

from eo_ssl.train.devices import make_fabric
from eo_ssl.train.pretrain import pretrain

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="torch for Windows has no libuv to meet by")
Ranks = list[dict[str, Any]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def both(folder: Path, device: str) -> Ranks:
    """Results of both ranks, which find in their environment what torchrun sets."""
    common = {
        "GROUP_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()), "TORCHELASTIC_RUN_ID": "test",
        "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0",
    }  # fmt: skip
    ranks = [
        forked.start(ddp_worker.main, folder, device, RANK=rank, LOCAL_RANK=rank, **common) for rank in "01"
    ]
    for rank in ranks:
        rank.join(300)
    assert [rank.exitcode for rank in ranks] == [0, 0]
    return [torch.load(folder / f"{rank}.pt", "cpu", weights_only=True) for rank in range(2)]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ranks]:
    """Folder and results of both ranks."""
    folder = tmp_path_factory.mktemp("ddp")
    return folder, both(folder, "cpu")


def assert_one_step(ranks: Ranks, name: str, device: str, close: float) -> None:
    """Both ranks did what one process does with the whole batch."""
    expected = ddp_worker.step(
        make_fabric("32", accelerator=device), (ddp_worker.STEPS | ddp_worker.SYNC)[name]
    )
    for rank in ranks:
        found = rank[name]
        assert found.keys() == expected.keys()
        assert all(torch.equal(value, ranks[0][name][key]) for key, value in found.items())  # on both ranks
        assert float(found["loss"]) == pytest.approx(float(expected["loss"]), rel=close)
        for key, value in expected.items():
            if key.startswith("gradient") or key == "norm":
                # Relative to the largest entry: sums in another order differ in the last bits of each.
                atol = close * float(value.abs().max())
                torch.testing.assert_close(found[key], value.cpu(), rtol=close, atol=atol + 1e-8, msg=key)


@pytest.mark.parametrize("name", ddp_worker.STEPS)
def test_loss_gradients_and_update_equal_those_of_one_process(name, two):
    assert_one_step(two[1], name, "cpu", 1e-5)


@pytest.mark.gpu(2)
def test_two_gpus_make_the_step_of_one_also_with_the_statistics_of_batch_norm(tmp_path):
    ranks = both(tmp_path, "cuda")
    for name in ddp_worker.STEPS | ddp_worker.SYNC:
        assert_one_step(ranks, name, "cuda", 1e-3)


def test_a_run_on_two_processes_gives_the_model_and_metrics_of_one(two, tmp_path):
    folder, ranks = two
    single = pretrain(ddp_worker.RUN, ToySource(), tmp_path, accelerator="cpu", progress=False)
    metrics = {k: v for k, v in single.metrics.items() if k not in ("seconds", "pairs_per_s", "waiting")}
    for rank in ranks:
        found = {k: rank["metrics"][k] for k in metrics}
        assert found == pytest.approx(metrics, rel=1e-2, abs=1e-2)
    expected = load_file(single.folder / "model.safetensors")
    for name, value in load_file(next(folder.rglob("model.safetensors"))).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=2e-4, msg=name)


def test_ranks_that_lose_a_patch_each_go_on_together(two):
    """The losses need equally many pairs of every rank: in an update, and in the look at held-out pairs."""
    first, second = (rank["holes"] for rank in two[1])
    assert {k: first[k] for k in first if k.startswith("val")} == {
        k: second[k] for k in first if k.startswith("val")
    }
    assert first["epoch"] in (1, 2) and 0 < first["val_loss"] < 10
