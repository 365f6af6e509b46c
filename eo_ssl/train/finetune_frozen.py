"""Frozen classifiers: the backbone never changes, so each image goes through it once and never again."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from eo_ssl.files import atomic_path
from eo_ssl.train.finetune_data import Patches, random_crops
from eo_ssl.train.step import mixed_seed

Batch = dict[str, Tensor]


@dataclass
class CachedFeatures:
    """Features of `crops` samples per patch (N · crops): a stand-in for `Patches` whose "images" are
    features.

    Shape: features (N, crops, D), label (N, crops), multilabel (N, crops, 8).
    """

    features: Tensor
    label: Tensor
    multilabel: Tensor

    def __len__(self) -> int:
        return len(self.features)

    def pick(self, which: Tensor, generator: torch.Generator) -> Batch:
        """One of the cached crops of each chosen patch."""
        crop = torch.randint(self.features.shape[1], (len(which),), generator=generator)
        return {
            "features": self.features[which, crop],
            "label": self.label[which, crop],
            "multilabel": self.multilabel[which, crop],
        }

    def to(self, device: torch.device) -> "CachedFeatures":
        """The same on another device."""
        return CachedFeatures(self.features.to(device), self.label.to(device), self.multilabel.to(device))


@torch.no_grad()
def encode_crops(
    encode: Callable[[Batch], Tensor],
    prepare: Callable[[Batch], Batch],
    patches: Patches,
    cut: Callable[[Tensor, int], Batch],
    crops: int,
    batch_size: int = 128,
) -> CachedFeatures:
    """Features of crop 0 … crops − 1 of every patch; `cut(rows, k)` gives crop k of these rows."""
    columns = []
    for k in range(crops):
        parts: list[list[Tensor]] = []
        for rows in torch.arange(len(patches)).split(batch_size):
            batch = cut(rows, k)
            parts.append(
                [encode(prepare(batch)).float().cpu(), batch["label"].cpu(), batch["multilabel"].cpu()]
            )
        columns.append([torch.cat(values) for values in zip(*parts)])
    return CachedFeatures(*(torch.stack(values, 1) for values in zip(*columns)))


def training_cut(patches: Patches, side: int, augment: bool) -> Callable[[Tensor, int], Batch]:
    """Random crops, augmented as in fine-tuning; the same for every seed and method, being cached."""

    def cut(rows: Tensor, k: int) -> Batch:
        generator = torch.Generator().manual_seed(mixed_seed(k, int(rows[0]), 5))
        return random_crops(patches, rows, side, generator, augment)

    return cut


def tile_cut(patches: Patches, side: int, where: Tensor) -> Callable[[Tensor, int], Batch]:
    """Tile k of every patch; `where` (N, tiles, 2) holds top and left."""
    return lambda rows, k: patches.cut(rows, where[rows, k, 0], where[rows, k, 1], side)


def backbone_hash(module: nn.Module) -> str:
    """Sixteen hex digits of all weights and buffers, in order."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value.detach().cpu().reshape(-1).contiguous().view(torch.uint8)))
    return digest.hexdigest()[:16]


def cached(folder: Path | None, key: str, make: Callable[[], CachedFeatures]) -> CachedFeatures:
    """Features from the disk if they are there, computed once by one process if not."""
    if folder is None:
        return make()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{key}.safetensors"
    with FileLock(f"{path}.lock"):
        if not path.exists():
            found = make()
            with atomic_path(path) as temporary:
                save_file({name: value.contiguous() for name, value in vars(found).items()}, temporary)
        return CachedFeatures(**load_file(path))
