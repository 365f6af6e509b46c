"""`pretrain`: from a configuration and a data source to a folder with encoders, metrics and model card.

The folder is `run_dir/pretrain/<method>-<backbone>-seed<k>/`. A run that was stopped goes on from the
last complete epoch; a finished one is not trained again. The epoch whose held-out pairs find
their partners best is exported.
"""

import shutil
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.fabric import Fabric

from eo_ssl.errors import CheckpointError
from eo_ssl.evaluate.retrieval import collapse_warning
from eo_ssl.provenance import commit, versions
from eo_ssl.train.checkpoint import base_meta, save_pretrained
from eo_ssl.train.config import PretrainConfig
from eo_ssl.train.data import Overlaps, PretrainData, describe, pretraining_rows
from eo_ssl.train.devices import make_fabric, prepare, together
from eo_ssl.train.epoch import Trainer, held_out_metrics, train_epoch
from eo_ssl.train.logs import Progress, TensorBoard, write_csv
from eo_ssl.train.methods import make_method
from eo_ssl.train.resume import SavedState, load_state, save_state
from eo_ssl.train.rundir import PretrainResult, discard, finished_result, run_folder, same_run
from eo_ssl.train.schedule import make_optimizer
from eo_ssl.train.step import seeded

SELECT = "val_mrr"  # rank of the partner: unlike the loss it does not punish confidence at a low temperature


@dataclass(frozen=True)
class _Job:
    """All that a process needs to train; it is sent to each rank."""

    config: PretrainConfig
    data: PretrainData
    folder: Path
    resume: bool
    compile: bool
    workers: int
    progress: bool
    knn: bool
    max_minutes: float | None


def pretrain(
    config: PretrainConfig,
    source: Any,
    run_dir: str | Path,
    *,
    devices: int = 1,
    nodes: int = 1,
    accelerator: str = "auto",
    strategy: str = "auto",
    resume: bool = True,
    compile: bool = False,
    max_minutes: float | None = None,
    workers: int = 0,
    progress: bool = True,
    knn: bool = False,
) -> PretrainResult:
    """Pretrain the encoders of `config` on the "pretrain" rows of `source`.

    Args:
        resume: go on from the last complete epoch; False starts afresh and discards what the folder holds.
        max_minutes: stop after the first epoch that ends later than this (for queues with a time limit); the
            schedule does not change, and the same call again goes on.
        workers: loader processes; the batches do not depend on it.
        knn: also watch the kNN accuracy on the held-out pairs' (coarse) labels, never used for training.

    Raises `ConfigError`, `DataError` or `CheckpointError` before any training when something does not fit.
    """
    data = pretraining_rows(source, config)
    folder = run_folder(config, run_dir)
    fabric = make_fabric(config, devices, nodes, accelerator, strategy)
    finished = finished_result(config, data, folder) if resume else None
    if finished:
        return finished
    make_method(config)  # unknown backbones and impossible sizes fail here, in one process
    job = _Job(config, data, folder, resume, compile, workers, progress, knn, max_minutes)
    return fabric.launch(_train, job)


def _train(fabric: Fabric, job: _Job) -> PretrainResult:
    """What every process does: build, take up an earlier state, train, export."""
    begin = time.perf_counter()
    if not job.resume:
        together(fabric, lambda: discard(job.folder))
    saved = load_state(job.folder / "resume")
    state: dict[str, Any] = {"epoch": 0, "history": [], "best": None, "seconds": 0.0}
    if saved:
        state = saved[2]
        same_run(job.folder, state["config"], state["data"], job.config, job.data)
    trainer = _build(fabric, job, saved)
    done = _epochs(trainer, job, state, begin)
    if done:
        together(fabric, lambda: _export(trainer, job, state))
    return PretrainResult(job.folder, state["history"][state["best"]], state["seconds"], done)


def _build(fabric: Fabric, job: _Job, saved: SavedState | None) -> Trainer:
    """Model and optimiser, with the saved weights and moments where there are any."""
    config = job.config
    with seeded(config.seed):
        method = make_method(config, job.data.statistics)
    if saved:
        method.model.load_state_dict(saved[0])
    optimizer = make_optimizer(config, method.model)
    model, optimizer = fabric.setup(prepare(config, method.model, fabric, job.compile), optimizer)
    if saved:
        optimizer.load_state_dict(saved[2]["optimizer"])
        fabric.strategy.precision.load_state_dict(saved[2]["scaler"])
    overlaps = Overlaps(job.data.source.catalog)
    micro = saved[2].get("micro_batch", config.micro_batch) if saved else config.micro_batch
    return Trainer(fabric, method, model, optimizer, job.data, overlaps, job.folder, micro)


def _epochs(trainer: Trainer, job: _Job, state: dict[str, Any], begin: float) -> bool:
    """Train what is left, save after every epoch; returns whether the run is complete. Changes `state`."""
    config, fabric = job.config, trainer.fabric
    loader = job.data.loader(config, fabric.global_rank, fabric.world_size, job.workers, fabric.device)
    earlier = state["seconds"]
    updates = len(loader)
    progress = Progress(
        f"{config.name} {config.backbone}", config.epochs * updates, state["epoch"] * updates,
        config.batch_size, job.progress and fabric.is_global_zero,
    )  # fmt: skip
    board = TensorBoard(job.folder / "tensorboard", fabric.is_global_zero, state["epoch"] * updates)
    for epoch in range(state["epoch"], config.epochs):
        with seeded(config.seed, epoch, fabric.global_rank):
            row = {"epoch": epoch + 1, **train_epoch(trainer, loader, epoch, progress)}
            row |= held_out_metrics(trainer, job.knn)
        state["seconds"] = row["seconds"] = earlier + time.perf_counter() - begin
        _remember(state, row)
        _warn(row, config, fabric.global_rank)
        board.log({key: value for key, value in row.items() if key != "epoch"}, (epoch + 1) * updates)
        together(fabric, lambda: _save(trainer, job, state))
        late = job.max_minutes is not None and time.perf_counter() - begin > 60 * job.max_minutes
        if fabric.broadcast(late) and epoch + 1 < config.epochs:
            break
    progress.close()
    board.close()
    return state["epoch"] == config.epochs


def _remember(state: dict[str, Any], row: dict[str, float]) -> None:
    history = state["history"]
    history.append(row)
    state["epoch"] = len(history)
    if state["best"] is None or row[SELECT] > history[state["best"]][SELECT]:
        state["best"] = len(history) - 1


def _warn(row: dict[str, float], config: PretrainConfig, rank: int) -> None:
    text = collapse_warning(row["val_spread"])
    if text and row["epoch"] > config.warmup_epochs and rank == 0:
        warnings.warn(f"epoch {row['epoch']}: {text}", RuntimeWarning, stacklevel=2)


def _save(trainer: Trainer, job: _Job, state: dict[str, Any]) -> None:
    weights = trainer.method.model.state_dict()
    rest = {
        **state,
        "optimizer": trainer.optimizer.state_dict(),
        "scaler": trainer.fabric.strategy.precision.state_dict(),
        "config": job.config.to_dict(),
        "data": describe(job.data),
        "micro_batch": trainer.micro_batch,
    }
    improved = state["best"] == state["epoch"] - 1
    save_state(job.folder / "resume", state["epoch"], weights, weights if improved else None, rest)
    write_csv(job.folder / "metrics.csv", state["history"])


def _export(trainer: Trainer, job: _Job, state: dict[str, Any]) -> None:
    """Write the encoders of the best epoch, then drop the resume state: the run is complete."""
    method, saved = trainer.method, load_state(job.folder / "resume")
    if saved is None:
        raise CheckpointError(f"{job.folder}/resume is gone; it was removed while the run lasted")
    method.model.load_state_dict(saved[1])
    row = state["history"][state["best"]]
    meta = {
        **base_meta(job.config, job.data.statistics),
        "data": describe(job.data),
        "commit": commit(),
        "epoch": row["epoch"],
        "select": SELECT,
        "metrics": row,
        "seconds": state["seconds"],
        "micro_batch": trainer.micro_batch,
        "versions": versions(),
    }
    save_pretrained(method, job.folder, meta)
    shutil.rmtree(job.folder / "resume", ignore_errors=True)
