"""The training loop of all methods: one update, one epoch, one look at the held-out pairs."""

import math
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from tqdm import tqdm

from eo_ssl.data.dataset import Loader, PatchDataset
from eo_ssl.errors import DataError
from eo_ssl.evaluate.retrieval import embedding_metrics, retrieval_metrics
from eo_ssl.files import write_json
from eo_ssl.losses import NonFiniteError, gather
from eo_ssl.train.config import PretrainConfig
from eo_ssl.train.methods import Batch, Method
from eo_ssl.train.step import backward_pass, decay_groups, freeze_statistics, learning_rate, mixed_seed

HELD_OUT_BATCH = 128
OVERLAP = 2  # grid steps from which on two patches of a scene share no ground (stride = half a patch)
CHECK_EVERY = 50  # updates between two looks at the losses of a GPU, which has to stop for that


class Overlaps:
    """Which patches share ground: same scene, less than `OVERLAP` grid steps apart in both directions.

    Where the grid position is unknown (−1), patches of one overlap group count as sharing.
    """

    def __init__(self, catalog: Any) -> None:
        names = (np.unique(catalog[key].astype(str), return_inverse=True)[1] for key in ("scene", "group"))
        grid = (catalog[key].to_numpy(np.int64) for key in ("row", "col"))
        self.table = torch.tensor(np.stack([*names, *grid]))  # scene, group, row, column: (4, patches)

    def __call__(self, index: Tensor, other: Tensor | None = None) -> Tensor:
        """(n,), (N,) rows of the catalogue → (n, N) bool; True on the diagonal of equal rows."""
        self.table = self.table.to(index.device)  # once: a GPU need not be waited for
        scene, group, row, col = self.table
        a, b = index[:, None], (index if other is None else other)[None, :]
        near = (scene[a] == scene[b]) & ((row[a] - row[b]).abs() < OVERLAP)
        near &= (col[a] - col[b]).abs() < OVERLAP
        unknown = (row[a] < 0) | (row[b] < 0)
        return torch.where(unknown, group[a] == group[b], near)


@dataclass
class Trainer:
    """What the loop holds in its hands."""

    fabric: Fabric
    method: Method
    model: nn.Module  # method.model as set up by Fabric
    optimizer: torch.optim.Optimizer
    overlaps: Overlaps
    held_out: PatchDataset  # this rank's share, centre crops
    ids: Any  # name of every row of the catalogue
    folder: Path

    def generator(self, *key: int) -> torch.Generator:
        """Random numbers on the device, a function of `key`."""
        return torch.Generator(self.fabric.device).manual_seed(mixed_seed(*key))

    def false_negatives(self, index: Tensor) -> Tensor | None:
        """This rank's rows of the mask of pairs that must not be pushed apart: (n,) → (n, world·n) bool.

        They share ground (`mask_overlaps`), or are one patch twice, in a batch that was filled up.
        """
        if self.method.config.mask_overlaps:
            return self.overlaps(index, gather(index))
        if self.fabric.world_size > 1:
            return index[:, None] == gather(index)[None, :]
        return None


def make_optimizer(config: PretrainConfig, model: nn.Module) -> torch.optim.Optimizer:
    """AdamW without decay on biases, norms and position tables; or Adam with decay on all, as published.

    One fused kernel does the update.
    """
    options: dict[str, Any] = {"lr": config.lr, "fused": True}
    if config.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), weight_decay=config.weight_decay, **options)
    return torch.optim.AdamW(decay_groups(model.named_parameters(), config.weight_decay), **options)


def set_learning_rate(
    optimizer: torch.optim.Optimizer, config: PretrainConfig, step: int, per_epoch: int
) -> float:
    """Set the rate of update `step` in every parameter group and return it; call it before each update."""
    warmup = round(config.warmup_epochs * per_epoch)
    rate = learning_rate(step, config.epochs * per_epoch, warmup, config.lr, config.min_lr)
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate


def update(trainer: Trainer, batch: Batch, generator: torch.Generator) -> Tensor:
    """One update on a batch that is on the device; returns the loss."""
    config, fabric = trainer.method.config, trainer.fabric
    views = trainer.method.views(batch, generator)
    mask = trainer.false_negatives(batch["index"])
    loss = backward_pass(fabric, trainer.model, trainer.method.loss, views, mask, config.micro_batch)
    if config.clip_norm:
        limit = {"max_norm": config.clip_norm, "error_if_nonfinite": False}
        fabric.clip_gradients(trainer.model, trainer.optimizer, **limit)
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()
    return loss


def train_epoch(trainer: Trainer, loader: Any, epoch: int, bar: tqdm) -> dict[str, float]:
    """One pass over the training pairs: mean loss, last learning rate, pairs per second, share of waiting."""
    config, fabric = trainer.method.config, trainer.fabric
    generator = trainer.generator(config.seed, epoch, fabric.global_rank)
    loader.set_epoch(epoch)
    trainer.model.train()
    if config.batch_norm == "frozen":
        freeze_statistics(trainer.model)
    losses, unseen, pairs, waited, failed = [], [], 0, 0.0, False
    began = shown = asked = time.perf_counter()
    for i, batch in enumerate(on_device(loader, fabric.device)):
        waited += time.perf_counter() - asked
        if fabric.world_size > 1:
            batch = filled_up(batch, loader.batch_size)
        rate = set_learning_rate(trainer.optimizer, config, epoch * len(loader) + i, len(loader))
        try:
            losses.append(update(trainer, batch, generator))
        except NonFiniteError:
            losses.append(torch.tensor(torch.nan, device=fabric.device))
            failed = True
        unseen.append((losses[-1], batch["index"], {"epoch": epoch + 1, "update": i + 1, "lr": rate}))
        if failed or len(unseen) == CHECK_EVERY or i == len(loader) - 1:
            _require_finite(trainer, unseen)
            unseen = []
        pairs += len(batch["index"])
        asked = time.perf_counter()
        if not bar.disable and asked - shown > 1:  # numbers are fetched once a second: a GPU stops for that
            bar.set_postfix({"loss": f"{float(losses[-1]):.3g}"}, refresh=False)
            shown = asked
        bar.update()
    seconds = max(time.perf_counter() - began, 1e-9)
    speed = {"pairs_per_s": pairs * fabric.world_size / seconds, "waiting": waited / seconds}
    return {"train_loss": float(torch.stack(losses).mean()), "lr": rate, **speed}


def _require_finite(trainer: Trainer, unseen: list[tuple[Tensor, Tensor, dict[str, Any]]]) -> None:
    """Raise `DataError` for the first loss that is not finite, alike on all ranks; a file names its patches."""
    finite = torch.stack([loss for loss, *_ in unseen]).isfinite().tolist()
    if all(finite):
        return
    _, index, where = unseen[finite.index(False)]
    ids, path = trainer.ids.iloc[gather(index).tolist()].astype(str), trainer.folder / "nonfinite-batch.json"
    if trainer.fabric.is_global_zero:
        write_json(path, {**where, "patches": ids.tolist()})
    raise DataError(
        f"the loss is not finite at epoch {where['epoch']}, update {where['update']}; the patches of the batch are in "
        f"{path}: look for broken ones with `eo-ssl data check`, or lower lr, or use precision 32"
    )


def filled_up(batch: Batch, size: int) -> Batch:
    """The batch with patches repeated where some were unusable, so that all ranks hold equally many."""
    have = len(batch["index"])
    if have in (0, size):
        return batch
    again = torch.arange(size, device=batch["index"].device) % have
    return {key: value[again] for key, value in batch.items()}


def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """Batches on the device; a copy to a GPU is only ordered, so that the next is read while it computes."""
    for batch in batches:
        if device.type == "cuda":
            batch = {name: x.pin_memory().to(device, non_blocking=True) for name, x in batch.items()}
        yield batch


@torch.no_grad()
def held_out_metrics(trainer: Trainer) -> dict[str, float]:
    """Loss, rank of the positive, alignment, uniformity and spread on the held-out pairs, all at once.

    Every rank embeds its share and sees the result of all. The views are the same at every epoch. Raises
    `DataError` where fewer than 2 pairs can be used.
    """
    method, fabric, data = trainer.method, trainer.fabric, trainer.held_out
    trainer.model.eval()
    generator = trainer.generator(method.config.seed, fabric.global_rank)
    parts = []
    for batch in on_device(Loader(data, HELD_OUT_BATCH, shuffle=False), fabric.device):
        z1, z2 = trainer.model(method.views(batch, generator))
        parts.append((z1.float(), z2.float(), batch["index"]))
    z1, z2, rows = (torch.cat(part) for part in zip(*parts))
    # A rank leaves out patches of which too little is valid; the losses compare equally many of each rank.
    n = int(gather(torch.tensor([len(rows)], device=rows.device)).min())
    if n * fabric.world_size < 2:
        raise DataError("fewer than 2 held-out pairs are usable; see what is there with `eo-ssl data check`")
    z1, z2, rows = z1[:n], z2[:n], rows[:n]
    mask = trainer.overlaps(rows, gather(rows)) if method.config.mask_overlaps else None
    loss = float(method.loss(z1, z2, mask))
    z1, z2, rows = gather(z1), gather(z2), gather(rows)
    ignore = trainer.overlaps(rows).fill_diagonal_(False)
    metrics = {"loss": loss, **retrieval_metrics(method.similarity(z1, z2), ignore=ignore)}
    metrics |= embedding_metrics(z1, z2)
    return {f"val_{name}": value for name, value in metrics.items() if not math.isnan(value)}


def progress_bar(label: str, total: int, done: int, enabled: bool) -> tqdm:
    """One bar over all updates of a run, with loss and time left; silent where the output goes to a file."""
    silent = None if enabled and "ipykernel" not in sys.modules else not enabled  # None: except in a terminal
    bar = "{desc} {percentage:.0f}%|{bar:20}|{n_fmt}/{total_fmt} {elapsed}<{remaining}, {rate_fmt}{postfix}"
    options = {"unit": "update", "mininterval": 1.0, "bar_format": bar}
    return tqdm(total=total, initial=done, desc=label, disable=silent, **options)
