"""A few updates on noise: how fast a training is on this device, what it computes, and what memory it takes."""

import itertools
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from eo_ssl.train.config import PretrainConfig, SimCLRConfig
from eo_ssl.train.data import Overlaps, PretrainData, pretraining_rows
from eo_ssl.train.devices import make_fabric, prepare
from eo_ssl.train.epoch import Trainer, train_epoch
from eo_ssl.train.finetune_config import FinetuneConfig
from eo_ssl.train.finetune_data import random_crops
from eo_ssl.train.finetune_fit import Fit, update
from eo_ssl.train.finetune_models import Prepare, architecture, parameter_groups
from eo_ssl.train.finetune_tasks import loss_function
from eo_ssl.train.finetune_testing import make_fabric as one_device
from eo_ssl.train.logs import Progress
from eo_ssl.train.methods import make_method
from eo_ssl.train.noise import NOISE, noise_patches, two_samples
from eo_ssl.train.rundir import run_folder
from eo_ssl.train.schedule import make_optimizer
from eo_ssl.train.step import seeded

UPDATES = 4  # the first one warms up, the median of the others counts


@dataclass(frozen=True)
class Measured:
    """Seconds of an update of `batch` samples; FLOPs of a sample (forward and backward), bytes, parameters.

    Seconds are 0 where the operations were only counted.
    """

    seconds: float
    batch: int
    flops: float
    memory: int
    parameters: int
    micro_batch: int = 0

    @property
    def rate(self) -> float:
        """Samples per second; 0 where nothing was timed."""
        return self.batch / self.seconds if self.seconds else 0.0


def measure_pretraining(
    config: PretrainConfig, source: Any, accelerator: str = "auto", compile: bool = False, workers: int = 0
) -> Measured:
    """Measure a few updates of a method, loading included."""
    data = pretraining_rows(source, config)
    trainer = pretrainer(config, data, accelerator, compile)
    few = _Few(data.loader(config, 0, 1, workers, trainer.fabric.device))
    progress = Progress("measuring", UPDATES, 0, config.batch_size, enabled=False)
    with seeded(0):
        train_epoch(trainer, few, 0, progress)
    memory = _peak(trainer.fabric)
    two = {k: trainer.fabric.to_device(v) for k, v in two_samples(config.image_size).items()}
    views = trainer.method.views(two, trainer.generator(0))
    flops = flops_of(trainer.method.model, views)
    parameters = sum(p.numel() for p in trainer.method.model.parameters())
    return Measured(_typical(few.marks), config.batch_size, flops, memory, parameters, trainer.micro_batch)


def pretrainer(config: PretrainConfig, data: PretrainData, accelerator: str, compile: bool) -> Trainer:
    """All that an epoch needs, on one device."""
    fabric = make_fabric(config, 1, 1, accelerator)
    _forget_peak(fabric)
    with seeded(config.seed):
        method = make_method(config, data.statistics)
    optimizer = make_optimizer(config, method.model)
    model, optimizer = fabric.setup(prepare(config, method.model, fabric, compile), optimizer)
    overlaps, folder = Overlaps(data.source.catalog), run_folder(config, "")
    return Trainer(fabric, method, model, optimizer, data, overlaps, folder, config.micro_batch)


def measure_finetuning(config: FinetuneConfig, patch_size: int, accelerator: str = "auto") -> Measured:
    """Measure a few updates of a downstream model from scratch, cropping included."""
    fabric = one_device(config, accelerator)
    _forget_peak(fabric)
    with seeded(config.seed):
        model = architecture(config).to(fabric.device)
    groups = parameter_groups(model, config)
    wrapped, optimiser = fabric.setup(model, torch.optim.AdamW(groups))
    patches, clean = noise_patches(patch_size).to(fabric.device), Prepare(NOISE, fabric.device)
    which, loss, marks = torch.arange(config.batch_size) % len(patches), loss_function(config), []

    def batch(step: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(step)
        return clean(random_crops(patches, which, config.image_size, generator, config.augment))

    found = Fit()
    for step in range(UPDATES + 1):
        _wait(fabric)
        marks.append(time.perf_counter())
        if step < UPDATES:
            update(fabric, wrapped, optimiser, loss, batch, config, step, found)
    memory = _peak(fabric)
    two = {k: v.to(fabric.device) for k, v in two_samples(config.image_size).items()}
    parameters = sum(p.numel() for p in model.parameters())
    return Measured(
        _typical(marks), config.batch_size, flops_of(model, two), memory, parameters, found.micro_batch
    )


def count(config: PretrainConfig | FinetuneConfig) -> Measured:
    """Operations and parameters of a training, from shapes alone: nothing is computed, whatever the size."""
    two = {name: x.to("meta") for name, x in two_samples(config.image_size).items()}
    with torch.device("meta"):
        if isinstance(config, FinetuneConfig):
            model = architecture(config)
        else:
            model, two = make_method(config).model, _views(config, two)
    parameters = sum(p.numel() for p in model.parameters())
    return Measured(0.0, config.batch_size, flops_of(model, two), 0, parameters)


def _views(config: PretrainConfig, two: dict[str, Tensor]) -> dict[str, Tensor]:
    """The shapes of a method's two views."""
    if isinstance(config, SimCLRConfig):
        return {"s2": two["s2"], "other": two["s2"]}
    side = getattr(config, "second_crop", 0) or config.image_size
    return {"s1": two["s1"], "s2": two["s2"][..., :side, :side]}


def flops_of(model: nn.Module, views: dict[str, Tensor]) -> float:
    """Floating-point operations of one sample, forward and backward, in convolutions and matrix products."""
    model.zero_grad(set_to_none=True)
    with FlopCounterMode(display=False) as counter:
        outputs = model(views)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        sum(z.float().sum() for z in outputs).backward()
    model.zero_grad(set_to_none=True)
    return counter.get_total_flops() / len(next(iter(views.values())))


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


def _typical(marks: list[float]) -> float:
    """Median seconds from mark to mark, the first left out."""
    return statistics.median([b - a for a, b in itertools.pairwise(marks)][1:])


def _wait(fabric: Fabric) -> None:
    if fabric.device.type == "cuda":
        torch.cuda.synchronize(fabric.device)


def _forget_peak(fabric: Fabric) -> None:
    if fabric.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(fabric.device)


def _peak(fabric: Fabric) -> int:
    """Largest memory in use on the GPU; 0 on a CPU, where it cannot be told from the rest of the process."""
    return torch.cuda.max_memory_allocated(fabric.device) if fabric.device.type == "cuda" else 0
