"""The four methods: two views of a batch, a model that embeds them, a loss that compares them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eo_ssl.data.transforms import BandDrop, Compose, CropResize, Flip, Illumination, Rotate90
from eo_ssl.errors import ConfigError
from eo_ssl.losses import map_similarity, mma_loss, nt_xent
from eo_ssl.models.dual import DualEncoder
from eo_ssl.models.encoders import make_encoder
from eo_ssl.models.heads import ProjectionHead
from eo_ssl.sensors import RGB, S1_BANDS, S2_BANDS, band_index
from eo_ssl.train.config import MMAConfig, PretrainConfig, SimCLRConfig

Batch = dict[str, Tensor]
Views = Callable[[Batch, torch.Generator], tuple[Tensor, Tensor]]


class VectorPair(nn.Module):
    """Encoders and projection heads: two images in, two embeddings out; one shared branch for SimCLR."""

    def __init__(self, encoders: DualEncoder, projection_dim: int) -> None:
        super().__init__()
        self.encoders = encoders
        branches = [name for name in ("s1", "s2") if getattr(encoders, name) is not None]
        self.heads = nn.ModuleDict({name: _head(getattr(encoders, name).dim, projection_dim) for name in branches})
        self.first, self.second = branches[0], branches[-1]

    def forward(self, x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C1, H, W), (N, C2, H, W) → embeddings (N, D), (N, D), before normalisation."""
        if self.first == self.second:  # one pass, so that BatchNorm sees both views
            return self._embed(torch.cat([x1, x2]), self.first).chunk(2)
        return self._embed(x1, self.first), self._embed(x2, self.second)

    def _embed(self, x: Tensor, branch: str) -> Tensor:
        return self.heads[branch](getattr(self.encoders, branch)(x))


class MapPair(nn.Module):
    """Encoders alone: two images in, their last feature maps out, (N, E, H/s, W/s) each."""

    def __init__(self, encoders: DualEncoder) -> None:
        super().__init__()
        self.encoders = encoders

    def forward(self, x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
        return self.encoders.s1.pyramid(x1)[-1], self.encoders.s2.pyramid(x2)[-1]


@dataclass(frozen=True)
class Method:
    """One method, ready to train: `loss(z1, z2, mask)`, `similarity(z1, z2)` and `views(batch, generator)`."""

    config: PretrainConfig
    model: VectorPair | MapPair
    views: Views
    held_out_views: Views

    def loss(self, z1: Tensor, z2: Tensor, false_negatives: Tensor | None = None) -> Tensor:
        """The contrastive loss of N pairs of embeddings or maps."""
        loss = mma_loss if isinstance(self.config, MMAConfig) else nt_xent
        return loss(z1, z2, self.config.temperature, false_negatives)

    def similarity(self, z1: Tensor, z2: Tensor) -> Tensor:
        """(N, …), (M, …) → (N, M): cosine, or for maps the best mean cosine over offsets."""
        if isinstance(self.config, MMAConfig):
            return map_similarity(z1, z2)
        return F.normalize(z1.float(), dim=1) @ F.normalize(z2.float(), dim=1).T


def make_method(config: PretrainConfig) -> Method:
    """Build the model of a configuration with weights drawn from torch's generator; nothing is downloaded."""
    encoders = make_encoders(config)
    if isinstance(config, MMAConfig):
        stride = encoders.s2.strides[-1]
        if config.second_crop % stride or config.image_size % stride:
            raise ConfigError(
                f"image_size {config.image_size} and second_crop {config.second_crop} must be multiples of "
                f"{stride}, the stride of {config.backbone}"
            )
        return Method(config, MapPair(encoders), _search_views(config, stride), _search_views(config, stride))
    model = VectorPair(encoders, config.projection_dim)
    if not isinstance(config, SimCLRConfig):
        return Method(config, model, _sensor_views, _sensor_views)
    if config.bands == "rgb":
        _zero_other_bands(encoders.s2)
    views = _augmented_views(config)
    return Method(config, model, views, views)


def make_encoders(config: PretrainConfig) -> DualEncoder:
    """The encoders alone, one for each modality that the method trains."""
    bands = {"s1": len(S1_BANDS), "s2": len(S2_BANDS)}
    built = {name: make_encoder(config.backbone, bands[name], config.image_size) for name in config.modalities}
    return DualEncoder(built.get("s1"), built.get("s2"))


def _head(dim: int, projection_dim: int) -> nn.Module:
    return ProjectionHead(dim, dim, projection_dim) if projection_dim else nn.Identity()


def _sensor_views(batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Dual-SimCLR: the two sensors are the two views."""
    return batch["s1"], batch["s2"]


def _search_views(config: MMAConfig, stride: int) -> Views:
    """MMA: the whole S1 crop, and a smaller S2 crop at a random place on the grid of the feature map."""
    if config.second_crop in (0, config.image_size):
        return _sensor_views
    size, places = config.second_crop, (config.image_size - config.second_crop) // stride + 1

    def views(batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        x = batch["s2"]  # (N, 13, H, W)
        corner = torch.randint(places, (2, len(x)), generator=generator, device=generator.device) * stride
        pixel = torch.arange(size, device=x.device) + corner.to(x.device)[:, :, None]  # (2, N, size)
        patch = torch.arange(len(x), device=x.device)[:, None, None]
        cut = x.permute(0, 2, 3, 1)[patch, pixel[0][:, :, None], pixel[1][:, None, :]]  # (N, size, size, 13)
        return batch["s1"], cut.permute(0, 3, 1, 2)

    return views


def _augmented_views(config: SimCLRConfig) -> Views:
    """SimCLR: two draws of the augmentations that are valid for reflectances seen from above."""
    augment = Compose(
        [
            CropResize(config.image_size, scale=(config.crop_scale, 1.0)),
            Flip(),
            Rotate90(),
            Illumination(config.jitter),
            BandDrop(config.band_drop),
        ]
    )
    keep = torch.zeros(len(S2_BANDS), dtype=torch.bool)
    keep[band_index(RGB) if config.bands == "rgb" else slice(None)] = True

    def views(batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        s2 = {"s2": batch["s2"] * keep.to(batch["s2"].device)[:, None, None]}  # 0 is the training mean
        return augment(s2, generator)["s2"], augment(s2, generator)["s2"]

    return views


@torch.no_grad()
def _zero_other_bands(encoder: nn.Module) -> None:
    """Zero the first layer's weights of all bands but RGB: their inputs are 0, so that they stay 0."""
    first = next(module for module in encoder.modules() if isinstance(module, nn.Conv2d))
    others = [i for i in range(len(S2_BANDS)) if i not in band_index(RGB)]
    first.weight[:, others] = 0.0
