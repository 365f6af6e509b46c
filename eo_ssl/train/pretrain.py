"""`pretrain`: from a configuration and a data source to a folder with encoders, metrics and model card.

The folder is `run_dir/pretrain/<method>-<backbone>-seed<k>/`. A run that was stopped goes on from the
last complete epoch; a finished one is not trained again, unless other code made it. The epoch whose
held-out pairs find their partners best is exported.
"""

import math
import time
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lightning_fabric import Fabric
from safetensors.torch import load_file
from torch.nn.modules.batchnorm import _BatchNorm

from eo_ssl.data.dataset import Loader, PatchDataset
from eo_ssl.data.splits import evenly, for_pretraining
from eo_ssl.data.statistics import Statistics
from eo_ssl.errors import CheckpointError, ConfigError, DataError
from eo_ssl.files import write_text
from eo_ssl.provenance import commit, training_code, versions
from eo_ssl.train.checkpoint import load_state, plain, read_meta, save_pretrained, save_state
from eo_ssl.train.config import PretrainConfig, digest, pretrain_folder
from eo_ssl.train.devices import check_world, device_type, make_fabric, prepare, together
from eo_ssl.train.loop import Overlaps, Trainer, held_out_metrics, make_optimizer, progress_bar, train_epoch
from eo_ssl.train.methods import Method, make_method
from eo_ssl.train.step import seeded

HELD_OUT = 1024  # pairs that are looked at after every epoch
SELECT = "val_mrr"  # rank of the partner: unlike the loss it does not punish confidence at a low temperature
COLLAPSED = 0.1  # share of the spread of an even distribution below which features count as collapsed
STATE = ("model", "best_model", "optimizer", "history", "best", "seconds", "made_of", "code")


@dataclass(frozen=True)
class PretrainData:
    """Rows of the catalogue for training and for the look at held-out pairs."""

    source: Any
    train: list[int]
    held_out: list[int]

    @cached_property
    def statistics(self) -> Statistics:
        """Mean and deviation per band of the training scenes."""
        return self.source.stats("pretrain")

    def loader(self, config: PretrainConfig, rank: int = 0, world: int = 1, workers: int = 0) -> Loader:
        """Batches of batch_size / world standardised random crops; an incomplete last batch is left out.

        A pure function of seed, epoch and row.
        """
        options = {"seed": config.seed, "statistics": self.statistics}
        crops = PatchDataset(self.source, self.train, config.image_size, "random", **options)
        return Loader(crops, config.batch_size // world, True, True, config.seed, workers, rank, world)

    def describe(self) -> str:
        """Name, version and size of the data, and a digest of patches and statistics: equal data, equal words."""
        attrs, ids = self.source.catalog.attrs, self.source.catalog["id"].astype(str).to_numpy()
        name = f"{attrs.get('name') or 'data'} {attrs.get('version') or ''}".strip()
        what = digest(ids[self.train].tolist(), ids[self.held_out].tolist(), self.statistics.to_dict())
        return f"{name}: {len(self.train):,} pairs, {len(self.held_out):,} held out ({what})"


def pretraining_rows(source: Any, config: PretrainConfig) -> PretrainData:
    """Rows with what the method needs, checked; raises `DataError` when there is too little to train on."""
    catalog, size = source.catalog, source.patch_size
    if config.image_size > size:
        raise ConfigError(f"image_size {config.image_size} is larger than the patches ({size} px); lower it")
    usable = catalog[list(config.modalities)].astype(bool).all(axis=1).to_numpy()
    split = for_pretraining(catalog["split"]).to_numpy()
    train, held_out = (np.flatnonzero(usable & (split == name)) for name in ("pretrain", "pretrain_val"))
    if not len(train):
        raise DataError(f"{source.path}: no patches to pretrain on; see `eo-ssl data check`")
    if len(train) < config.batch_size:
        raise DataError(f"{len(train)} training pairs do not fill one batch of {config.batch_size}; lower it")
    if len(held_out) < 2:
        raise DataError("fewer than 2 held-out pairs: the pretraining data need scenes for validation")
    return PretrainData(source, train.tolist(), evenly(held_out, HELD_OUT).tolist())


@dataclass(frozen=True)
class PretrainResult:
    """Where the run is, what the chosen epoch reached, and how long training took (all its parts together).

    `done` is False for a run that stopped at `max_minutes` and can be resumed.
    """

    folder: Path
    metrics: dict[str, float]
    seconds: float
    done: bool = True


@dataclass(frozen=True)
class _Job:
    """All that a process needs to train; `made_of` are the settings and data that decide which model comes out."""

    config: PretrainConfig
    data: PretrainData
    folder: Path
    state: Path
    made_of: dict[str, Any]
    compile: bool = False
    workers: int = 0
    progress: bool = True
    max_minutes: float = math.inf


def _job(config: PretrainConfig, source: Any, run_dir: str | Path, **how: Any) -> _Job:
    """The pretraining of a configuration on a source, in its place in a run folder."""
    data, folder = (
        pretraining_rows(source, config),
        pretrain_folder(run_dir, config.name, config.backbone, config.seed),
    )
    made_of = {**config.identity(), "data": data.describe()}
    return _Job(config, data, folder, folder / "resume.pt", made_of, **how)


def pretrain(
    config: PretrainConfig,
    source: Any,
    run_dir: str | Path,
    *,
    devices: int = 1,
    nodes: int = 1,
    accelerator: str = "auto",
    resume: bool = True,
    replace_other: bool = False,
    compile: bool = False,
    max_minutes: float | None = None,
    workers: int = 0,
    progress: bool = True,
) -> PretrainResult:
    """Pretrain the encoders of `config` on the "pretrain" rows of `source`.

    Args:
        resume: go on from the last complete epoch; False starts afresh and discards what the folder holds.
        replace_other: train afresh, too, where the folder holds a run of other settings or data.
        max_minutes: stop after the first epoch that ends later than this (for queues with a time limit); the
            schedule does not change, and the same call again goes on.
        workers: loader threads; the batches do not depend on it.

    A run by other code (losses, models, data, training) is trained afresh, and a line says so. Raises
    `ConfigError`, `DataError` or `CheckpointError` before any training when something does not fit.
    """
    check_world(config, devices, nodes, device_type(accelerator))
    limit = math.inf if max_minutes is None else max_minutes
    how = {"compile": compile, "workers": workers, "progress": progress, "max_minutes": limit}
    job = _job(config, source, run_dir, **how)
    fabric = make_fabric(config.precision, devices, nodes, accelerator)
    finished, afresh = _earlier(job, replace_other) if resume else (None, "resume is off")
    if finished:
        return finished
    make_method(config)  # unknown backbones and impossible sizes fail here, in one process
    if afresh and resume and fabric.is_global_zero:
        print(f"{job.folder}: {afresh}; training afresh")
    return fabric.launch(_train, job, bool(afresh))


def finished(config: PretrainConfig, source: Any, run_dir: str | Path) -> bool:
    """Whether the run folder holds this very pretraining, of these settings, data and code."""
    return _earlier(_job(config, source, run_dir), replace_other=True)[0] is not None


def keep(config: PretrainConfig, source: Any, run_dir: str | Path, history: pd.DataFrame) -> Path:
    """Take what `eo_ssl.dual_simclr.save` wrote into the run's folder for the pretraining of `config`: `finished`.

    Adds what later chapters ask for: settings, statistics, data, the code that trained it, and the table of epochs.
    """
    job = _job(config, source, run_dir)
    method, rows = make_method(config, job.data.statistics), history.to_dict("records")
    encoders, heads = (load_file(job.folder / f"{name}.safetensors") for name in ("model", "heads"))
    method.model.load_state_dict({f"encoder.{name}": value for name, value in encoders.items()} | heads)
    _write_history(job.folder, rows)
    best = max(rows, key=lambda row: row[SELECT])
    _write(method, job.data, job.folder, best, rows[-1]["seconds"])
    return job.folder


def _earlier(job: _Job, replace_other: bool) -> tuple[PretrainResult | None, str]:
    """The result of an earlier run if it is finished and this one's, or why what it left does not count."""
    meta = read_meta(job.folder) if (job.folder / "config.json").exists() else None
    if meta:
        made_of, code = {**meta["config"], "data": meta.get("data")}, meta.get("code")
    elif state := load_state(job.state, *STATE):
        made_of, code = state["made_of"], state["code"]
    else:
        return None, ""
    other = [f"{k} is {made_of.get(k)}, not {v}" for k, v in job.made_of.items() if made_of.get(k) != v]
    if other and not replace_other:
        raise CheckpointError(
            f"{job.folder}: another model: {'; '.join(other)}; choose another run_dir, or start afresh with "
            "resume=False (--no-resume)"
        )
    if other:
        return None, f"another model: {'; '.join(other)}"
    if code != training_code():
        return None, f"made by other code ({code or 'unknown'}, now {training_code()})"
    if not meta:
        return None, ""
    job.state.unlink(missing_ok=True)  # left by a kill after the export
    return PretrainResult(job.folder, meta.get("metrics", {}), meta.get("seconds", 0.0)), ""


def _train(fabric: Fabric, job: _Job, afresh: bool) -> PretrainResult:
    """What every process does: build, take up an earlier state, train and save epoch after epoch, export."""
    began, config = time.perf_counter(), job.config
    if afresh:
        done = job.folder / "config.json"
        together(fabric, lambda: [path.unlink(missing_ok=True) for path in (done, job.state)])
    saved = load_state(job.state, *STATE)
    state: dict[str, Any] = saved or {"history": [], "best": None, "best_model": None, "seconds": 0.0}
    trainer, history, earlier = _build(fabric, job, saved), state["history"], state["seconds"]
    loader = job.data.loader(config, fabric.global_rank, fabric.world_size, job.workers)
    updates, speaks, late = len(loader), fabric.is_global_zero, False
    label, done = f"{config.name} {config.backbone}", len(history) * updates
    with progress_bar(label, config.epochs * updates, done, job.progress and speaks) as bar:
        while len(history) < config.epochs and not late:
            epoch = len(history)
            with seeded(config.seed, epoch, fabric.global_rank):
                row = {"epoch": epoch + 1, **train_epoch(trainer, loader, epoch, bar)}
                row |= held_out_metrics(trainer)
            lasted = time.perf_counter() - began
            state["seconds"] = row["seconds"] = earlier + lasted
            history.append(row)
            if state["best"] is None or row[SELECT] > history[state["best"]][SELECT]:
                state.update(best=epoch, best_model=plain(trainer.method.model.state_dict()))
            if speaks and row["val_spread"] < COLLAPSED and row["epoch"] > config.warmup_epochs:
                warnings.warn(
                    f"epoch {row['epoch']}: the features collapse: their spread is {row['val_spread']:.3f} of 1/√d (1 "
                    "is even, 0 is one point); lower lr, raise batch_size or check that the inputs are normalised",
                    RuntimeWarning,
                    stacklevel=2,
                )
            together(fabric, lambda: _save(trainer, job, state))
            late = fabric.broadcast(lasted > 60 * job.max_minutes)
    complete = len(history) == config.epochs
    if complete:
        together(fabric, lambda: _export(trainer, job, state))
    return PretrainResult(job.folder, history[state["best"]], state["seconds"], complete)


def _build(fabric: Fabric, job: _Job, saved: dict[str, Any] | None) -> Trainer:
    """Model and optimiser, with the saved weights and moments where there are any."""
    config, data = job.config, job.data
    with seeded(config.seed):
        method = make_method(config, data.statistics)
    batch_norm = any(isinstance(module, _BatchNorm) for module in method.model.modules())
    if config.micro_batch and batch_norm and config.batch_norm != "frozen":
        warnings.warn(
            f"micro_batch {config.micro_batch}: BatchNorm takes its statistics from a micro-batch, which both "
            "views of a pair share and its negatives do not, a shortcut for the loss; batch_norm=frozen or a "
            "network with LayerNorm has none",
            RuntimeWarning,
            stacklevel=2,
        )
    if saved:
        method.model.load_state_dict(saved["model"])
    model = prepare(config, method.model, fabric, job.compile)
    model, optimizer = fabric.setup(model, make_optimizer(config, method.model))
    if saved:
        optimizer.load_state_dict(saved["optimizer"])
    world, catalog = fabric.world_size, data.source.catalog
    equal = len(data.held_out) // world * world  # as many for each rank
    rows = data.held_out[fabric.global_rank : equal : world]
    held_out = PatchDataset(data.source, rows, config.image_size, "centre", statistics=data.statistics)
    return Trainer(fabric, method, model, optimizer, Overlaps(catalog), held_out, catalog["id"], job.folder)


def _save(trainer: Trainer, job: _Job, state: dict[str, Any]) -> None:
    now = {
        "model": trainer.method.model.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "made_of": job.made_of,
        "code": training_code(),
    }
    save_state(job.state, state | now)
    _write_history(job.folder, state["history"])


def _write_history(folder: Path, rows: list[dict[str, float]]) -> None:
    table = pd.DataFrame(rows).to_csv(index=False, float_format="%.6g", lineterminator="\n")
    write_text(folder / "metrics.csv", table)  # as a whole: a resumed run never repeats a line


def _export(trainer: Trainer, job: _Job, state: dict[str, Any]) -> None:
    """Write the encoders of the best epoch, then drop the state: the run is complete."""
    trainer.method.model.load_state_dict(state["best_model"])
    _write(trainer.method, job.data, job.folder, state["history"][state["best"]], state["seconds"])
    job.state.unlink(missing_ok=True)


def _write(method: Method, data: PretrainData, folder: Path, row: dict[str, float], seconds: float) -> None:
    facts = {"data": data.describe(), "epoch": int(row["epoch"]), "select": SELECT, "metrics": row}
    facts |= {"seconds": seconds, "commit": commit(), "versions": versions()}
    save_pretrained(method, data.statistics, folder, **facts)
