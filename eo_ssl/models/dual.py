"""Two sensors, two encoders: the backbone pair of Dual-SimCLR, MMA and the Swin pair."""

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from eo_ssl.errors import ConfigError
from eo_ssl.models.encoders import Encoder, Freezable

SENSORS = ("s1", "s2")
Batch = Mapping[str, Tensor]


def held(batch: Batch, sensors: tuple[str, ...] = SENSORS) -> dict[str, Tensor]:
    """The images of those sensors that the batch holds."""
    return {sensor: batch[sensor] for sensor in sensors if batch.get(sensor) is not None}


def image_of(batch: Batch) -> Tensor:
    """An image of the batch, for its size and device; `ConfigError` where both sensors are missing."""
    for image in held(batch).values():
        return image
    raise ConfigError("the batch holds neither 's1' nor 's2'")


class BackboneModel(nn.Module):
    """A model with a pretrained part, `backbone` (or None), and the rest, its head.

    The two have learning rates of their own, and only the backbone can be frozen.
    """

    backbone: Freezable | None

    def freeze(self) -> Self:
        """Freeze the backbone (see `Freezable`); the head still learns."""
        if self.backbone is not None:
            self.backbone.freeze()
        return self

    def backbone_parameters(self) -> list[Parameter]:
        """Parameters of the backbone; none where there is no backbone."""
        return list(self.backbone.parameters()) if self.backbone is not None else []

    def head_parameters(self) -> list[Parameter]:
        """All other parameters."""
        backbone = {id(parameter) for parameter in self.backbone_parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in backbone]


class DualEncoder(Freezable):
    """One encoder per sensor. A sensor that the batch does not hold gives a feature of zeros. An encoder may be
    None (SimCLR trains S2 alone): its sensor is then left out of everything.

    Attributes: `dim`, length of both features together; `strides` of both pyramids.
    """

    def __init__(self, s1: Encoder | None, s2: Encoder | None) -> None:
        super().__init__()
        if s1 is None and s2 is None:
            raise ConfigError("a DualEncoder needs at least one encoder")
        self.s1, self.s2 = s1, s2
        encoders = list(self.encoders().values())
        if len({encoder.strides for encoder in encoders}) > 1:
            raise ConfigError(f"the pyramids differ in their strides: {[e.strides for e in encoders]}")
        self.dim = sum(encoder.dim for encoder in encoders)
        self.strides = encoders[0].strides

    def features(self, batch: Batch) -> dict[str, Tensor]:
        """Pooled features: s1 (B, 2, H, W), s2 (B, 13, H, W) → {"s1": (B, d1), "s2": (B, d2)}."""
        images, like = held(batch), image_of(batch)
        return {
            name: encoder(images[name]) if name in images else like.new_zeros(len(like), encoder.dim)
            for name, encoder in self.encoders().items()
        }

    def pyramids(self, batch: Batch) -> dict[str, list[Tensor]]:
        """Pyramids per sensor, zeros where it is missing. → {"s1": [(B, Cᵢ, Hᵢ, Wᵢ)], "s2": …}"""
        images, like = held(batch), image_of(batch)
        b, _, h, w = like.shape

        def zeros(encoder: Encoder) -> list[Tensor]:
            levels = zip(encoder.channels, encoder.strides, strict=True)
            return [like.new_zeros(b, c, -(-h // s), -(-w // s)) for c, s in levels]

        return {
            name: encoder.pyramid(images[name]) if name in images else zeros(encoder)
            for name, encoder in self.encoders().items()
        }

    def encoders(self) -> dict[str, Encoder]:
        """The encoders by sensor."""
        return {name: getattr(self, name) for name in SENSORS if getattr(self, name) is not None}

    def forward(self, batch: Batch) -> Tensor:
        """Both features side by side. → (B, d1 + d2)"""
        return torch.cat(list(self.features(batch).values()), dim=1)
