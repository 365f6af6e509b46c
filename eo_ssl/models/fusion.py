"""Where two sensors meet: at the input (early), at the features (late), or not at all."""

import torch
from torch import Tensor, nn

from eo_ssl.errors import ConfigError
from eo_ssl.models.dual import Batch, DualEncoder, held
from eo_ssl.models.encoders import Encoder, Freezable, make_encoder
from eo_ssl.sensors import NUM_CLASSES, S1_BANDS, S2_BANDS

BANDS = {"s1": len(S1_BANDS), "s2": len(S2_BANDS)}
FUSIONS = {"s1": ("s1",), "s2": ("s2",), "early": ("s1", "s2"), "late": ("s1", "s2"), "bands": ("s1", "s2")}


def stack(batch: Batch, sensors: tuple[str, ...]) -> Tensor:
    """The bands of the sensors as one image; a missing one of two is zeros, the training mean.

    Shape: s1 (B, 2, H, W), s2 (B, 13, H, W) → (B, 2, 13 or 15, H, W). `ConfigError` where none is there.
    """
    here = held(batch, sensors)
    like = next(iter(here.values()))
    b, _, h, w = like.shape
    blank = {name: like.new_zeros(b, BANDS[name], h, w) for name in sensors if name not in here}
    return torch.cat([(here | blank)[name] for name in sensors], dim=1)


class StackedEncoder(Freezable):
    """One encoder for the stacked bands of its sensors: S1 alone, S2 alone, or early fusion of both."""

    def __init__(self, encoder: Encoder, sensors: tuple[str, ...]) -> None:
        super().__init__()
        self.encoder, self.sensors = encoder, sensors
        self.dim = encoder.dim

    def forward(self, batch: Batch) -> Tensor:
        return self.encoder(stack(batch, self.sensors))  # (B, dim)


class BandStatistics(Freezable):
    """Mean and standard deviation of every band: no network at all, and what every network has to beat.

    Shape: s1 (B, 2, H, W), s2 (B, 13, H, W) → (B, 30).
    """

    dim = 2 * sum(BANDS.values())

    def forward(self, batch: Batch) -> Tensor:
        image = stack(batch, ("s1", "s2")).flatten(2)  # (B, 15, H·W)
        return torch.cat([image.mean(2), image.std(2)], dim=1)


class FeatureHead(nn.Linear):
    """One linear layer on standardised features: W·(x − μ)/σ + b, in float32.

    μ and σ are 0 and 1 until `standardise` is called with features of the training patches. It changes nothing that a
    linear layer can express, but lets it learn in few updates, whatever the scale of pretrained features.
    Shape: (B, dim) → (B, num_classes).
    """

    def __init__(self, dim: int, num_classes: int) -> None:
        super().__init__(dim, num_classes)
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))

    def standardise(self, features: Tensor) -> None:
        """Take mean and deviation of features (N, dim); those that hardly vary are not blown up."""
        scale = features.std(0)
        self.mean.copy_(features.mean(0))
        self.scale.copy_(scale.clamp(min=max(1e-2 * float(scale.mean()), 1e-6)))

    def forward(self, x: Tensor) -> Tensor:
        # Cheap, and bf16 would round large means away; on "meta", where shapes alone are computed, nothing is cast.
        with torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False):
            return super().forward((x.float() - self.mean) / self.scale)


class Classifier(nn.Module):
    """A backbone and one linear layer on its pooled features. Shape: batch → (B, 8) logits.

    The logits are read by softmax for one label per patch, by sigmoid for several.
    """

    def __init__(self, backbone: StackedEncoder | DualEncoder | BandStatistics) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = FeatureHead(backbone.dim, NUM_CLASSES)

    def encode(self, batch: Batch) -> Tensor:
        """Pooled features, (B, dim); where the backbone is frozen they can be computed once and kept.

        Of a missing sensor they are the mean of the training patches: the head adds nothing for them.
        """
        if not isinstance(self.backbone, DualEncoder):
            return self.backbone(batch)
        found, encoders = self.backbone.features(batch), self.backbone.encoders()
        means = self.head.mean.split([encoder.dim for encoder in encoders.values()])
        size = len(next(iter(found.values())))
        return torch.cat([found.get(name, mean.expand(size, -1)) for name, mean in zip(encoders, means)], 1)

    def forward(self, batch: Batch) -> Tensor:
        return self.head(self.encode(batch))


def make_classifier(fusion: str, backbone: str, image_size: int) -> Classifier:
    """A classifier from scratch; pretrained encoders go in with `Classifier(DualEncoder(s1, s2))`.

    The fusion is "s1", "s2", "early" (one encoder, 15 bands), "late" (two encoders) or "bands" (`BandStatistics`, no
    encoder). A sensor missing at test time: early fusion sees the training mean in its place (zeros after
    normalisation), late fusion the mean feature (zeros from scratch), and a model of one sensor raises `ConfigError`.

    >>> model = make_classifier("late", "resnet_nano", image_size=64)
    >>> model({"s1": torch.zeros(2, 2, 64, 64), "s2": torch.zeros(2, 13, 64, 64)}).shape
    torch.Size([2, 8])
    """
    if fusion not in FUSIONS:
        raise ConfigError(f"unknown fusion {fusion!r}; choose one of {', '.join(FUSIONS)}")
    if fusion == "bands":
        return Classifier(BandStatistics())
    bands = [BANDS[name] for name in FUSIONS[fusion]]
    if fusion == "late":
        return Classifier(DualEncoder(*(make_encoder(backbone, n, image_size) for n in bands)))
    encoder = make_encoder(backbone, sum(bands), image_size)
    return Classifier(StackedEncoder(encoder, FUSIONS[fusion]))
