"""`finetune`: from a configuration and a labelled data set to one line of results.

Validation chooses the weights; the test set is read once, after the last weight was chosen.
"""

import itertools
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric

from eo_ssl.data.splits import check_disjoint, label_fraction
from eo_ssl.errors import EOError
from eo_ssl.evaluate.once import TestOnce
from eo_ssl.files import atomic_path
from eo_ssl.train.devices import device_type, resolve_precision
from eo_ssl.train.finetune_config import FinetuneConfig
from eo_ssl.train.finetune_data import Patches, load_patches
from eo_ssl.train.finetune_fit import Fit, fit
from eo_ssl.train.finetune_frozen import backbone_hash
from eo_ssl.train.finetune_models import Downstream, build, parameter_groups
from eo_ssl.train.finetune_save import TrainedEnsemble, load_trained, save_trained
from eo_ssl.train.finetune_streams import FeatureStream, PatchStream, Stream
from eo_ssl.train.finetune_tasks import Evaluation, evaluate, loss_function

Result = dict[str, Any]
PANEL = 12  # test patches whose predicted maps are kept for the qualitative panel
CPU_WATTS = 10.0  # per busy core, for the energy estimate
GPU_WATTS = 400.0
_TRAININGS = itertools.count(1)


@dataclass
class LabelledData:
    """The labelled splits of a source, read once per process; the test set only through its guard."""

    source: Any
    version: str = ""
    train: Patches = field(init=False)
    val: Patches = field(init=False)
    test: TestOnce[Patches] = field(init=False)

    def __post_init__(self) -> None:
        catalog = self.source.catalog
        for left, right in (("train", "val"), ("train", "test"), ("val", "test")):
            check_disjoint(catalog, left, right)
        rows = {name: np.flatnonzero(catalog["split"] == name).tolist() for name in ("train", "val", "test")}
        self.train, self.val = (load_patches(self.source, rows[name]) for name in ("train", "val"))
        self.labels = self.train.labels()
        loaded: list[Patches] = []

        def load() -> Patches:
            if not loaded:
                loaded.append(load_patches(self.source, rows["test"]))
            return loaded[0]

        self.test = TestOnce(load)

    def fraction(self, share: float, seed: int) -> list[int]:
        """Catalogue rows of a label fraction: unique patches, stratified, nested over fractions."""
        return label_fraction(self.train.rows, self.labels.tolist(), share, seed)


def finetune(
    config: FinetuneConfig,
    source: Any,
    run_dir: str | Path | None = None,
    *,
    name: str = "",
    accelerator: str = "auto",
    test: bool = True,
    keep: bool = False,
    save_seconds: float = 60.0,
) -> Result:
    """Train one downstream model and return its line for `results.jsonl`.

    Args:
        source: a data source, or `LabelledData` where many models share one.
        run_dir: where features, counts, state and kept models go; None keeps everything in memory.
        name: unique name of the model; by default the digest of its configuration.
        test: False leaves the test set closed, as for the choice of a learning rate.
        keep: save the trained model to `run_dir/models/<name>`.
        save_seconds: an interrupted run goes on from a state not older than about this.
    """
    began = time.perf_counter()
    data = source if isinstance(source, LabelledData) else LabelledData(source)
    name, folder = name or config.digest(), Path(run_dir) if run_dir is not None else None
    fabric = _fabric(config, accelerator)
    down = build(config, data.source, fabric.device)
    frozen = backbone_hash(down.model.backbone) if config.mode == "frozen" else ""
    rows = data.fraction(config.fraction, config.seed)
    stream = _stream(config, down, data, rows, fabric, folder)
    found = _train(config, fabric, stream, data.val, inside(folder, "state", name), save_seconds)
    if frozen and backbone_hash(down.model.backbone) != frozen:
        raise EOError(f"{name}: the frozen backbone changed while the head was trained; this is a bug")
    line = _line(config, found, len(rows), down, fabric)
    if test:
        line |= _test(name, config, fabric, stream, data, folder)
    if keep and folder is not None:
        save_trained(down, config, inside(folder, "models", name), line)
    seconds = time.perf_counter() - began
    return {**line, "seconds": round(seconds, 2), "energy_wh": round(_watts(fabric) * seconds / 3600, 4)}


def _fabric(config: FinetuneConfig, accelerator: str) -> Fabric:
    logging.getLogger("lightning_utilities.core.rank_zero").setLevel(logging.WARNING)  # bf16, each time
    device = device_type(accelerator)
    precision = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}[resolve_precision(config, device)]
    return Fabric(accelerator=device, devices=1, precision=precision)


def inside(folder: Path | None, kind: str, name: str) -> Path | None:
    """Where files of the model `name` go."""
    return folder / kind / name.replace(" ", "_").replace("/", "-") if folder is not None else None


def _stream(
    config: FinetuneConfig,
    down: Downstream,
    data: LabelledData,
    rows: list[int],
    fabric: Fabric,
    folder: Path | None,
) -> Stream:
    place = {row: i for i, row in enumerate(data.train.rows)}
    chosen = torch.tensor([place[row] for row in rows])
    if config.mode == "frozen" and config.task != "segment":

        def encode(batch: dict[str, torch.Tensor]) -> torch.Tensor:
            with fabric.autocast():
                return down.model.eval().encode(batch)

        cache = folder / "features" if folder is not None else None
        return FeatureStream(
            config, down, data.train, chosen, data.labels[chosen], encode, cache, data.version
        )
    return PatchStream(config, down, data.train.select(rows), data.labels[chosen])


def _train(
    config: FinetuneConfig,
    fabric: Fabric,
    stream: Stream,
    val: Patches,
    state: Path | None,
    save_seconds: float,
) -> Fit:
    def validate() -> dict[str, Any]:
        return stream.evaluate(_forward(fabric, stream), val, config.val_tiles).metrics

    model = stream.model
    groups = _groups(config, stream)
    loss = loss_function(config)
    found = fit(fabric, model, groups, loss, stream.batch, validate, config, state, save_seconds)
    if isinstance(stream, FeatureStream):
        stream.model.fold()
    return found


def _groups(config: FinetuneConfig, stream: Stream) -> list[dict[str, Any]]:
    if isinstance(stream, FeatureStream):
        groups = {p.ndim > 1: p for p in stream.model.parameters()}
        decay = {True: config.weight_decay, False: 0.0}
        rate = {"lr": config.lr_head, "peak": config.lr_head}
        return [{"params": [p], **rate, "weight_decay": decay[matrix]} for matrix, p in groups.items()]
    return parameter_groups(stream.model, config)


def _forward(fabric: Fabric, stream: Stream) -> Any:
    def forward(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        with fabric.autocast():
            return stream.model(batch)

    stream.model.eval()
    return forward


def _line(config: FinetuneConfig, found: Fit, labels: int, down: Downstream, fabric: Fabric) -> Result:
    return {
        "task": config.task, "model": config.model, "mode": config.mode, "pretrained": down.pretrained,
        "fraction": config.fraction, "n_labels": labels, "seed": config.seed, "lr": config.lr_head,
        "val": found.metrics, "val_score": found.score, "best_update": found.step,
        "updates": found.history[-1]["step"], "history": [[h["step"], h[config.select_by]] for h in
        found.history], "device": str(fabric.device.type), "config": config.to_dict(),
    }  # fmt: skip


def _test(
    name: str, config: FinetuneConfig, fabric: Fabric, stream: Stream, data: LabelledData, folder: Path | None
) -> Result:
    trained = f"{name}, training {next(_TRAININGS)}"  # training again makes another model
    patches = data.test.read(trained)
    found = stream.evaluate(_forward(fabric, stream), patches, config.test_tiles, PANEL)
    save_counts(inside(folder, "counts", name), found, patches)
    return {"test": found.metrics, "test_reads": data.test.require_one(trained)}


def test_trained(
    name: str,
    members: Sequence[Path],
    data: LabelledData,
    run_dir: Path,
    accelerator: str = "auto",
    val: bool = False,
) -> Result:
    """Test a kept model, or the mean probability of several, that has not seen the test set yet.

    Returns "test" and, with `val`, "val" metrics. All members must solve the same task on the same crop.
    """
    device = torch.device(device_type(accelerator))
    loaded = [load_trained(folder, device) for folder in members]
    config = loaded[0][1]
    fabric = _fabric(config, accelerator)
    model = TrainedEnsemble([down for down, _ in loaded]) if len(loaded) > 1 else loaded[0][0].model
    prepare = (lambda batch: batch) if len(loaded) > 1 else loaded[0][0].prepare

    def forward(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        with fabric.autocast():
            return model(batch)

    line: Result = {}
    if val:
        line["val"] = evaluate(config, forward, prepare, data.val, config.val_tiles).metrics
        line["val_score"] = line["val"][config.select_by]
    patches = data.test.read(name)
    found = evaluate(config, forward, prepare, patches, config.test_tiles, PANEL)
    save_counts(inside(run_dir, "counts", name), found, patches)
    return {**line, "test": found.metrics, "test_reads": data.test.require_one(name)}


test_trained.__test__ = False  # type: ignore[attr-defined]  # its name makes pytest think it is a test


def save_counts(path: Path | None, found: Evaluation, patches: Patches) -> None:
    """Counts per test patch, from which intervals are drawn, and a few predicted maps; `<path>.npz`."""
    if path is None:
        return
    group = np.unique(patches.group.astype(str), return_inverse=True)[1]
    rows = np.array(patches.rows)
    maps = {f"map_{row}": value.numpy() for row, value in found.maps.items()}
    with atomic_path(path.with_name(f"{path.name}.npz")) as target, open(target, "wb") as file:
        np.savez_compressed(
            file, counts=found.counts.numpy().astype(np.int32), rows=rows, group=group, **maps
        )


def _watts(fabric: Fabric) -> float:
    return GPU_WATTS if fabric.device.type == "cuda" else CPU_WATTS * torch.get_num_threads()
