"""MMA: two encoders that give maps, for the loss that compares maps."""

from torch import Tensor, nn

from eo_ssl.errors import ConfigError
from eo_ssl.models.dual import Batch, DualEncoder


class MMA(nn.Module):
    """The coarsest maps of both sensors; `margin` places are cut off around the second.

    With `margin=0` the maps have equal size and lie exactly over each other: the loss compares them place by
    place. With a margin the smaller map is searched for in the larger one, at (2·margin + 1)² offsets.
    Shape: batch → (B, E, h, w), (B, E, h − 2·margin, w − 2·margin). Source: Windsor et al. (2021).
    """

    def __init__(self, encoder: DualEncoder, margin: int = 0) -> None:
        super().__init__()
        if encoder.s1.channels[-1] != encoder.s2.channels[-1]:
            raise ConfigError(
                f"MMA needs equal channels, got {encoder.s1.channels[-1]} and {encoder.s2.channels[-1]}"
            )
        self.encoder, self.margin = encoder, margin

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        maps1, maps2 = self.encoder.s1.maps(batch["s1"]), self.encoder.s2.maps(batch["s2"])
        m = self.margin
        if 2 * m >= min(maps2.shape[2:]):
            raise ConfigError(f"a margin of {m} leaves nothing of maps of {tuple(maps2.shape[2:])}")
        return maps1, maps2[:, :, m : maps2.shape[2] - m, m : maps2.shape[3] - m]
