"""What stands on the encoders during pretraining: two views in, two embeddings or two maps out.

The three modules share one form, `model(views) -> (z1, z2)`, and keep their encoders as `model.encoder`,
which is what remains when pretraining is over.
"""

import torch
from torch import Tensor, nn

from eo_ssl.errors import ConfigError
from eo_ssl.models.dual import DualEncoder
from eo_ssl.models.heads import ProjectionHead

Views = dict[str, Tensor]


def _head(dim: int, projection_dim: int) -> nn.Module:
    return ProjectionHead(dim, out=projection_dim) if projection_dim else nn.Identity()


class SensorPair(nn.Module):
    """Dual-SimCLR and the Swin pair: an encoder and a projection head per sensor.

    With `projection_dim=0` the loss is taken on the pooled features.
    Shape: s1 (N, 2, H, W), s2 (N, 13, H, W) → z1, z2 (N, projection_dim).
    """

    def __init__(self, encoder: DualEncoder, projection_dim: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head1 = _head(encoder.s1.dim, projection_dim)
        self.head2 = _head(encoder.s2.dim, projection_dim)

    def forward(self, views: Views) -> tuple[Tensor, Tensor]:
        return self.head1(self.encoder.s1(views["s1"])), self.head2(self.encoder.s2(views["s2"]))


class AugmentedPair(nn.Module):
    """SimCLR: one encoder and one head for both views, in one pass, so that BatchNorm sees both.

    Shape: s2, other (N, 13, H, W) → z1, z2 (N, projection_dim).
    """

    def __init__(self, encoder: DualEncoder, projection_dim: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = _head(encoder.s2.dim, projection_dim)

    def forward(self, views: Views) -> tuple[Tensor, Tensor]:
        both = torch.cat([views["s2"], views["other"]])  # (2N, 13, H, W)
        return self.head(self.encoder.s2(both)).chunk(2)


class MapPair(nn.Module):
    """MMA: the coarsest maps of both encoders, no pooling, no head.

    Shape: s1 (N, 2, H, W), s2 (N, 13, h, w) → (N, E, H/s, W/s), (N, E, h/s, w/s).
    """

    def __init__(self, encoder: DualEncoder) -> None:
        super().__init__()
        if encoder.s1.channels[-1] != encoder.s2.channels[-1]:
            raise ConfigError("MMA compares maps: both encoders must end with equally many channels")
        self.encoder = encoder

    def forward(self, views: Views) -> tuple[Tensor, Tensor]:
        return self.encoder.s1.maps(views["s1"]), self.encoder.s2.maps(views["s2"])
