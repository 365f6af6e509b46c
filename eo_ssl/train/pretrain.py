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
History = list[dict[str, float]]  # a row per epoch
RESUME = "resume.pt"
STATE = ("model", "best_model", "optimizer", "history", "made_of", "code")  # what is in it


@dataclass(frozen=True)
class PretrainData:
    """Rows of the catalogue to train a configuration on, and for the look at held-out pairs."""

    config: PretrainConfig
    source: Any
    train: list[int]
    held_out: list[int]

    @cached_property
    def statistics(self) -> Statistics:
        """Mean and deviation per band of the training scenes."""
        return self.source.stats("pretrain")

    @cached_property
    def made_of(self) -> dict[str, Any]:
        """The settings and data that decide which model comes out: data of other patches or statistics differ."""
        attrs, ids = self.source.catalog.attrs, self.source.catalog["id"].astype(str).to_numpy()
        name = f"{attrs.get('name') or 'data'} {attrs.get('version') or ''}".strip()
        what = digest(ids[self.train].tolist(), ids[self.held_out].tolist(), self.statistics.to_dict())
        data = f"{name}: {len(self.train):,} pairs, {len(self.held_out):,} held out ({what})"
        return {**self.config.identity(), "data": data}

    def loader(self, rank: int = 0, world: int = 1, workers: int = 0) -> Loader:
        """Batches of batch_size / world standardised random crops; an incomplete last batch is left out.

        A pure function of seed, epoch and row.
        """
        config, options = self.config, {"seed": self.config.seed, "statistics": self.statistics}
        crops = PatchDataset(self.source, self.train, config.image_size, "random", **options)
        return Loader(crops, config.batch_size // world, True, True, config.seed, workers, rank, world)


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
    return PretrainData(config, source, train.tolist(), evenly(held_out, HELD_OUT).tolist())


@dataclass(frozen=True)
class PretrainResult:
    """Where the run is, and what the chosen epoch reached; a run that stopped at `max_minutes` is not `done`."""

    folder: Path
    metrics: dict[str, float]
    done: bool = True


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
    data, folder = pretraining_rows(source, config), _place(config, run_dir)
    fabric = make_fabric(config.precision, devices, nodes, accelerator)
    done, afresh = _earlier(data, folder, replace_other) if resume else (None, "resume is off")
    if done:
        return done
    make_method(config)  # unknown backbones and impossible sizes fail here, in one process
    if afresh and resume and fabric.is_global_zero:
        print(f"{folder}: {afresh}; training afresh")
    limit = math.inf if max_minutes is None else 60 * max_minutes
    return fabric.launch(_train, data, folder, bool(afresh), compile, workers, progress, limit)


def finished(config: PretrainConfig, source: Any, run_dir: str | Path) -> bool:
    """Whether the run folder holds this very pretraining, of these settings, data and code."""
    return _earlier(pretraining_rows(source, config), _place(config, run_dir), True)[0] is not None


def keep(config: PretrainConfig, source: Any, run_dir: str | Path, history: pd.DataFrame) -> Path:
    """Take what `eo_ssl.dual_simclr.save` wrote into the run's folder for the pretraining of `config`: `finished`.

    Adds what later chapters ask for: settings, statistics, data, the code that trained it, and the table of epochs.
    """
    data, folder, rows = pretraining_rows(source, config), _place(config, run_dir), history.to_dict("records")
    method = make_method(config, data.statistics)
    encoders, heads = (load_file(folder / f"{name}.safetensors") for name in ("model", "heads"))
    method.model.load_state_dict({f"encoder.{name}": value for name, value in encoders.items()} | heads)
    _write_table(folder, rows)
    _export(method, data, folder, rows)
    return folder


def _place(config: PretrainConfig, run_dir: str | Path) -> Path:
    return pretrain_folder(run_dir, config.name, config.backbone, config.seed)


def _earlier(data: PretrainData, folder: Path, replace_other: bool) -> tuple[PretrainResult | None, str]:
    """The result of an earlier run if it is finished and this one's, or why what it left does not count."""
    meta = read_meta(folder) if (folder / "config.json").exists() else None
    if meta:
        made_of, code = {**meta["config"], "data": meta.get("data")}, meta.get("code")
    elif state := load_state(folder / RESUME, *STATE):
        made_of, code = state["made_of"], state["code"]
    else:
        return None, ""
    if other := [f"{k} is {made_of.get(k)}, not {v}" for k, v in data.made_of.items() if made_of.get(k) != v]:
        why = f"another model: {'; '.join(other)}"
        if not replace_other:
            advice = "choose another run_dir, or start afresh with resume=False (--no-resume)"
            raise CheckpointError(f"{folder}: {why}; {advice}")
        return None, why
    if code != training_code():
        return None, f"made by other code ({code or 'unknown'}, now {training_code()})"
    if not meta:
        return None, ""
    (folder / RESUME).unlink(missing_ok=True)  # left by a kill after the export
    return PretrainResult(folder, meta.get("metrics", {})), ""


def _train(
    fabric: Fabric,
    data: PretrainData,
    folder: Path,
    afresh: bool,
    compile: bool,
    workers: int,
    progress: bool,
    limit: float,
) -> PretrainResult:
    """What every process does: build, take up an earlier state, train and save epoch after epoch, export."""
    began, config, resume = time.perf_counter(), data.config, folder / RESUME
    if afresh:
        together(fabric, lambda: [path.unlink(missing_ok=True) for path in (folder / "config.json", resume)])
    saved = load_state(resume, *STATE)
    trainer = _build(fabric, data, folder, compile, saved)
    state: dict[str, Any] = saved or {"history": [], "best_model": {}}
    history: History = state["history"]
    earlier = history[-1]["seconds"] if history else 0.0
    loader = data.loader(fabric.global_rank, fabric.world_size, workers)
    updates, speaks, late = len(loader), fabric.is_global_zero, False
    label, done = f"{config.name} {config.backbone}", len(history) * updates
    with progress_bar(label, config.epochs * updates, done, progress and speaks) as bar:
        while len(history) < config.epochs and not late:
            epoch = len(history)
            with seeded(config.seed, epoch, fabric.global_rank):
                row = {"epoch": epoch + 1, **train_epoch(trainer, loader, epoch, bar)}
                row |= held_out_metrics(trainer)
            lasted = time.perf_counter() - began
            row["seconds"] = earlier + lasted
            if all(row[SELECT] > other[SELECT] for other in history):
                state["best_model"] = plain(trainer.method.model.state_dict())
            history.append(row)
            if speaks and row["val_spread"] < COLLAPSED and row["epoch"] > config.warmup_epochs:
                warnings.warn(
                    f"epoch {row['epoch']}: the features collapse: their spread is {row['val_spread']:.3f} of 1/√d (1 "
                    "is even, 0 is one point); lower lr, raise batch_size or check that the inputs are normalised",
                    RuntimeWarning,
                    stacklevel=2,
                )
            together(fabric, lambda: _save(trainer, data, state))
            late = fabric.broadcast(lasted > limit)
    complete = len(history) == config.epochs
    if complete:
        trainer.method.model.load_state_dict(state["best_model"])
        together(fabric, lambda: _export(trainer.method, data, folder, history))
        together(fabric, lambda: resume.unlink(missing_ok=True))
    return PretrainResult(folder, _best(history), complete)


def _build(
    fabric: Fabric, data: PretrainData, folder: Path, compile: bool, saved: dict[str, Any] | None
) -> Trainer:
    """Model and optimiser, with the saved weights and moments where there are any."""
    config = data.config
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
    model = prepare(config, method.model, fabric, compile)
    model, optimizer = fabric.setup(model, make_optimizer(config, method.model))
    if saved:
        optimizer.load_state_dict(saved["optimizer"])
    world, catalog = fabric.world_size, data.source.catalog
    equal = len(data.held_out) // world * world  # as many for each rank
    rows = data.held_out[fabric.global_rank : equal : world]
    held_out = PatchDataset(data.source, rows, config.image_size, "centre", statistics=data.statistics)
    return Trainer(fabric, method, model, optimizer, Overlaps(catalog), held_out, catalog["id"], folder)


def _save(trainer: Trainer, data: PretrainData, state: dict[str, Any]) -> None:
    now = {"model": trainer.method.model.state_dict(), "optimizer": trainer.optimizer.state_dict()}
    now |= {"made_of": data.made_of, "code": training_code()}
    save_state(trainer.folder / RESUME, state | now)
    _write_table(trainer.folder, state["history"])


def _best(history: History) -> dict[str, float]:
    """The row of the epoch that is exported."""
    return max(history, key=lambda row: row[SELECT])


def _write_table(folder: Path, history: History) -> None:
    table = pd.DataFrame(history).to_csv(index=False, float_format="%.6g", lineterminator="\n")
    write_text(folder / "metrics.csv", table)  # as a whole: a resumed run never repeats a line


def _export(method: Method, data: PretrainData, folder: Path, history: History) -> None:
    """Write the method as it was in its best epoch: the run is complete."""
    row = _best(history)
    facts = {"data": data.made_of["data"], "epoch": int(row["epoch"]), "select": SELECT, "metrics": row}
    facts |= {"seconds": history[-1]["seconds"], "commit": commit(), "versions": versions()}
    save_pretrained(method, data.statistics, folder, **facts)
