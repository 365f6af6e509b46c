"""The four methods: two views of a batch, a model that embeds them, a loss that compares them.

The models share one form, `model(views) -> (z1, z2)`, and keep their encoders as `model.encoder`, which is what
remains when pretraining is over.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eo_ssl.data.transforms import BandDrop, Compose, CropResize, Flip, Illumination, Rotate90, Statistics
from eo_ssl.errors import ConfigError
from eo_ssl.losses import map_similarity, mma_loss, nt_xent
from eo_ssl.models.dual import DualEncoder
from eo_ssl.models.encoders import Encoder, make_encoder
from eo_ssl.models.fusion import BANDS
from eo_ssl.models.heads import ProjectionHead
from eo_ssl.sensors import RGB, S2_BANDS, band_index
from eo_ssl.train.config import MMAConfig, PretrainConfig, SimCLRConfig

Batch = dict[str, Tensor]
Views = Callable[[Batch, torch.Generator], Batch]


def _head(dim: int, projection_dim: int, grid: int = 1) -> nn.Module:
    hidden = dim if grid == 1 else projection_dim  # a map is wide enough
    return ProjectionHead(dim * grid**2, hidden, projection_dim) if projection_dim else nn.Identity()


class SensorPair(nn.Module):
    """Dual-SimCLR and the Swin pair: an encoder and a projection head per sensor.

    The heads read the last maps, averaged to `head_grid` × `head_grid` places; 1 is the pooled feature. With
    `projection_dim=0` there are no heads.
    Shape: s1 (N, 2, H, W), s2 (N, 13, H, W) → z1, z2 (N, projection_dim).
    """

    def __init__(self, encoder: DualEncoder, projection_dim: int, head_grid: int = 1) -> None:
        super().__init__()
        self.encoder, self.head_grid = encoder, head_grid
        widths = (e.dim if head_grid == 1 else e.channels[-1] for e in (encoder.s1, encoder.s2))
        self.head1, self.head2 = (_head(width, projection_dim, head_grid) for width in widths)

    def forward(self, views: Batch) -> tuple[Tensor, Tensor]:
        return self.head1(self._read("s1", views)), self.head2(self._read("s2", views))

    def _read(self, sensor: str, views: Batch) -> Tensor:
        """What the head reads of a sensor: (N, bands, H, W) → (N, dim · head_grid²)."""
        encoder = getattr(self.encoder, sensor)
        if self.head_grid == 1:
            return encoder(views[sensor])  # (N, dim)
        return F.adaptive_avg_pool2d(encoder.maps(views[sensor]), self.head_grid).flatten(1)


class AugmentedPair(nn.Module):
    """SimCLR: one encoder and one head for both views, in one pass, so that BatchNorm sees both.

    Shape: s2, other (N, 13, H, W) → z1, z2 (N, projection_dim).
    """

    def __init__(self, encoder: DualEncoder, projection_dim: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = _head(encoder.s2.dim, projection_dim)

    def forward(self, views: Batch) -> tuple[Tensor, Tensor]:
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

    def forward(self, views: Batch) -> tuple[Tensor, Tensor]:
        return self.encoder.s1.maps(views["s1"]), self.encoder.s2.maps(views["s2"])


@dataclass(frozen=True)
class Method:
    """One method, ready to train: `model(views(batch, generator))` gives z1, z2; `loss` compares them."""

    config: PretrainConfig
    model: nn.Module
    views: Views

    def loss(self, z1: Tensor, z2: Tensor, false_negatives: Tensor | None = None) -> Tensor:
        """The contrastive loss of N pairs of embeddings or maps."""
        loss = mma_loss if isinstance(self.config, MMAConfig) else nt_xent
        return loss(z1, z2, self.config.temperature, false_negatives)

    def similarity(self, z1: Tensor, z2: Tensor) -> Tensor:
        """(N, …), (M, …) → (N, M): cosine, or for maps the best mean cosine over offsets."""
        if isinstance(self.config, MMAConfig):
            return map_similarity(z1, z2)
        return F.normalize(z1.float(), dim=1) @ F.normalize(z2.float(), dim=1).T

    def encoders(self) -> dict[str, Encoder]:
        """The encoders that the method trains, by sensor."""
        return self.model.encoder.encoders()


def make_method(config: PretrainConfig, statistics: Statistics | None = None) -> Method:
    """Build a method with weights drawn from torch's generator; nothing is downloaded.

    `statistics` are those of the standardised batches (the illumination of SimCLR needs them). Raises
    `ConfigError` for an unknown backbone or a crop that does not fit it.
    """
    if isinstance(config, SimCLRConfig):
        encoder = make_encoder(config.backbone, BANDS["s2"], config.image_size)
        if config.bands == "rgb":
            _zero_other_bands(encoder)
        model = AugmentedPair(DualEncoder(None, encoder), config.projection_dim)
        return Method(config, model, _augmented_views(config, statistics))
    pair = DualEncoder(*(make_encoder(config.backbone, bands, config.image_size) for bands in BANDS.values()))
    if isinstance(config, MMAConfig):
        return Method(config, MapPair(pair), _search_views(config, pair.s2))
    return Method(config, SensorPair(pair, config.projection_dim, config.head_grid), _sensor_views)


def _sensor_views(batch: Batch, generator: torch.Generator) -> Batch:
    """Dual-SimCLR: the two sensors are the two views."""
    return {"s1": batch["s1"], "s2": batch["s2"]}


def _search_views(config: MMAConfig, encoder: Encoder) -> Views:
    """MMA: the whole S1 crop, and a smaller S2 crop at a random place on the grid of the feature map."""
    size, stride = config.second_crop, encoder.strides[-1]
    if size in (0, config.image_size):
        return _sensor_views
    if size % stride or config.image_size % stride:
        raise ConfigError(
            f"image_size {config.image_size} and second_crop {size} must be multiples of {stride}, "
            f"the stride of {config.backbone}"
        )
    places = (config.image_size - size) // stride + 1

    def views(batch: Batch, generator: torch.Generator) -> Batch:
        x = batch["s2"]  # (N, 13, H, W)
        corner = torch.randint(places, (2, len(x), 1), generator=generator, device=generator.device) * stride
        row, col = torch.arange(size, device=x.device) + corner.to(x.device)  # (N, size) each
        patch = torch.arange(len(x), device=x.device)[:, None, None]
        cut = x.permute(0, 2, 3, 1)[patch, row[:, :, None], col[:, None, :]]  # (N, size, size, 13)
        return {"s1": batch["s1"], "s2": cut.permute(0, 3, 1, 2)}

    return views


def _augmented_views(config: SimCLRConfig, statistics: Statistics | None) -> Views:
    """SimCLR: two draws of the augmentations that are valid for reflectances seen from above."""
    augment = Compose(
        [
            CropResize((config.crop_scale, 1.0)),
            Flip(),
            Rotate90(),
            Illumination(config.jitter, statistics),
            BandDrop(config.band_drop, statistics),
        ]
    )

    def view(batch: Batch, generator: torch.Generator) -> Tensor:
        s2 = augment({"s2": batch["s2"]}, generator)["s2"]
        return only_rgb(s2) if config.bands == "rgb" else s2

    def views(batch: Batch, generator: torch.Generator) -> Batch:
        return {"s2": view(batch, generator), "other": view(batch, generator)}

    return views


def only_rgb(s2: Tensor) -> Tensor:
    """S2 with all bands but red, green and blue at 0, the training mean. Shape: (N, 13, H, W) → the same."""
    keep = torch.zeros(len(S2_BANDS), 1, 1, device=s2.device)
    keep[band_index(RGB)] = 1.0
    return s2 * keep


@torch.no_grad()
def _zero_other_bands(encoder: nn.Module) -> None:
    """Zero the first layer's weights of all bands but RGB: their inputs are 0, so that they stay 0."""
    first = next(module for module in encoder.modules() if isinstance(module, nn.Conv2d))
    others = [i for i in range(len(S2_BANDS)) if i not in band_index(RGB)]
    first.weight[:, others] = 0.0
