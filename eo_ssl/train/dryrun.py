"""What a pretraining run would be, measured instead of guessed: size, data, memory, time."""

import statistics
import time
from collections.abc import Iterator
from typing import Any

import psutil
import torch
from lightning.fabric import Fabric

from eo_ssl.train.config import PretrainConfig
from eo_ssl.train.data import Overlaps, pretraining_rows
from eo_ssl.train.devices import make_fabric, prepare
from eo_ssl.train.epoch import Trainer, train_epoch
from eo_ssl.train.logs import Progress
from eo_ssl.train.methods import make_method
from eo_ssl.train.pretrain import run_folder
from eo_ssl.train.schedule import make_optimizer
from eo_ssl.train.step import seeded

UPDATES = 4  # the first one warms up, the median of the others counts


def dry_run(
    config: PretrainConfig, source: Any, run_dir: str, devices: int = 1, nodes: int = 1,
    accelerator: str = "auto", compile: bool = False, workers: int = 0,
) -> dict[str, str]:  # fmt: skip
    """Facts of the run by name, ready to print; a few updates are measured on one device, nothing is kept.

    With several devices each does its share of a batch: the time of an update is measured on that share,
    without the exchange of gradients. Raises what `pretrain` would raise.
    """
    data = pretraining_rows(source, config)
    make_fabric(config, devices, nodes, accelerator)  # the real one, for its checks
    world = devices * nodes
    share = config.with_(batch_size=max(2, config.batch_size // world), batch_norm="local")
    fabric = make_fabric(share, 1, 1, accelerator)
    with seeded(config.seed):
        method = make_method(share, data.statistics)
    optimizer = make_optimizer(share, method.model)
    model, optimizer = fabric.setup(prepare(share, method.model, fabric, compile), optimizer)
    overlaps = Overlaps(source.catalog)
    folder = run_folder(config, run_dir)
    trainer = Trainer(fabric, method, model, optimizer, data, overlaps, folder, share.micro_batch)
    seconds = _measure(trainer, _Few(data.loader(share, 0, 1, workers)))
    updates = len(data.train) // config.batch_size
    encoders = {name: _millions(encoder) for name, encoder in method.encoders().items() if encoder}
    return {
        "method": f"{config.name}, {config.backbone}",
        "encoders": ", ".join(f"{name} {size}" for name, size in encoders.items()),
        "all parameters": _millions(method.model),
        "data": f"{len(data.train):,} training pairs, {len(data.held_out):,} held out",
        "batch": f"{config.batch_size} pairs, {world} device(s), micro-batch {config.micro_batch or 'off'}",
        "updates": f"{config.epochs} epochs × {updates} = {config.epochs * updates:,}",
        "device": f"{fabric.device}, precision {fabric.strategy.precision.precision}",
        "memory": _memory(fabric),
        "one update": f"{seconds:.3g} s, {config.batch_size / seconds:,.0f} pairs/s (measured)",
        "training": f"about {_duration(seconds * config.epochs * updates)}, held-out pairs apart",
        "folder": str(run_folder(config, run_dir)),
    }


class _Few:
    """The first batches of a loader, again and again if it has fewer, with a clock."""

    def __init__(self, loader: Any) -> None:
        self.loader, self.marks = loader, []
        self.batch_size = loader.batch_size

    def __len__(self) -> int:
        return len(self.loader)

    def set_epoch(self, epoch: int) -> None:
        self.loader.set_epoch(epoch)

    def __iter__(self) -> Iterator[Any]:
        while len(self.marks) <= UPDATES:
            for batch in self.loader:
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                self.marks.append(time.perf_counter())
                if len(self.marks) > UPDATES:
                    return
                yield batch


def _measure(trainer: Trainer, few: _Few) -> float:
    """Median seconds from batch to batch, loading included."""
    progress = Progress("dry run", UPDATES, 0, trainer.method.config.batch_size, enabled=False)
    with seeded(0):
        train_epoch(trainer, few, 0, progress)
    spans = [b - a for a, b in zip(few.marks, few.marks[1:])]
    return statistics.median(spans[1:])


def _memory(fabric: Fabric) -> str:
    if fabric.device.type == "cuda":
        total = torch.cuda.get_device_properties(fabric.device).total_memory
        used = torch.cuda.max_memory_allocated()
        return f"{used / 1e9:.2g} GB of {total / 1e9:.3g} GB on the GPU (peak, measured)"
    used, total = psutil.Process().memory_info().rss, psutil.virtual_memory().total
    return f"{used / 1e9:.2g} GB of {total / 1e9:.3g} GB (this process, measured)"


def _millions(module: torch.nn.Module) -> str:
    return f"{sum(p.numel() for p in module.parameters()) / 1e6:.3g} M"


def _duration(seconds: float) -> str:
    """A time in the unit that suits it.

    >>> _duration(30), _duration(600), _duration(90000)
    ('30 s', '10 min', '25 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
