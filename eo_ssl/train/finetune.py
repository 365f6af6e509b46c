"""`finetune`: from a configuration and a labelled data set to one line of results.

Validation chooses the weights; the test set is read once, after the last weight was chosen.
"""

import time
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric

from eo_ssl.errors import EOError
from eo_ssl.train.finetune_config import FinetuneConfig
from eo_ssl.train.finetune_data import Patches
from eo_ssl.train.finetune_fit import Fit, fit
from eo_ssl.train.finetune_frozen import backbone_hash
from eo_ssl.train.finetune_labelled import LabelledData
from eo_ssl.train.finetune_models import Downstream, build, parameter_groups
from eo_ssl.train.finetune_save import save_trained
from eo_ssl.train.finetune_streams import FeatureStream, PatchStream, Stream
from eo_ssl.train.finetune_tasks import loss_function
from eo_ssl.train.finetune_testing import PANEL, inside, make_fabric, save_counts, test_trained

__all__ = ["LabelledData", "finetune", "inside", "test_trained"]

Result = dict[str, Any]
CPU_WATTS = 10.0  # per busy core, for the energy estimate
GPU_WATTS = 400.0


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
    fabric = make_fabric(config, accelerator)
    data.to(fabric.device)
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
        "samples_per_s": round(found.history[-1]["step"] * config.batch_size / max(found.seconds, 1e-9), 1),
        **({"micro_batch": found.micro_batch} if found.micro_batch else {}),
    }  # fmt: skip


def _test(
    name: str, config: FinetuneConfig, fabric: Fabric, stream: Stream, data: LabelledData, folder: Path | None
) -> Result:
    patches = data.test
    found = stream.evaluate(_forward(fabric, stream), patches, config.test_tiles, PANEL)
    save_counts(inside(folder, "counts", name), found, patches)
    return {"test": found.metrics, "test_reads": 1}


def _watts(fabric: Fabric) -> float:
    return GPU_WATTS if fabric.device.type == "cuda" else CPU_WATTS * torch.get_num_threads()
