"""Two processes make the training step of one process on the whole batch."""

import socket
import sys
from pathlib import Path
from typing import Any

import forked
import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file
from toy_pairs import ToySource

from eo_ssl.train.config import DualSimCLRConfig, MMAConfig, PretrainConfig, SimCLRConfig, SwinPairConfig
from eo_ssl.train.devices import make_fabric, prepare
from eo_ssl.train.loop import Overlaps, make_optimizer
from eo_ssl.train.methods import make_method
from eo_ssl.train.pretrain import pretrain, pretraining_rows
from eo_ssl.train.step import backward_pass, freeze_statistics, seeded

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="torch for Windows has no libuv to meet by")
Ranks = list[dict[str, Any]]
COMMON: dict[str, Any] = {
    "image_size": 16, "batch_size": 16, "epochs": 2, "warmup_epochs": 1.0, "precision": "32",
}  # fmt: skip
FROZEN = COMMON | {"batch_norm": "frozen"}
STEPS: dict[str, PretrainConfig] = {
    "dual-simclr": DualSimCLRConfig(backbone="resnet_nano", **FROZEN),
    "dual-simclr, cached": DualSimCLRConfig(backbone="resnet_nano", micro_batch=3, **FROZEN),
    "simclr": SimCLRConfig(backbone="resnet_nano", **FROZEN),
    "mma, cached": MMAConfig(
        backbone="vgg_mma_mini", second_crop=8, temperature=0.1, micro_batch=4, **FROZEN
    ),
    "swin-pair": SwinPairConfig(backbone="swin_nano", **COMMON),
}
# On two GPUs alone: BatchNorm takes its statistics from both.
SYNC: dict[str, PretrainConfig] = {"dual-simclr, sync": DualSimCLRConfig(backbone="resnet_nano", **COMMON)}
RUN = SwinPairConfig(backbone="swin_nano", lr=1e-3, **COMMON)


def step(fabric: Fabric, config: PretrainConfig) -> dict[str, torch.Tensor]:
    """Loss, gradients and new weights of one training step on this rank's share of the first batch."""
    source = ToySource()
    data = pretraining_rows(source, config)
    with seeded(config.seed):
        method = make_method(config, data.statistics)
    model = prepare(config, method.model, fabric)
    model, optimizer = fabric.setup(model, make_optimizer(config, method.model))
    model.train()
    if config.batch_norm == "frozen":
        freeze_statistics(model)
    torch.backends.cudnn.allow_tf32 = False
    whole = next(iter(data.loader()))
    views = {k: v.to(fabric.device) for k, v in method.views(whole, torch.Generator().manual_seed(0)).items()}
    share = config.batch_size // fabric.world_size
    rows = slice(fabric.global_rank * share, (fabric.global_rank + 1) * share)
    index = whole["index"].to(fabric.device)
    mask = Overlaps(source.catalog)(index[rows], index)
    mine = {k: v[rows] for k, v in views.items()}
    loss = backward_pass(fabric, model, method.loss, mine, mask, config.micro_batch)
    gradients = {f"gradient of {k}": p.grad.clone() for k, p in method.model.named_parameters()}
    norm = fabric.clip_gradients(model, optimizer, max_norm=config.clip_norm, error_if_nonfinite=False)
    optimizer.step()
    weights = {f"new {k}": p.detach().clone() for k, p in method.model.named_parameters()}
    return {"loss": loss, "norm": norm, **gradients, **weights}


def rank_of_two(folder: Path, device: str) -> None:
    """One rank of a two-process run, started as by torchrun; writes what it got to FOLDER/<rank>.pt."""
    torch.set_num_threads(1)
    fabric = make_fabric("32", devices=2, accelerator=device)
    fabric.launch()
    steps = STEPS | (SYNC if device == "cuda" else {})
    results: dict[str, Any] = {name: step(fabric, config) for name, config in steps.items()}
    options = {"devices": 2, "accelerator": device, "progress": False}
    results["metrics"] = pretrain(RUN, ToySource(), folder, **options).metrics
    # One patch of the training and one of the held-out pairs are not valid enough, each on one rank.
    holes, unmasked = ToySource(), RUN.with_(mask_overlaps=False)
    holes.unusable = (3, 65)
    results["holes"] = pretrain(unmasked, holes, folder.with_name(f"{folder.name}-holes"), **options).metrics
    torch.save(results, folder / f"{fabric.global_rank}.pt")


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
    ranks = [forked.start(rank_of_two, folder, device, RANK=rank, LOCAL_RANK=rank, **common) for rank in "01"]
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
    expected = step(make_fabric("32", accelerator=device), (STEPS | SYNC)[name])
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


@pytest.mark.parametrize("name", STEPS)
def test_loss_gradients_and_update_equal_those_of_one_process(name, two):
    assert_one_step(two[1], name, "cpu", 1e-5)


@pytest.mark.gpu(2)
def test_two_gpus_make_the_step_of_one_also_with_the_statistics_of_batch_norm(tmp_path):
    ranks = both(tmp_path, "cuda")
    for name in STEPS | SYNC:
        assert_one_step(ranks, name, "cuda", 1e-3)


def test_a_run_on_two_processes_gives_the_model_and_metrics_of_one(two, tmp_path):
    folder, ranks = two
    single = pretrain(RUN, ToySource(), tmp_path, accelerator="cpu", progress=False)
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
    assert all(first[name] == second[name] for name in first if name.startswith("val"))
    assert first["epoch"] in (1, 2) and 0 < first["val_loss"] < 10
