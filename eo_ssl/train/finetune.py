"""`finetune`: from a configuration and a labelled data set to one line of results.

Validation chooses the weights; the test split is read once, after the last weight was chosen.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from eo_ssl.errors import ConfigError, EOError
from eo_ssl.evaluate.predict import predict_maps, predict_tiles
from eo_ssl.files import atomic_path
from eo_ssl.provenance import training_code
from eo_ssl.train.checkpoint import load_state, plain, save_state
from eo_ssl.train.config import FinetuneConfig, digest
from eo_ssl.train.devices import device_type, make_fabric
from eo_ssl.train.downstream import (
    Downstream,
    build,
    ensemble,
    init_stamp,
    load_trained,
    parameter_groups,
    save_trained,
)
from eo_ssl.train.frozen import FeatureStream, backbone_hash
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
from eo_ssl.train.step import backward_pass, learning_rate, mixed_seed, seeded

Result = dict[str, Any]
PANEL = 12  # test patches whose predicted maps are kept for the qualitative panel
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
    """Train one downstream model and return its line for `results.jsonl`, which it does not write.

    Args:
        source: a data source, or `LabelledData` where many models share one.
        run_dir: where features, counts, state and kept models go; None keeps everything in memory.
        name: unique name of the model; by default the digest of its configuration.
        test: False leaves the test set closed, as for the choice of a learning rate.
        keep: save the trained model to `run_dir/models/<name>`.
        save_seconds: an interrupted run of the same settings, data, starting weights and code goes on from a
            state not older than about this.

    Raises `ConfigError`, `DataError` or `CheckpointError` before any work when something does not fit.
    """
    began = time.perf_counter()
    size = source.source.patch_size if isinstance(source, LabelledData) else source.patch_size
    if config.image_size > size:
        raise ConfigError(f"image_size {config.image_size} is larger than the patches ({size} px); lower it")
    name, folder = name or config.digest(), Path(run_dir) if run_dir is not None else None
    fabric = make_fabric(config.precision, accelerator=accelerator)
    data = source if isinstance(source, LabelledData) else LabelledData(source)
    data.to(fabric.device)
    down = build(config, data.source, fabric.device)
    frozen = backbone_hash(down.model.backbone) if config.mode == "frozen" else ""
    rows = data.fraction(config.fraction, config.seed)
    stream = _stream(config, down, data, rows, fabric, folder)
    state = inside(folder, "state", f"{name}.pt")
    made_of = [{**config.identity(), "init": init_stamp(config.init)}, data.version, rows, training_code()]
    found = fit(
        fabric, stream, lambda: stream.score(data.val, config.val_tiles).metrics, config, state,
        digest(*made_of), save_seconds,
    )  # fmt: skip
    if isinstance(stream, FeatureStream):
        stream.model.fold()
    if frozen and backbone_hash(down.model.backbone) != frozen:
        raise EOError(f"{name}: the frozen backbone changed while the head was trained; this is a bug")
    line = {
        "task": config.task,
        "model": config.model,
        "mode": config.mode,
        "pretrained": down.pretrained,
        "fraction": config.fraction,
        "n_labels": len(rows),
        "seed": config.seed,
        "lr": config.lr_head,
        "val": found.metrics,
        "val_score": found.score,
        "best_update": found.step,
        "updates": config.updates,
        "history": [[look["step"], look[config.select_by]] for look in found.history],
        "device": fabric.device.type,
        "config": config.to_dict(),
        "samples_per_s": round(config.updates * config.batch_size / max(found.seconds, 1e-9), 1),
    }
    if test:
        line |= _tested(stream.score(data.test, config.test_tiles, PANEL), data.test, name, folder)
    if keep and folder is not None:
        save_trained(down, line, inside(folder, "models", name))
    if state is not None:
        state.unlink(missing_ok=True)
    seconds = time.perf_counter() - began
    watts = GPU_WATTS if fabric.device.type == "cuda" else CPU_WATTS * torch.get_num_threads()
    return {**line, "seconds": round(seconds, 2), "energy_wh": round(watts * seconds / 3600, 4)}


@dataclass
class PatchStream:
    """Random crops, drawn and augmented anew for every update; scores over tiled patches."""

    config: FinetuneConfig
    down: Downstream
    train: Patches
    labels: Tensor  # (N,) majority class of each training patch
    forward: Callable[[Batch], Tensor]

    @property
    def model(self) -> nn.Module:
        """What is trained."""
        return self.down.model

    def batch(self, step: int) -> Batch:
        """Batch number `step`, normalised, on the device."""
        c = self.config
        generator = torch.Generator().manual_seed(mixed_seed(c.seed, step, 4))
        which = draw_patches(self.labels, c.batch_size, c.balanced, c.seed, step)
        return self.down.prepare(random_crops(self.train, which, c.image_size, generator, c.augment))

    def score(self, patches: Patches, limit: int, keep_maps: int = 0) -> Evaluation:
        """Metrics over `limit` tiles of each patch (0: all)."""
        return evaluate(self.config, self.forward, self.down.prepare, patches, limit, keep_maps)


def _stream(
    config: FinetuneConfig,
    down: Downstream,
    data: LabelledData,
    rows: list[int],
    fabric: Fabric,
    folder: Path | None,
) -> PatchStream | FeatureStream:
    place = {row: i for i, row in enumerate(data.train.rows)}
    chosen = torch.tensor([place[row] for row in rows])
    if config.mode == "finetune" or config.task == "segment":
        forward = _autocast(fabric, down.model)
        return PatchStream(config, down, data.train.select(rows), data.labels[chosen], forward)
    encode, cache = _autocast(fabric, down.model.encode), inside(folder, "features", "")
    key = f"{data.version} {backbone_hash(down.model.backbone)} {down.statistics} {config.image_size} "
    down.model.eval()
    return FeatureStream(
        config, down.model.head, data, chosen, lambda batch: encode(down.prepare(batch)),
        key + training_code(), cache,
    )  # fmt: skip


def _autocast(fabric: Fabric, function: Callable[[Batch], Tensor]) -> Callable[[Batch], Tensor]:
    """The function in the precision of the run."""

    def forward(batch: Batch) -> Tensor:
        with fabric.autocast():
            return function(batch)

    return forward


@dataclass
class Fit:
    """What training chose: the update with the best validation score, and every look at validation."""

    score: float = -1.0
    step: int = 0
    metrics: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0  # in updates, without the looks at validation


def fit(
    fabric: Fabric,
    stream: PatchStream | FeatureStream,
    validate: Callable[[], dict[str, Any]],
    config: FinetuneConfig,
    state: Path | None = None,
    stamp: str = "",
    save_seconds: float = 60.0,
) -> Fit:
    """Train for `config.updates` updates and leave the best validated weights in `stream.model`.

    With a `state` file the run can be killed and called again: it goes on from the last look at validation
    and ends with the same weights (CPU), if the `stamp` is that of the state. Raises `EOError` when the loss
    is no longer finite.
    """
    model, loss_of = stream.model, task_loss(config.task)
    # Fused: a tenth faster where the network is small; fp16 needs the gradients unscaled in between.
    optimiser = torch.optim.AdamW(parameter_groups(model, config), fused=config.precision != "16")
    wrapped, optimiser = fabric.setup(model, optimiser)
    found, best, start = Fit(), plain(model.state_dict()), 0
    saved = load_state(state, "stamp") if state is not None else None
    if saved and saved["stamp"] == stamp:
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        found, best = Fit(**saved["found"]), saved["best"]
        start = int(found.history[-1]["step"])
    written = began = time.monotonic()
    for step in range(start, config.updates):
        loss = update(fabric, wrapped, optimiser, loss_of, stream.batch, config, step)
        if (step + 1) % config.eval_every and step + 1 < config.updates:
            continue
        if not torch.isfinite(loss):
            raise EOError(f"the loss is {float(loss)} after {step + 1} updates; lower the learning rate")
        found.seconds += time.monotonic() - began
        model.eval()
        if _look(found, validate(), config, step + 1, float(loss)):
            best = plain(model.state_dict())
        if state is not None and time.monotonic() - written >= save_seconds:
            now = {"model": model.state_dict(), "best": best, "optimiser": optimiser.state_dict()}
            save_state(state, {**now, "found": asdict(found), "stamp": stamp})
            written = time.monotonic()
        began = time.monotonic()
    model.load_state_dict(best)
    model.eval()
    return found


def update(
    fabric: Fabric,
    model: Any,
    optimiser: Any,
    loss_of: Callable[[Tensor, Batch], Tensor],
    batches: Callable[[int], Batch],
    config: FinetuneConfig,
    step: int,
) -> Tensor:
    """One update on batch number `step`; drop-path and dropout draw numbers that depend on seed and step only."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(step, config.updates, config.warmup, group["peak"], 0.0)
    model.train()
    optimiser.zero_grad(set_to_none=True)
    with seeded(config.seed, step, 3):
        batch = batches(step)

        def whole_loss(logits: Tensor, _: None) -> Tensor:
            return loss_of(logits, batch)

        loss = backward_pass(fabric, model, whole_loss, batch, None, config.micro_batch)
    fabric.clip_gradients(model, optimiser, max_norm=1.0, error_if_nonfinite=False)
    optimiser.step()
    return loss


def _look(found: Fit, metrics: dict[str, Any], config: FinetuneConfig, step: int, loss: float) -> bool:
    """Write down a look at validation; True if it is the best so far."""
    score = metrics[config.select_by]
    if score is None:
        raise EOError(f"validation has no labels for {config.select_by}; the model cannot be chosen")
    found.history.append({"step": step, "loss": loss, config.select_by: score})
    if score <= found.score:
        return False
    found.score, found.step, found.metrics = score, step, metrics
    return True


def evaluate(
    config: FinetuneConfig,
    model: Callable[[Batch], Tensor],
    prepare: Callable[[Batch], Batch],
    patches: Patches,
    limit: int = 0,
    keep_maps: int = 0,
) -> Evaluation:
    """Metrics of a model over tiled patches; `limit` tiles per patch (0: all)."""
    size = config.image_size
    if config.task != "segment":
        return score_tiles(config, predict_tiles(model, prepare, patches, size, limit), len(patches))
    found = score_maps(predict_maps(model, prepare, patches, size, limit))
    if keep_maps:  # whole, however few tiles are scored
        chosen = patches.select(patches.rows[:: max(1, len(patches) // keep_maps)][:keep_maps])
        shown = predict_maps(model, prepare, chosen, size)
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

    def score(patches: Patches, limit: int, keep_maps: int = 0) -> Evaluation:
        return evaluate(config, forward, lambda batch: batch, patches, limit, keep_maps)

    line: Result = {}
    if val:
        line["val"] = score(data.val, config.val_tiles).metrics
        line["val_score"] = line["val"][config.select_by]
    return {**line, **_tested(score(data.test, config.test_tiles, PANEL), data.test, name, run_dir)}


test_trained.__test__ = False  # type: ignore[attr-defined]  # its name makes pytest think it is a test


def inside(folder: Path | None, kind: str, name: str) -> Path | None:
    """Where files of the model `name` go."""
    return folder / kind / name.replace(" ", "_").replace("/", "-") if folder is not None else None


def _tested(found: Evaluation, patches: Patches, name: str, folder: Path | None) -> Result:
    """The test's part of a line; counts per patch, from which intervals are drawn, and a few maps go to a file."""
    path = inside(folder, "counts", f"{name}.npz")
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
