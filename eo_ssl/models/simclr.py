"""SimCLR on one sensor: one encoder, one projection, two augmented views."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from eo_ssl.models.encoders import Encoder
from eo_ssl.models.heads import ProjectionHead


class SimCLR(nn.Module):
    """Encoder and projection head for one sensor, on all its bands or on some (`bands`, positions).

    Shape: batch with `sensor` (B, C, H, W) → z (B, out). Source: Chen et al. (2020).
    """

    def __init__(
        self,
        encoder: Encoder,
        hidden: int | None = None,
        out: int = 128,
        sensor: str = "s2",
        bands: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.sensor = encoder, sensor
        self.bands = None if bands is None else list(bands)
        self.head = ProjectionHead(encoder.dim, hidden, out)

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        image = batch[self.sensor]
        return self.head(self.encoder(image if self.bands is None else image[:, self.bands]))
