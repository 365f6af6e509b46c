"""Patches through a pretrained method: features before the head, embeddings after it; real pairs as a batch."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from torch import Tensor

from eo_ssl.data.samples import Pair
from eo_ssl.data.transforms import Normalise, Statistics
from eo_ssl.errors import DataError
from eo_ssl.sensors import S2_BANDS
from eo_ssl.train.methods import Method

Batch = dict[str, Tensor]


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

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The patches of all parts, one after the other."""
        columns = {field.name: [getattr(part, field.name) for part in parts] for field in fields(cls)}
        return cls(**{k: None if values[0] is None else torch.cat(values) for k, values in columns.items()})


def pair_batch(pairs: Sequence[Pair], size: int, statistics: Statistics) -> Batch:
    """Pairs as one standardised batch of centre crops: s1 (N, 2, size, size), s2 (N, 13, size, size), index (N,).

    S2 of another product level than that of the statistics is converted band by band (`eo_ssl.sensors.level_change`). A
    pixel without a value, or a band that a pair lacks (B10 in Level-2A), takes the training mean, 0 after
    standardisation, which says nothing. A pair smaller than the crop is continued by its mirror image on all sides.
    Raises `DataError` for no pairs and for pairs smaller than half the crop.
    """
    if not pairs:
        raise DataError("no pairs to embed; the real ones are fetched with `eo-ssl data fetch`")
    crops = [_centre(pair, size) for pair in pairs]
    batches = [
        Normalise(statistics, pair.level)({"s1": s1, "s2": s2, "valid": s1.isfinite().all(0)})
        for pair, (s1, s2) in zip(pairs, crops)
    ]
    s1, s2 = (torch.stack([batch[sensor] for batch in batches]) for sensor in ("s1", "s2"))
    return {"s1": s1, "s2": s2, "index": torch.full((len(pairs),), -1)}


def _centre(pair: Pair, size: int) -> tuple[Tensor, Tensor]:
    """Centre crop of both sensors, S2 bands in L1C order by name, NaN where there is none."""
    height, width = pair.s1.shape[1:]
    if 2 * min(height, width) < size:
        raise DataError(f"{pair.name}: {height} × {width} px is smaller than half the crop of {size} px")
    margin = [(0, 0), *((max(0, (size - n) // 2), max(0, (size - n + 1) // 2)) for n in (height, width))]
    radar, optical = (np.pad(image, margin, mode="reflect") for image in (pair.s1, pair.s2))
    height, width = radar.shape[1:]
    top, left = (height - size) // 2, (width - size) // 2
    window = (slice(None), slice(top, top + size), slice(left, left + size))
    s2 = torch.full((len(S2_BANDS), size, size), torch.nan)
    s2[[S2_BANDS.index(band) for band in pair.s2_bands]] = torch.from_numpy(optical[window].copy())
    return torch.from_numpy(radar[window].copy()), s2


@torch.inference_mode()
def embed_batch(method: Method, batch: Batch) -> Embeddings:
    """Features of one standardised batch, on the CPU; S1 and S2 show the same crop, without augmentation."""
    device = next(method.model.parameters()).device
    images = {name: batch[name].to(device) for name in ("s1", "s2")}
    h = {name: encoder(images[name]).cpu() for name, encoder in method.encoders().items()}
    z1 = z2 = None
    if set(h) == {"s1", "s2"}:
        z1, z2 = (z.cpu() for z in method.model(images))
    return Embeddings(h.get("s1"), h.get("s2"), z1, z2, batch["index"].cpu())
