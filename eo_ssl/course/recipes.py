"""Load or train: what the chapters share, so that any chapter runs alone and nothing is trained twice."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from eo_ssl.course.session import Run
from eo_ssl.data.samples import Pair
from eo_ssl.errors import ConfigError
from eo_ssl.parallel import give_memory_back
from eo_ssl.train.embed import Embeddings, embed_batch, pair_batch

if TYPE_CHECKING:
    from eo_ssl.data.statistics import Statistics
    from eo_ssl.train.methods import Method

MOST, BATCH = 4096, 256  # patches


def pretrained(run: Run, method: str, seed: int = 0, family: str = "") -> Path:
    """The folder of a pretrained method at the run's profile; trained with a progress bar if not there yet.

    `family` ("resnet", "deep", "swin", "vgg") takes another network of the profile than the method's own.
    A run of the same name with other settings (from an older version of the course) is replaced.
    """
    from eo_ssl.train.config import preset
    from eo_ssl.train.devices import loader_threads
    from eo_ssl.train.pretrain import pretrain

    config = preset(method, run.profile.name, family, seed=seed)
    options = {"compile": run.profile.compile, "workers": loader_threads()}
    return pretrain(config, run.source(), run.root, replace_other=True, **options).folder


def released() -> dict[str, Path]:
    """The encoders that come with the course, by the name of their row; those that are not there are left out."""
    from eo_ssl.train import config

    found = {}
    for label, method in (("Dual-SimCLR, released", "dual-simclr"), ("MMA, released", "mma")):
        with suppress(ConfigError):
            found[label] = config.released(method)
    return found


def compared(run: Run, *parts: str) -> pd.DataFrame:
    """Results of parts of the profile's grid ("fusion", "few-labels", "swin", "segmentation"), one row a model.

    Pretrains and trains what is missing; what an earlier chapter trained is read, not trained again.
    """
    from eo_ssl.experiments.grid import GridJob, run_grid
    from eo_ssl.experiments.plan import make_grid

    grid = make_grid(run.profile.name, parts)
    for method, family in grid.pretrainings:
        for seed in run.profile.seeds_of(method, family):
            pretrained(run, method, seed, family)
    run.source().unmap()  # what a pretraining needed, the workers need now
    give_memory_back()
    job = GridJob(run.profile.name, str(run.data_root), str(run.root), parts)
    # At smoke the models take less time than the start of a second process.
    results = run_grid(job, workers=None if run.is_evidence else 1)
    keys = {cell.key for cell in grid.cells if cell.rate is None}
    return results[results["key"].isin(keys)].reset_index(drop=True)


def history(folder: Path) -> pd.DataFrame:
    """One row per epoch: losses, learning rate, retrieval, alignment, uniformity, spread, seconds."""
    return pd.read_csv(folder / "metrics.csv")


def held_out(run: Run, method: str) -> np.ndarray:
    """The held-out rows that the training of a method watches: all, or about a thousand of a large set."""
    from eo_ssl.train.config import preset
    from eo_ssl.train.pretrain import pretraining_rows

    return np.array(pretraining_rows(run.source(), preset(method, run.profile.name)).held_out)


def embed(
    run: Run,
    folder: Path | None,
    split: str = "pretrain_val",
    rows: Sequence[int] | None = None,
    method: str = "dual-simclr",
) -> Embeddings:
    """Embed the centre crops of a split, or of given rows, with a checkpoint; `folder=None`: untrained.

    Of a split no more than `MOST` patches are taken, evenly, since what follows compares all with all.
    """
    from eo_ssl.data.dataset import PatchDataset
    from eo_ssl.data.splits import evenly

    model, statistics = _method(run, folder, method)
    source = run.source()
    rows = evenly(source.rows(split), MOST) if rows is None else np.asarray(rows)
    data = PatchDataset(source, rows, model.config.image_size, "centre", statistics=statistics)
    batches = torch.arange(len(data)).split(BATCH)
    return Embeddings.joined([embed_batch(model, data.__getitems__(batch.tolist())) for batch in batches])


def embed_pairs(run: Run, folder: Path | None, pairs: Sequence[Pair]) -> Embeddings:
    """Embed the centre crops of real (or simulated) pairs with a checkpoint, `None`: an untrained Dual-SimCLR.

    A band that a pair lacks takes the training mean.
    """
    model, statistics = _method(run, folder, "dual-simclr")
    return embed_batch(model, pair_batch(pairs, model.config.image_size, statistics))


def _method(run: Run, folder: Path | None, method: str) -> "tuple[Method, Statistics]":
    from eo_ssl.train.checkpoint import load_method
    from eo_ssl.train.config import preset
    from eo_ssl.train.methods import make_method
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
