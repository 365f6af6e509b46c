"""The data side of pretraining: which rows, in which order, and which patches share ground."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eo_ssl.data.dataset import Loader as make_loader
from eo_ssl.data.dataset import PatchDataset
from eo_ssl.data.transforms import Statistics
from eo_ssl.errors import ConfigError, DataError
from eo_ssl.losses import gather
from eo_ssl.train.config import PretrainConfig
from eo_ssl.train.feed import Pinned

HELD_OUT = 1024  # pairs that the monitors look at
OVERLAP = 2  # grid steps from which on two patches of a scene share no ground (stride = half a patch)


@dataclass(frozen=True)
class PretrainData:
    """Rows of the catalogue for training and for the monitors."""

    source: Any
    train: list[int]
    held_out: list[int]

    @cached_property
    def statistics(self) -> Statistics:
        """Mean and deviation per band of the training scenes."""
        return self.source.stats("pretrain")

    def training_set(self, config: PretrainConfig) -> PatchDataset:
        """Standardised random crops, a pure function of seed, epoch and row."""
        return PatchDataset(
            self.source, self.train, config.image_size, "random", seed=config.seed, statistics=self.statistics
        )

    def held_out_set(self, config: PretrainConfig, rank: int, world: int, labels: bool) -> PatchDataset:
        """Standardised centre crops of this rank's share; every rank gets equally many."""
        rows = self.held_out[: len(self.held_out) // world * world][rank::world]
        return PatchDataset(
            self.source, rows, config.image_size, "centre", labels=labels, statistics=self.statistics
        )

    def loader(
        self, config: PretrainConfig, rank: int, world: int, workers: int, device: torch.device | None = None
    ) -> Any:
        """Batches of batch_size / world pairs for this rank; an incomplete last batch is left out.

        For a GPU as `device` they lie in page-locked memory.
        """
        dataset: Any = self.training_set(config)
        if device and device.type == "cuda":
            dataset = Pinned(dataset, device)
        return make_loader(
            dataset, config.batch_size // world, shuffle=True, drop_last=True,
            seed=config.seed, workers=workers, rank=rank, world_size=world,
        )  # fmt: skip


def pretraining_rows(source: Any, config: PretrainConfig) -> PretrainData:
    """Rows with what the method needs, checked; raises `DataError` when there is too little to train on."""
    catalog = source.catalog
    if config.image_size > source.patch_size:
        raise ConfigError(
            f"image_size {config.image_size} is larger than the patches ({source.patch_size} px); lower it"
        )
    usable = np.ones(len(catalog), dtype=bool)
    for modality in config.modalities:
        usable &= catalog[modality].astype(bool).to_numpy()
    split = catalog["split"].to_numpy()
    train = np.flatnonzero(usable & (split == "pretrain")).tolist()
    held_out = np.flatnonzero(usable & (split == "pretrain_val"))
    if not train:
        raise DataError(
            f"{source.path}: no patches to pretrain on; see what is there with `eo-ssl data check`"
        )
    if len(train) < config.batch_size:
        raise DataError(
            f"{len(train)} training pairs do not fill one batch of {config.batch_size}; lower batch_size"
        )
    if len(held_out) < 2:
        raise DataError("fewer than 2 held-out pairs: the pretraining data need scenes for validation")
    if len(held_out) > HELD_OUT:  # an even choice over the scenes, the same in every run
        held_out = held_out[np.linspace(0, len(held_out) - 1, HELD_OUT).astype(int)]
    return PretrainData(source, train, held_out.tolist())


class Overlaps:
    """Which patches share ground: same scene, less than `OVERLAP` grid steps apart in both directions.

    Where the grid position is unknown (−1), patches of one overlap group count as sharing.
    """

    def __init__(self, catalog: Any) -> None:
        self.group = torch.as_tensor(np.unique(catalog["group"].astype(str), return_inverse=True)[1])
        self.scene = torch.as_tensor(np.unique(catalog["scene"].astype(str), return_inverse=True)[1])
        self.row = torch.tensor(catalog["row"].to_numpy(np.int64))
        self.col = torch.tensor(catalog["col"].to_numpy(np.int64))

    def __call__(self, index: Tensor, other: Tensor | None = None) -> Tensor:
        """(n,), (N,) rows of the catalogue → (n, N) bool; True on the diagonal of equal rows."""
        scene, row, col, group = self._tables(index.device)
        a, b = index[:, None], (index if other is None else other)[None, :]
        near = (scene[a] == scene[b]) & ((row[a] - row[b]).abs() < OVERLAP)
        near &= (col[a] - col[b]).abs() < OVERLAP
        unknown = (row[a] < 0) | (row[b] < 0)
        return torch.where(unknown, group[a] == group[b], near)

    def _tables(self, device: torch.device) -> tuple[Tensor, ...]:
        """Scene, row, column and group of all patches, where the batch is: a GPU need not be waited for."""
        if self.scene.device != device:
            for name in ("scene", "row", "col", "group"):
                setattr(self, name, getattr(self, name).to(device))
        return self.scene, self.row, self.col, self.group

    def false_negatives(self, index: Tensor) -> Tensor:
        """This rank's rows of the mask for the whole batch: (n,) → (n, world·n) bool."""
        return self(index, gather(index))


def filled_up(batch: dict[str, Tensor], size: int) -> dict[str, Tensor]:
    """The batch with patches repeated where some were unusable, so that all ranks hold equally many.

    With `mask_overlaps` a repeated patch is no negative of itself.
    """
    have = len(batch["index"])
    if have in (0, size):
        return batch
    again = torch.arange(size) % have
    return {key: value[again] for key, value in batch.items()}


def describe(data: PretrainData) -> str:
    """Name, version and size of the data, to tell one data set from another."""
    attrs = data.source.catalog.attrs
    name = f"{attrs.get('name') or 'data'} {attrs.get('version') or ''}".strip()
    return f"{name}: {len(data.train):,} pairs, {len(data.held_out):,} held out"
