"""Testing kept models and ensembles of them, and what is written down while testing."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from lightning_utilities.core import rank_zero

from eo_ssl.files import atomic_path
from eo_ssl.train.devices import device_type, resolve_precision
from eo_ssl.train.finetune_config import FinetuneConfig
from eo_ssl.train.finetune_data import Patches
from eo_ssl.train.finetune_labelled import LabelledData
from eo_ssl.train.finetune_save import TrainedEnsemble, load_trained
from eo_ssl.train.finetune_tasks import Evaluation, evaluate

Result = dict[str, Any]
PANEL = 12  # test patches whose predicted maps are kept for the qualitative panel


def make_fabric(config: FinetuneConfig, accelerator: str) -> Fabric:
    """One device, in the precision of the configuration."""
    rank_zero.log.setLevel(logging.WARNING)  # not "Using bfloat16 …" for each of a hundred models
    device = device_type(accelerator)
    precision = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}[resolve_precision(config, device)]
    return Fabric(accelerator=device, devices=1, precision=precision)


def inside(folder: Path | None, kind: str, name: str) -> Path | None:
    """Where files of the model `name` go."""
    return folder / kind / name.replace(" ", "_").replace("/", "-") if folder is not None else None


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
    data.to(device)
    loaded = [load_trained(folder, device) for folder in members]
    config = loaded[0][1]
    fabric = make_fabric(config, accelerator)
    model = TrainedEnsemble([down for down, _ in loaded]) if len(loaded) > 1 else loaded[0][0].model
    prepare = (lambda batch: batch) if len(loaded) > 1 else loaded[0][0].prepare

    def forward(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        with fabric.autocast():
            return model(batch)

    line: Result = {}
    if val:
        line["val"] = evaluate(config, forward, prepare, data.val, config.val_tiles).metrics
        line["val_score"] = line["val"][config.select_by]
    patches = data.test
    found = evaluate(config, forward, prepare, patches, config.test_tiles, PANEL)
    save_counts(inside(run_dir, "counts", name), found, patches)
    return {**line, "test": found.metrics, "test_reads": 1}


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
