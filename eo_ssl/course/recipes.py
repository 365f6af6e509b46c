"""Load or train: what the chapters share, so that any chapter runs alone and nothing is trained twice."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from eo_ssl.course.session import Run
from eo_ssl.data.pair import Pair
from eo_ssl.errors import DataError
from eo_ssl.sensors import S2_BANDS

if TYPE_CHECKING:
    from eo_ssl.data.statistics import Statistics
    from eo_ssl.train.methods import Method


def pretrained(run: Run, method: str, seed: int = 0) -> Path:
    """The folder of a pretrained method at the run's profile; trained with a progress bar if not there yet.

    A run of the same name with other settings (from an older version of the course) is replaced.
    """
    from eo_ssl.train.data import describe, pretraining_rows
    from eo_ssl.train.presets import preset
    from eo_ssl.train.pretrain import pretrain, run_folder

    config = preset(method, run.profile.name, seed=seed)
    data = pretraining_rows(run.source(), config)
    wanted = {**config.to_dict(), "data": describe(data)}
    stale = _settings(run_folder(config, run.root)) not in (None, wanted)
    return pretrain(config, run.source(), run.root, resume=not stale).folder


def compared(run: Run, *parts: str) -> pd.DataFrame:
    """Results of parts of the profile's grid ("fusion", "few-labels", "swin", "segmentation"), one row a model.

    Pretrains and trains what is missing; what an earlier chapter trained is read, not trained again.
    """
    from eo_ssl.evaluate.grids import make_grid
    from eo_ssl.evaluate.label_fractions import GridJob, run_grid
    from eo_ssl.evaluate.methods import get_method

    grid = make_grid(run.profile.name, parts)
    starts = dict.fromkeys(get_method(cell.method).pretraining for cell in grid.cells)
    for method in filter(None, starts):
        for seed in run.profile.pretrain_seeds:
            pretrained(run, method, seed)
    job = GridJob(run.profile.name, str(run.data_root), str(run.root), parts)
    # At smoke the models take less time than the start of a second process.
    results = run_grid(job, run.source(), workers=None if run.is_evidence else 1)
    keys = {cell.key for cell in grid.cells if cell.rate is None}
    return results[results["key"].isin(keys)].reset_index(drop=True)


def _settings(folder: Path) -> dict[str, Any] | None:
    """Settings and data of a finished or an interrupted run, None where there is neither."""
    from eo_ssl.train.checkpoint import read_meta
    from eo_ssl.train.resume import load_state

    if (folder / "config.json").exists():
        meta = read_meta(folder)[0]
        return {**meta.get("config", {}), "data": meta.get("data")}
    saved = load_state(folder / "resume")
    return {**saved[2]["config"], "data": saved[2]["data"]} if saved else None


def history(folder: Path) -> pd.DataFrame:
    """One row per epoch: losses, learning rate, retrieval, alignment, uniformity, spread, seconds."""
    return pd.read_csv(folder / "metrics.csv")


@dataclass(frozen=True)
class Embeddings:
    """Features of patches: h before and z after the head (maps for MMA), by sensor; None where not trained.

    h1, h2 (N, d); z1, z2 (N, D) or (N, E, h, w); index (N,) rows of the catalog, -1 for real patches.
    """

    h1: Tensor | None
    h2: Tensor | None
    z1: Tensor | None
    z2: Tensor | None
    index: Tensor


@torch.inference_mode()
def embed(run: Run, folder: Path | None, split: str = "pretrain_val", rows: Sequence[int] | None = None,
          method: str = "dual-simclr", batch_size: int = 256) -> Embeddings:  # fmt: skip
    """Embed the centre crops of a split, or of given rows, with a checkpoint; `folder=None`: untrained."""
    from eo_ssl.data.dataset import PatchDataset

    model, statistics = _method(run, folder, method)
    source = run.source()
    rows = source.rows(split) if rows is None else np.asarray(rows)
    data = PatchDataset(source, rows, model.config.image_size, "centre", statistics=statistics)
    parts = [
        _embed(model, data.__getitems__(range(start, min(start + batch_size, len(data)))), run.device)
        for start in range(0, len(data), batch_size)
    ]
    return _joined(parts)


@torch.inference_mode()
def embed_pairs(
    run: Run, folder: Path | None, pairs: Sequence[Pair], method: str = "dual-simclr"
) -> Embeddings:
    """Embed the centre crops of real (or simulated) pairs; a band they lack takes the training mean."""
    model, statistics = _method(run, folder, method)
    batch = pair_batch(pairs, model.config.image_size, statistics)
    return _embed(model, batch, run.device)


def pair_batch(pairs: Sequence[Pair], size: int, statistics: "Statistics") -> dict[str, Tensor]:
    """Pairs as one standardised batch of centre crops: s1 (N, 2, size, size), s2 (N, 13, size, size).

    A band that a pair lacks (B10 in Level-2A) is zero after standardisation: the training mean.
    """
    from eo_ssl.data.transforms import Normalise

    mean = np.asarray(statistics.s2_mean, np.float32)
    s1, s2 = [], []
    for pair in pairs:
        h, w = pair.s1.shape[-2:]
        if min(h, w) < size:
            raise DataError(f"{pair.name}: {h} × {w} px is smaller than the crop of {size} px")
        top, left = (h - size) // 2, (w - size) // 2
        window = (slice(None), slice(top, top + size), slice(left, left + size))
        full = np.tile(mean[:, None, None], (1, size, size))  # (13, size, size)
        full[[S2_BANDS.index(band) for band in pair.s2_bands]] = pair.s2[window]
        s1.append(torch.from_numpy(np.ascontiguousarray(pair.s1[window])))
        s2.append(torch.from_numpy(full))
    index = torch.full((len(pairs),), -1)
    return Normalise(statistics)({"s1": torch.stack(s1), "s2": torch.stack(s2), "index": index})


def _method(run: Run, folder: Path | None, method: str) -> "tuple[Method, Statistics]":
    from eo_ssl.train.checkpoint import load_method
    from eo_ssl.train.methods import make_method
    from eo_ssl.train.presets import preset
    from eo_ssl.train.step import seeded

    if folder is not None:
        model, statistics = load_method(folder)
    else:
        statistics = run.source().stats("pretrain")
        with seeded(run.seed):
            model = make_method(preset(method, run.profile.name), statistics)
        model.model.eval()
    model.model.to(run.device)
    return model, statistics


def _embed(model: "Method", batch: dict[str, Tensor], device: torch.device) -> Embeddings:
    """Features of one batch; S1 and S2 show the same crop, without any augmentation."""
    batch = {name: value.to(device) for name, value in batch.items()}
    encoders = model.encoders()
    h = {name: encoder(batch[name]).cpu() for name, encoder in encoders.items() if encoder is not None}
    z1 = z2 = None
    if set(h) == {"s1", "s2"}:
        z1, z2 = (z.cpu() for z in model.model({"s1": batch["s1"], "s2": batch["s2"]}))
    return Embeddings(h.get("s1"), h.get("s2"), z1, z2, batch["index"].cpu())


def _joined(parts: list[Embeddings]) -> Embeddings:
    def cat(name: str) -> Tensor | None:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else torch.cat(values)

    return Embeddings(cat("h1"), cat("h2"), cat("z1"), cat("z2"), torch.cat([part.index for part in parts]))
