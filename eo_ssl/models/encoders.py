"""One face for all encoders: pooled features, and the pyramid of maps they come from."""

import torch
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

from eo_ssl.errors import ConfigError
from eo_ssl.models.freeze import Freezable
from eo_ssl.models.registry import build


class Encoder(Freezable):
    """A network of timm (or a small one of ours) for any number of bands.

    Attributes: `name`; `in_chans`; `image_size` in pixels; `dim`, length of the pooled feature; `channels`
    and `strides` of the (up to four) levels of the pyramid, the finest first.

    A convolutional network takes images of any size, a Swin too: it keeps its windows, pads each stage with
    zeros to a multiple of the window and crops again; an image that the patch size does not divide is padded.
    Other transformers take `image_size` only.
    """

    def __init__(self, name: str, in_chans: int, image_size: int) -> None:
        super().__init__()
        self.name, self.in_chans, self.image_size = name, in_chans, image_size
        self.net = build(name, in_chans, image_size)
        levels = list(self.net.feature_info)[-4:]
        self.channels = tuple(int(level["num_chs"]) for level in levels)
        self.strides = tuple(int(level["reduction"]) for level in levels)
        self.dim = int(self.net.num_features)
        self.is_swin = isinstance(self.net, SwinTransformer)
        self.fixed_size = hasattr(self.net, "patch_embed") and not self.is_swin
        # Convolutions with batch norm are faster with the channels last, on CPU in bf16 about twice.
        self.channels_last = any(isinstance(m, nn.BatchNorm2d) for m in self.net.modules())
        if self.channels_last:
            self.net.to(memory_format=torch.channels_last)
        if self.is_swin:
            self.net.patch_embed.strict_img_size = False
            self.net.patch_embed.dynamic_img_pad = True

    def _prepare(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] != self.in_chans:
            raise ConfigError(f"{self.name} expects (B, {self.in_chans}, H, W), got {tuple(x.shape)}")
        if self.fixed_size and tuple(x.shape[-2:]) != (self.image_size, self.image_size):
            raise ConfigError(f"{self.name} was built for {self.image_size} pixels, got {tuple(x.shape)}")
        if self.is_swin:  # the attention masks of shifted windows are kept for one image size
            own = tuple(x.shape[-2:]) == tuple(self.net.patch_embed.img_size)
            for stage in self.net.layers:
                for block in stage.blocks:
                    block.dynamic_mask = not own
        return x.contiguous(memory_format=torch.channels_last) if self.channels_last else x

    def forward(self, x: Tensor) -> Tensor:
        """Pooled feature. Shape: (B, in_chans, H, W) → (B, dim)."""
        return self.net(self._prepare(x))

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """Maps from fine to coarse, channels first. Shape: (B, in_chans, H, W) → [(B, Cᵢ, H/sᵢ, W/sᵢ)]."""
        if not hasattr(self.net, "forward_intermediates"):
            raise ConfigError(f"{self.name} has no feature pyramid; use a ResNet or a Swin")
        x = self._prepare(x)
        return self.net.forward_intermediates(
            x, indices=len(self.channels), norm=True, intermediates_only=True
        )

    def maps(self, x: Tensor) -> Tensor:
        """The coarsest maps, those that MMA compares. Shape: (B, in_chans, H, W) → (B, E, h, w)."""
        return self.pyramid(x)[-1]


def make_encoder(name: str, in_chans: int, image_size: int) -> Encoder:
    """An encoder with fresh weights, by its name in timm or `resnet_mini`, `swin_mini`, `resnet_nano`,
    `swin_nano`, `vgg_mma`, `vgg_mma_mini`.

    Raises `ConfigError` for an unknown name (with the nearest ones) or a size below 8 pixels.

    >>> encoder = make_encoder("resnet_mini", in_chans=13, image_size=64)
    >>> encoder.dim, encoder.channels, encoder.strides
    (256, (32, 64, 128, 256), (4, 8, 16, 32))
    >>> encoder(torch.randn(2, 13, 64, 64)).shape
    torch.Size([2, 256])
    """
    if in_chans < 1 or image_size < 8:
        raise ConfigError(
            f"{name}: in_chans ≥ 1 and image_size ≥ 8 are needed, got {in_chans} and {image_size}"
        )
    return Encoder(name, in_chans, image_size)
