"""What a pretraining run would be, measured instead of guessed: size, data, memory, time."""

from typing import Any

import psutil
import torch
from lightning.fabric import Fabric

from eo_ssl.train.config import PretrainConfig
from eo_ssl.train.data import pretraining_rows
from eo_ssl.train.devices import make_fabric
from eo_ssl.train.measure import measure_pretraining
from eo_ssl.train.methods import make_method
from eo_ssl.train.pretrain import run_folder
from eo_ssl.train.step import seeded


def dry_run(
    config: PretrainConfig, source: Any, run_dir: str, devices: int = 1, nodes: int = 1,
    accelerator: str = "auto", compile: bool = False, workers: int = 0,
) -> dict[str, str]:  # fmt: skip
    """Facts of the run by name, ready to print; a few updates are measured on one device, nothing is kept.

    With several devices each does its share of a batch: the time of an update is measured on that share,
    without the exchange of gradients. Raises what `pretrain` would raise.
    """
    data = pretraining_rows(source, config)
    fabric = make_fabric(config, devices, nodes, accelerator)  # the real one, for its checks
    world = devices * nodes
    share = config.with_(batch_size=max(2, config.batch_size // world), batch_norm="local")
    measured = measure_pretraining(share, source, accelerator, compile, workers)
    with seeded(config.seed):
        method = make_method(share, data.statistics)
    updates = len(data.train) // config.batch_size
    encoders = {name: _millions(encoder) for name, encoder in method.encoders().items() if encoder}
    return {
        "method": f"{config.name}, {config.backbone}",
        "encoders": ", ".join(f"{name} {size}" for name, size in encoders.items()),
        "all parameters": _millions(method.model),
        "data": f"{len(data.train):,} training pairs, {len(data.held_out):,} held out",
        "batch": f"{config.batch_size} pairs, {world} device(s), micro-batch {measured.micro_batch or 'off'}",
        "updates": f"{config.epochs} epochs × {updates} = {config.epochs * updates:,}",
        "device": f"{fabric.device}, precision {fabric.strategy.precision.precision}",
        "memory": _memory(fabric, measured.memory),
        "one update": f"{measured.seconds:.3g} s, {config.batch_size / measured.seconds:,.0f} pairs/s (measured)",
        "training": f"about {duration(measured.seconds * config.epochs * updates)}, held-out pairs apart",
        "folder": str(run_folder(config, run_dir)),
    }


def _memory(fabric: Fabric, peak: int) -> str:
    if fabric.device.type == "cuda":
        total = torch.cuda.get_device_properties(fabric.device).total_memory
        return f"{peak / 1e9:.2g} GB of {total / 1e9:.3g} GB on the GPU (peak, measured)"
    used, total = psutil.Process().memory_info().rss, psutil.virtual_memory().total
    return f"{used / 1e9:.2g} GB of {total / 1e9:.3g} GB (this process, measured)"


def _millions(module: torch.nn.Module) -> str:
    return f"{sum(p.numel() for p in module.parameters()) / 1e6:.3g} M"


def duration(seconds: float) -> str:
    """A time in the unit that suits it.

    >>> duration(30), duration(600), duration(90000)
    ('30 s', '10 min', '25 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
