"""One rank of a two-process run, started as by torchrun; writes what it got to FOLDER/<rank>.pt."""

from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from toy_pairs import ToySource

from eo_ssl.train.config import DualSimCLRConfig, MMAConfig, PretrainConfig, SimCLRConfig, SwinPairConfig
from eo_ssl.train.devices import make_fabric, prepare
from eo_ssl.train.loop import Overlaps, make_optimizer
from eo_ssl.train.methods import make_method
from eo_ssl.train.pretrain import pretrain, pretraining_rows
from eo_ssl.train.step import backward_pass, freeze_statistics, seeded

COMMON: dict[str, Any] = {"image_size": 16, "batch_size": 16, "epochs": 2, "warmup_epochs": 1.0}
COMMON |= {"precision": "32"}
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
    loss = backward_pass(
        fabric, model, method.loss, {k: v[rows] for k, v in views.items()}, mask, config.micro_batch
    )
    gradients = {f"gradient of {k}": p.grad.clone() for k, p in method.model.named_parameters()}
    norm = fabric.clip_gradients(model, optimizer, max_norm=config.clip_norm, error_if_nonfinite=False)
    optimizer.step()
    weights = {f"new {k}": p.detach().clone() for k, p in method.model.named_parameters()}
    return {"loss": loss, "norm": norm, **gradients, **weights}


def main(folder: Path, device: str) -> None:
    torch.set_num_threads(1)
    fabric = make_fabric("32", devices=2, accelerator=device)
    fabric.launch()
    steps = STEPS | (SYNC if device == "cuda" else {})
    results: dict[str, Any] = {name: step(fabric, config) for name, config in steps.items()}
    options = {"devices": 2, "accelerator": device, "progress": False}
    results["metrics"] = pretrain(RUN, ToySource(), folder, **options).metrics
    # One patch of the training and one of the held-out pairs are not valid enough, each on one rank.
    holes, unmasked = ToySource(unusable=(3, 65)), RUN.with_(mask_overlaps=False)
    results["holes"] = pretrain(unmasked, holes, folder.with_name(f"{folder.name}-holes"), **options).metrics
    torch.save(results, folder / f"{fabric.global_rank}.pt")
