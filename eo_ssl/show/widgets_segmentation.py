"""The explorer of chapter 10, and the predictions it shows: class and confidence of every pixel by several models."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets
from torch import Tensor

from eo_ssl.data.pair import Pair
from eo_ssl.errors import ConfigError
from eo_ssl.evaluate.predict import Batch, predict_maps
from eo_ssl.sensors import CLASSES, IGNORE
from eo_ssl.show.browser import data_url, script
from eo_ssl.show.composites import true_colour
from eo_ssl.train.embed import pair_batch
from eo_ssl.train.downstream import Downstream

STEPS = 31  # confidence in five bits, class in three: one byte per pixel
_WIDEST = 128


@dataclass
class Standardised:
    """Whole patches that are standardised already, as `predict_maps` wants them: s1 (N, 2, P, P), s2 (N, 13, P, P)."""

    s1: Tensor
    s2: Tensor

    @property
    def size(self) -> int:
        """Side of a patch in pixels."""
        return self.s1.shape[-1]

    @property
    def mask(self) -> Tensor:
        """No truth: 255 everywhere."""
        return torch.full((len(self), self.size, self.size), IGNORE)

    def __len__(self) -> int:
        return len(self.s1)

    def cut(self, rows: Tensor, tops: Tensor, lefts: Tensor, side: int) -> Batch:
        """Squares out of the patches."""
        where = list(zip(rows.tolist(), tops.tolist(), lefts.tolist()))
        return {
            name: torch.stack([x[r, :, t : t + side, l : l + side] for r, t, l in where])
            for name, x in (("s1", self.s1), ("s2", self.s2))
        }


def probabilities(down: Downstream, patches: Any, tile: int) -> Tensor:
    """Probabilities of whole patches from tiles that cover them: (N, 8, P, P). `patches` in physical units, or
    `Standardised`."""
    ready = isinstance(patches, Standardised)

    def prepare(batch: Batch) -> Batch:
        return {k: v.to(down.prepare.device) for k, v in batch.items()} if ready else down.prepare(batch)

    return torch.stack(
        [found.exp() for _, found, _ in predict_maps(down.model.eval(), prepare, patches, tile)]
    )


def pair_probabilities(down: Downstream, pairs: Sequence[Pair], tile: int) -> Tensor:
    """Probabilities of pairs of one size, standardised with the statistics of the model: (N, 8, P, P).

    Pairs smaller than a tile are continued by their mirror image, which is cut off again.
    """
    size = min(pair.s1.shape[-1] for pair in pairs)
    batch = pair_batch(pairs, max(size, tile), down.statistics)
    found = probabilities(down, Standardised(batch["s1"], batch["s2"]), tile)
    edge = (found.shape[-1] - size) // 2
    return found[..., edge : edge + size, edge : edge + size]


def packed(probability: np.ndarray) -> str:
    """Class and confidence of each pixel in one byte, base64. Shape: probability (8, H, W)."""
    best, sure = probability.argmax(0), probability.max(0)
    code = best.astype(np.uint8) << 5 | np.round(np.clip(sure, 0, 1) * STEPS).astype(np.uint8)
    return base64.b64encode(np.ascontiguousarray(code).tobytes()).decode()


class PredictionExplorer(anywidget.AnyWidget):
    """Predicted maps over the image: choose patch and model, fade, and read class and confidence."""

    _esm = script("prediction")
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    colours = traitlets.List(traitlets.Unicode()).tag(sync=True)
    models = traitlets.List(traitlets.Unicode()).tag(sync=True)
    patches = traitlets.List(traitlets.Dict()).tag(sync=True)


def prediction_explorer(models: Sequence[str], patches: Sequence[Mapping[str, Any]]) -> PredictionExplorer:
    """Explorer of patches with keys name, note, s2 (B, H, W) with s2_bands, maps (one (8, H, W) probability per
    model) and truth (H, W) or None; larger patches are shown by their 128 × 128 pixels in the middle."""
    if not patches or any(len(p["maps"]) != len(models) for p in patches):
        raise ConfigError(f"every patch of the prediction explorer needs one map per model ({len(models)})")
    return PredictionExplorer(
        names=[c.name for c in CLASSES], colours=[c.colour for c in CLASSES], models=list(models),
        patches=[_patch(p) for p in patches],
    )  # fmt: skip


def _patch(patch: Mapping[str, Any]) -> dict[str, Any]:
    truth = patch.get("truth")
    plain = None
    if truth is not None:
        plain = base64.b64encode(_middle(np.asarray(truth, dtype=np.uint8)).tobytes()).decode()
    picture = _middle(np.moveaxis(true_colour(patch["s2"], patch["s2_bands"]), -1, 0))  # (3, H, W)
    return {
        "name": patch["name"], "note": patch["note"], "size": picture.shape[-1], "truth": plain,
        "picture": data_url(np.moveaxis(picture, 0, -1)), "maps": [packed(_middle(np.asarray(m))) for m in patch["maps"]],
    }  # fmt: skip


def _middle(x: np.ndarray) -> np.ndarray:
    side = min(x.shape[-1], _WIDEST)
    top, left = (x.shape[-2] - side) // 2, (x.shape[-1] - side) // 2
    return np.ascontiguousarray(x[..., top : top + side, left : left + side])
