"""The labelled splits of a data set in memory."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from eo_ssl.data.splits import check_disjoint, label_fraction
from eo_ssl.train.finetune_data import Patches, load_patches


@dataclass
class LabelledData:
    """The labelled splits of a source, read once per process; the test set when it is first asked for."""

    source: Any
    version: str = ""
    train: Patches = field(init=False)
    val: Patches = field(init=False)

    def __post_init__(self) -> None:
        catalog = self.source.catalog
        for left, right in (("train", "val"), ("train", "test"), ("val", "test")):
            check_disjoint(catalog, left, right)
        rows = {name: np.flatnonzero(catalog["split"] == name).tolist() for name in ("train", "val", "test")}
        self.train, self.val = (load_patches(self.source, rows[name]) for name in ("train", "val"))
        self.labels = self.train.labels()
        self.version = self.version or str(self.source.path)
        self.device = torch.device("cpu")
        self._rows, self._test = rows["test"], None

    @property
    def test(self) -> Patches:
        """The test set."""
        if self._test is None:
            self._test = load_patches(self.source, self._rows)
        self._test = self._place(self._test, self.device)
        return self._test

    def to(self, device: torch.device) -> None:
        """Keep the patches on `device` from now on, where they fit: cutting crops there spares the transfer."""
        self.device = device
        self.train, self.val = self._place(self.train, device), self._place(self.val, device)

    @staticmethod
    def _place(patches: Patches, device: torch.device) -> Patches:
        if device.type == "cuda" and patches.nbytes > torch.cuda.mem_get_info(device)[0] / 3:
            return patches
        return patches if patches.mask.device == device else patches.to(device)

    def fraction(self, share: float, seed: int) -> list[int]:
        """Catalogue rows of a label fraction: unique patches, stratified, nested over fractions."""
        return label_fraction(self.train.rows, self.labels.tolist(), share, seed)
