"""Two sensors, two encoders: the backbone pair of Dual-SimCLR, MMA and the Swin pair."""

from collections.abc import Mapping

import torch
from torch import Tensor

from eo_ssl.errors import ConfigError
from eo_ssl.models.encoders import Encoder, Freezable

SENSORS = ("s1", "s2")
Batch = Mapping[str, Tensor]


def held(batch: Batch, sensors: tuple[str, ...] = SENSORS) -> dict[str, Tensor]:
    """The images of those sensors that the batch holds; `ConfigError` where there is none."""
    found = {sensor: batch[sensor] for sensor in sensors if sensor in batch}
    if not found:
        raise ConfigError(f"the model reads {' and '.join(sensors)}, which the batch does not hold")
    return found


class DualEncoder(Freezable):
    """One encoder per sensor; None for a sensor without one (SimCLR trains S2 alone).

    Attributes: `dim`, length of the features of all encoders together.
    """

    def __init__(self, s1: Encoder | None, s2: Encoder | None) -> None:
        super().__init__()
        self.s1, self.s2 = s1, s2
        self.dim = sum(encoder.dim for encoder in self.encoders().values())

    def encoders(self) -> dict[str, Encoder]:
        """The encoders by sensor."""
        return {name: getattr(self, name) for name in SENSORS if getattr(self, name) is not None}

    def features(self, batch: Batch) -> dict[str, Tensor]:
        """Pooled features of the sensors in the batch: s1 (B, 2, H, W), s2 (B, 13, H, W) → {"s1": (B, d1), "s2": (B, d2)}."""
        images, encoders = held(batch), self.encoders()
        return {name: encoders[name](image) for name, image in images.items() if name in encoders}

    def forward(self, batch: Batch) -> Tensor:
        """The features side by side. → (B, d1 + d2)"""
        return torch.cat(list(self.features(batch).values()), dim=1)
