"""`finetune`: from a configuration and a labelled data set to one line of results.

Validation chooses the weights; the test split is read once, after the last weight was chosen.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from eo_ssl.errors import ConfigError, DivergedError, EOError
from eo_ssl.evaluate.predict import predict_maps, predict_tiles
from eo_ssl.files import atomic_path, inside
from eo_ssl.provenance import training_code
from eo_ssl.train.checkpoint import load_state, plain, save_state, write_model
from eo_ssl.train.config import SELECT_BY, FinetuneConfig, digest
from eo_ssl.train.devices import device_type, make_fabric
from eo_ssl.train.downstream import (
    Downstream,
    build,
    ensemble,
    init_stamp,
    load_trained,
    parameter_groups,
)
from eo_ssl.train.frozen import FeatureStream
from eo_ssl.train.labelled import (
    Batch,
    Evaluation,
    LabelledData,
    Patches,
    draw_patches,
    random_crops,
    score_maps,
    score_tiles,
    task_loss,
)
from eo_ssl.train.step import backward_pass, learning_rate, seeded

Result = dict[str, Any]
PANEL = 12  # test patches whose predicted maps are kept for the qualitative panel


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
    """Train one downstream model and return its line for `results.jsonl`, which it does not write.

    Args:
        source: a data source, or `LabelledData` where many models share one.
        run_dir: where features, counts, state and kept models go; None keeps everything in memory.
        name: unique name of the model; by default the digest of its configuration.
        test: False leaves the test set closed, as for the choice of a learning rate.
        keep: save the trained model to `run_dir/models/<name>`.
        save_seconds: an interrupted run of the same settings, data, start and code goes on from a state this old.

    Raises `ConfigError`, `DataError` or `CheckpointError` before any work when something does not fit.
    """
    began = time.perf_counter()
    size = (source.source if isinstance(source, LabelledData) else source).patch_size
    if config.image_size > size:
        raise ConfigError(f"image_size {config.image_size} is larger than the patches ({size} px); lower it")
    name, folder = name or config.digest(), Path(run_dir) if run_dir is not None else None
    fabric = make_fabric(config.precision, accelerator=accelerator)
    data = source if isinstance(source, LabelledData) else LabelledData(source)
    data.to(fabric.device)
    down, rows = build(config, data.source, fabric.device), data.fraction(config.fraction, config.seed)
    state = folder and inside(folder, "state", f"{name}.pt")
    made_of = [{**config.identity(), "init": init_stamp(config.init)}, data.version, rows, training_code()]
    stamp, frozen = digest(*made_of), config.mode == "frozen"
    on_features = config.init != "scratch" and config.task != "segment"
    if on_features:
        # The head first, on the features as they are: a head of random numbers would spoil pretrained encoders.
        encode = _autocast(fabric, lambda batch: down.model.encode(down.prepare(batch)))
        kept = folder and inside(folder, "features", "")
        stream: Stream = FeatureStream(config, down, data, rows, encode, kept)
        found = fit(fabric, stream, data.val, state if frozen else None, stamp, save_seconds)
    if not (on_features and frozen):
        stream = PatchStream(config, down, data, rows, _autocast(fabric, down))
        found = fit(fabric, stream, data.val, state, stamp, save_seconds)
    line = {
        "task": config.task,
        "model": config.model,
        "mode": config.mode,
        "pretrained": down.pretrained,
        "fraction": config.fraction,
        "n_labels": len(rows),
        "seed": config.seed,
        "lr": config.lr_head,
        **found,
        "updates": config.updates,
        "device": fabric.device.type,
        "config": config.to_dict(),
    }
    if test:
        line |= _tested(stream.score(data.test, config.test_tiles, PANEL), data.test, name, folder)
    if keep and folder is not None:
        write_model(down, inside(folder, "models", name))
    if state is not None:
        state.unlink(missing_ok=True)
    return {**line, "seconds": round(time.perf_counter() - began, 2)}


class PatchStream:
    """Random crops, drawn and augmented anew for every update; scores over tiled patches.

    `forward` gives the logits of a batch in physical units.
    """

    def __init__(
        self,
        config: FinetuneConfig,
        down: Downstream,
        data: LabelledData,
        rows: Sequence[int],
        forward: Callable[[Batch], Tensor],
    ) -> None:
        self.config, self.model, self.prepare, self.forward = config, down.model, down.prepare, forward
        self.train, self.labels = data.train.select(rows), data.labels[data.train.positions(rows)]

    def batch(self, step: int) -> Batch:
        """Batch number `step`, normalised, on the device."""
        which, generator = draw_patches(self.labels, self.config, step)
        return self.prepare(random_crops(self.train, which, self.config.image_size, generator))

    def score(self, patches: Patches, limit: int, keep_maps: int = 0) -> Evaluation:
        """Metrics over `limit` tiles of each patch (0: all)."""
        return evaluate(self.config, self.forward, patches, limit, keep_maps)


Stream = PatchStream | FeatureStream


def _autocast(fabric: Fabric, function: Callable[[Batch], Tensor]) -> Callable[[Batch], Tensor]:
    """The function in the precision of the run."""

    def forward(batch: Batch) -> Tensor:
        with fabric.autocast():
            return function(batch)

    return forward


def fit(
    fabric: Fabric, stream: Stream, val: Patches, state: Path | None, stamp: str, save_seconds: float
) -> Result:
    """Train, and leave the best validated weights in `stream.model`; returns what the line says of validation.

    With a `state` file the run can be killed and called again: it goes on from the last look at validation
    and ends with the same weights (CPU), if the `stamp` is that of the state. Raises `DivergedError` when the loss
    is no longer finite.
    """
    config, model = stream.config, stream.model
    metric, every = SELECT_BY[config.task], -(-config.updates // config.evaluations)
    # Fused: a tenth faster where the network is small.
    optimiser = torch.optim.AdamW(parameter_groups(model, config), fused=True)
    wrapped, optimiser = fabric.setup(model, optimiser)
    found: Result = {"val_score": -1.0, "history": []}
    best: dict[str, Tensor] = {}
    saved = load_state(state, "stamp") if state is not None else None
    if saved and saved["stamp"] == stamp:
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        found, best = saved["found"], saved["best"]
    written = time.monotonic()
    for step in range(found["history"][-1][0] if found["history"] else 0, config.updates):
        loss = update(fabric, wrapped, optimiser, stream, step)
        if (step + 1) % every and step + 1 < config.updates:
            continue
        if not torch.isfinite(loss):
            raise DivergedError(
                f"the loss is {float(loss)} after {step + 1} updates; lower the learning rate"
            )
        model.eval()
        metrics = stream.score(val, config.val_tiles).metrics
        score = metrics[metric]
        if score is None:
            raise EOError(f"validation has no labels for {metric}; the model cannot be chosen")
        found["history"].append([step + 1, score])
        if score > found["val_score"]:
            found |= {"val_score": score, "best_update": step + 1, "val": metrics}
            best = plain(model.state_dict())
        if state is not None and time.monotonic() - written >= save_seconds:
            now = {"model": model.state_dict(), "best": best, "optimiser": optimiser.state_dict()}
            save_state(state, {**now, "found": found, "stamp": stamp})
            written = time.monotonic()
    model.load_state_dict(best)
    model.eval()
    return found


def update(
    fabric: Fabric, model: nn.Module, optimiser: torch.optim.Optimizer, stream: Stream, step: int
) -> Tensor:
    """One update on batch number `step`; drop-path and dropout draw numbers that depend on seed and step only."""
    config = stream.config
    warmup = max(1, config.updates // 10)
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(step, config.updates, warmup, group["peak"], 0.0)
    model.train()
    optimiser.zero_grad(set_to_none=True)
    with seeded(config.seed, step, 3):
        batch = stream.batch(step)
        loss_of = partial(task_loss, config.task, batch)
        loss = backward_pass(fabric, model, loss_of, batch, None, config.micro_batch)
    fabric.clip_gradients(model, optimiser, max_norm=1.0, error_if_nonfinite=False)
    optimiser.step()
    return loss


def evaluate(
    config: FinetuneConfig,
    forward: Callable[[Batch], Tensor],
    patches: Patches,
    limit: int = 0,
    keep_maps: int = 0,
) -> Evaluation:
    """Metrics over `limit` tiles per patch (0: all) of a function from physical units to logits."""
    size = config.image_size
    if config.task != "segment":
        return score_tiles(config, predict_tiles(forward, patches, size, limit), len(patches))
    found = score_maps(predict_maps(forward, patches, size, limit))
    if keep_maps:  # whole, however few tiles are scored
        chosen = patches.select(patches.rows[:: max(1, len(patches) // keep_maps)][:keep_maps])
        shown = predict_maps(forward, chosen, size)
        found.maps = {chosen.rows[i]: one.argmax(0).to(torch.uint8) for i, one, _ in shown}
    return found


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
    loaded = [load_trained(folder, device)[0] for folder in members]
    config = loaded[0].config
    fabric = make_fabric(config.precision, accelerator=accelerator)
    forward = _autocast(fabric, ensemble(loaded) if len(loaded) > 1 else loaded[0])
    line: Result = {}
    if val:
        line["val"] = evaluate(config, forward, data.val, config.val_tiles).metrics
        line["val_score"] = line["val"][SELECT_BY[config.task]]
    found = evaluate(config, forward, data.test, config.test_tiles, PANEL)
    return {**line, **_tested(found, data.test, name, run_dir)}


test_trained.__test__ = False  # type: ignore[attr-defined]  # its name makes pytest think it is a test


def _tested(found: Evaluation, patches: Patches, name: str, folder: Path | None) -> Result:
    """The test's part of a line; counts per patch, from which intervals are drawn, and a few maps go to a file."""
    path = folder and inside(folder, "counts", f"{name}.npz")
    if path is not None:
        group = np.unique(patches.group.astype(str), return_inverse=True)[1]
        arrays = {
            "counts": found.counts.numpy().astype(np.int32),
            "rows": np.array(patches.rows),
            "group": group,
        }
        arrays |= {f"map_{row}": value.numpy() for row, value in found.maps.items()}
        with atomic_path(path) as target, open(target, "wb") as file:
            np.savez_compressed(file, **arrays)
    return {"test": found.metrics, "test_reads": 1}
