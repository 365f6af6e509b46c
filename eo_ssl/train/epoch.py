"""One epoch of training and one look at the held-out pairs: the loop itself, without its surroundings."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from eo_ssl.errors import DataError
from eo_ssl.evaluate.retrieval import embedding_metrics, knn_accuracy, retrieval_metrics
from eo_ssl.files import write_json
from eo_ssl.losses import NonFiniteError, gather
from eo_ssl.train.data import Overlaps, PretrainData, filled_up
from eo_ssl.train.feed import Feed
from eo_ssl.train.logs import Progress
from eo_ssl.train.memory import agree, frugal_backward, rehearse, shrunk
from eo_ssl.train.methods import Batch, Method
from eo_ssl.train.schedule import set_learning_rate
from eo_ssl.train.step import freeze_statistics, mixed_seed

HELD_OUT_BATCH = 128


@dataclass
class Trainer:
    """What the loop holds in its hands."""

    fabric: Fabric
    method: Method
    model: nn.Module  # method.model as set up by Fabric
    optimizer: torch.optim.Optimizer
    data: PretrainData
    overlaps: Overlaps
    folder: Path
    micro_batch: int  # as configured, or less where the memory turned out to be too small
    tried: bool = False

    def views(self, batch: Batch, generator: torch.Generator) -> Batch:
        """A batch from the loader as the method's two views, on the device."""
        return self.method.views(self.on_device(batch), generator)

    def on_device(self, batch: Batch) -> Batch:
        """A batch from the loader, on the device."""
        return {key: self.fabric.to_device(value) for key, value in batch.items()}

    def generator(self, *key: int) -> torch.Generator:
        """Random numbers on the device, a function of `key`."""
        return torch.Generator(self.fabric.device).manual_seed(mixed_seed(*key))


def train_epoch(trainer: Trainer, loader: Any, epoch: int, progress: Progress) -> dict[str, float]:
    """One pass over the training pairs; returns the mean loss, the last learning rate and the throughput."""
    config, fabric, model = trainer.method.config, trainer.fabric, trainer.model
    generator = trainer.generator(config.seed, epoch, fabric.global_rank)
    loader.set_epoch(epoch)
    model.train()
    if config.batch_norm == "frozen":
        freeze_statistics(model)
    losses, feed = [], Feed(loader, fabric.device)
    for i, batch in enumerate(feed):
        if fabric.world_size > 1:
            batch = filled_up(batch, loader.batch_size)
        rate = set_learning_rate(trainer.optimizer, config, epoch * len(loader) + i, len(loader))
        views = trainer.views(batch, generator)
        mask = (
            trainer.overlaps.false_negatives(batch["index"].to(fabric.device))
            if config.mask_overlaps
            else None
        )
        _try_memory(trainer, views, progress)
        try:
            loss, trainer.micro_batch = frugal_backward(
                fabric, model, trainer.method.loss, views, mask, trainer.micro_batch, progress.warn
            )
        except NonFiniteError as error:
            raise _stopped(trainer, batch, epoch, i, rate) from error
        norm = _clip(trainer)
        trainer.optimizer.step()
        trainer.optimizer.zero_grad()
        losses.append(loss)
        progress.update(loss, **norm)
    row = {"train_loss": float(torch.stack(losses).mean()), "lr": rate, **feed.summary()}
    reduced = trainer.micro_batch != config.micro_batch
    return row | ({"micro_batch": trainer.micro_batch} if reduced else {})


def _try_memory(trainer: Trainer, views: Batch, progress: Progress) -> None:
    """Several ranks agree once on a micro-batch that fits all of them; a single one finds out as it goes."""
    fabric, size = trainer.fabric, len(next(iter(views.values())))
    if trainer.tried or fabric.world_size == 1:
        return
    trainer.tried = True
    asked = trainer.micro_batch
    trainer.micro_batch = agree(
        fabric, lambda n: rehearse(fabric, trainer.method.model, views, n), asked, size
    )
    if trainer.micro_batch != asked:
        progress.warn(shrunk(trainer.micro_batch, size))


def _clip(trainer: Trainer) -> dict[str, Tensor]:
    """Scale the gradient down to the largest allowed norm and report the norm before it."""
    limit = trainer.method.config.clip_norm
    if not limit:
        return {}
    norm = trainer.fabric.clip_gradients(
        trainer.model, trainer.optimizer, max_norm=limit, error_if_nonfinite=False
    )
    return {"gradient": norm}


def _stopped(trainer: Trainer, batch: Batch, epoch: int, step: int, rate: float) -> DataError:
    """Write down which patches met a NaN loss, and say what to do."""
    rows = gather(batch["index"].to(trainer.fabric.device)).tolist()
    path = trainer.folder / "nonfinite-batch.json"
    catalog = trainer.data.source.catalog
    if trainer.fabric.is_global_zero:
        ids = [str(catalog["id"].iloc[row]) for row in rows]
        write_json(path, {"epoch": epoch + 1, "update": step + 1, "lr": rate, "patches": ids})
    return DataError(
        f"the loss is not finite at epoch {epoch + 1}, update {step + 1}; the patches of the batch are in "
        f"{path}: look for broken ones with `eo-ssl data check`, or lower lr, or use precision 32"
    )


@torch.no_grad()
def held_out_metrics(trainer: Trainer, knn: bool = False) -> dict[str, float]:
    """Loss, rank of the positive, alignment, uniformity and spread on the held-out pairs, all at once.

    Every rank embeds its share and sees the result of all. The views are the same at every epoch.
    """
    method, model = trainer.method, trainer.model
    model.eval()
    first, second, index, features, labels, groups = [], [], [], [], [], []
    generator = trainer.generator(method.config.seed, trainer.fabric.global_rank)
    for batch in _batches(trainer, knn):
        z1, z2 = model(trainer.views(batch, generator))
        first.append(z1.float()), second.append(z2.float()), index.append(batch["index"])
        if knn:
            (
                features.append(_features(trainer, batch)),
                labels.append(batch["label"]),
                groups.append(batch["group"]),
            )
    z1, z2, rows = torch.cat(first), torch.cat(second), torch.cat(index).to(trainer.fabric.device)
    mask = trainer.overlaps.false_negatives(rows) if method.config.mask_overlaps else None
    loss = float(method.loss(z1, z2, mask))
    z1, z2, rows = gather(z1), gather(z2), gather(rows)
    metrics = retrieval_metrics(
        method.similarity(z1, z2), ignore=trainer.overlaps(rows).fill_diagonal_(False)
    )
    metrics = {"loss": loss, **metrics, **embedding_metrics(z1, z2)}
    if knn:
        every = (gather(torch.cat(parts).to(rows.device)) for parts in (features, labels, groups))
        metrics["knn"] = knn_accuracy(*every)
    return {f"val_{name}": value for name, value in metrics.items() if not math.isnan(value)}


def _features(trainer: Trainer, batch: Batch) -> Tensor:
    """Pooled features of all encoders, (N, D), before any projection head."""
    batch, encoders = trainer.on_device(batch), trainer.method.encoders()
    return torch.cat([encoders[name](batch[name]) for name in trainer.method.config.modalities], dim=1)


def _batches(trainer: Trainer, labels: bool) -> Iterator[Batch]:
    fabric, config = trainer.fabric, trainer.method.config
    dataset = trainer.data.held_out_set(config, fabric.global_rank, fabric.world_size, labels)
    for start in range(0, len(dataset), HELD_OUT_BATCH):
        yield dataset.__getitems__(range(start, min(start + HELD_OUT_BATCH, len(dataset))))
