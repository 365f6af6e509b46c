"""One face for all encoders: pooled features, and the pyramid of maps they come from.

There is every network of timm by its name, and small ones for laptops and tests.
"""

from difflib import get_close_matches
from itertools import pairwise
from typing import Self

import timm
import torch
import torch.nn.functional as F
from timm.models.resnet import BasicBlock, ResNet
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

from eo_ssl.errors import ConfigError
from eo_ssl.sensors import DN_PER_REFLECTANCE, S1_BANDS

# Small networks from timm's own classes: `mini` has about a million parameters, `nano` under 0.1 M. With 13 bands the
# usual first layer (7×7 to 64 channels) would be two thirds of all the work of such a network: three thin 3×3 layers
# see as far and leave a CPU twice as fast.
RESNETS = {
    "resnet_mini": dict(layers=(1, 1, 1, 1), channels=(32, 64, 128, 256), stem_type="deep", stem_width=16),
    "resnet_nano": dict(layers=(1, 1, 1, 1), channels=(8, 16, 32, 64), stem_type="deep", stem_width=4),
}
SWINS = {
    "swin_mini": dict(embed_dim=32, depths=(2, 2, 2), num_heads=(2, 4, 8)),
    "swin_nano": dict(embed_dim=16, depths=(2, 2), num_heads=(2, 4)),
}
VGGS = {"vgg_mma": (64, 128, 256, 128), "vgg_mma_mini": (8, 24, 48, 64)}
SMALL = (*RESNETS, *SWINS, *VGGS)
PEAK = "peak_"
WHOLE = 224  # a Swin called so keeps the windows that it was published with, whatever is shown to it


class Freezable(nn.Module):
    """A module that stays as it is once `freeze()` was called, even under `.train()`."""

    frozen = False

    def freeze(self) -> Self:
        """Take gradients off all parameters and stay in eval mode."""
        self.frozen = True
        self.requires_grad_(False)
        return self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Training mode, unless frozen: statistics of batch-norm would drift, drop-path would stay on."""
        return super().train(mode and not self.frozen)


class Encoder(Freezable):
    """A network of timm (or a small one of ours) for any number of bands.

    Attributes: `name`; `in_chans`; `image_size` in pixels; `dim`, length of the pooled feature; `channels`
    and `strides` of the (up to four) levels of the pyramid, the finest first.

    A convolutional network takes images of any size, a Swin too: it keeps its windows, pads each stage with
    zeros to a multiple of the window and crops again; an image that the patch size does not divide is padded.
    Other transformers take `image_size` only. A network called `peak_…` first divides each band of each image by its
    own maximum, as the papers of this course did.
    """

    def __init__(self, name: str, in_chans: int, image_size: int) -> None:
        super().__init__()
        self.name, self.in_chans, self.image_size = name, in_chans, image_size
        self.peak = name.startswith(PEAK)
        self.net = _build(name.removeprefix(PEAK), in_chans, WHOLE if self.peak else image_size)
        levels = list(self.net.feature_info)[-4:]
        self.channels = tuple(int(level["num_chs"]) for level in levels)
        self.strides = tuple(int(level["reduction"]) for level in levels)
        self.dim = int(getattr(self.net, "head_hidden_size", None) or self.net.num_features)
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
        if self.peak:  # S1 is dB above −25, S2 digital numbers
            x = x.clamp(0.0, 25.0 if self.in_chans == len(S1_BANDS) else DN_PER_REFLECTANCE)
            x = x / x.amax((2, 3), keepdim=True).clamp_min(1e-6)
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
        options = {"indices": len(self.channels), "norm": True, "intermediates_only": True}
        return self.net.forward_intermediates(self._prepare(x), **options)

    def maps(self, x: Tensor) -> Tensor:
        """The coarsest maps, those that MMA compares. Shape: (B, in_chans, H, W) → (B, E, h, w)."""
        return self.pyramid(x)[-1]


def make_encoder(name: str, in_chans: int, image_size: int) -> Encoder:
    """An encoder with fresh weights: any network of timm by its name, or a small one (`SMALL`).

    Raises `ConfigError` for an unknown name (with the nearest ones), a name that promises pretrained weights
    ("resnet50.a1_in1k"), or a size below 8 pixels.

    >>> encoder = make_encoder("resnet_mini", in_chans=13, image_size=64)
    >>> encoder.dim, encoder.channels, encoder.strides
    (256, (32, 64, 128, 256), (4, 8, 16, 32))
    >>> encoder(torch.randn(2, 13, 64, 64)).shape
    torch.Size([2, 256])
    """
    if image_size < 8:
        raise ConfigError(f"{name}: image_size must be 8 or more, not {image_size}")
    return Encoder(name, in_chans, image_size)


def _build(name: str, in_chans: int, image_size: int) -> nn.Module:
    """The bare network without a classifier."""
    bare = {"in_chans": in_chans, "num_classes": 0}
    grid = -(-image_size // 4)  # side of a Swin's patch grid
    if name in RESNETS:
        return ResNet(BasicBlock, **bare, **RESNETS[name])
    if name in SWINS:
        window = best_window(grid, len(SWINS[name]["depths"]), 4)
        return SwinTransformer(
            img_size=grid * 4, window_size=window, drop_path_rate=0.0, **bare, **SWINS[name]
        )
    if name in VGGS:
        return VGG(in_chans, VGGS[name])
    network, _, weights = name.partition(".")
    if not timm.is_model(name):
        near = ", ".join(get_close_matches(name, [*SMALL, *timm.list_models()], n=4, cutoff=0.5))
        hint = f"did you mean {near}?" if near else f"known: {', '.join(SMALL)} and all names of timm"
        raise ConfigError(f"unknown encoder {name!r}; {hint}")
    if weights:
        raise ConfigError(
            f"{name}: the weights {weights!r} are not loaded here, an encoder starts from random ones; "
            f"ask for {network!r}"
        )
    if name.startswith("swin_") and "patch4" in name:
        window = best_window(grid, 4, 12 if "window12" in name else 7)
        return timm.create_model(name, img_size=grid * 4, window_size=window, **bare)
    try:
        return timm.create_model(name, img_size=image_size, **bare)
    except TypeError as error:  # convolutional networks take any size and know no img_size
        if "img_size" not in str(error):
            raise
        return timm.create_model(name, **bare)


def best_window(grid: int, stages: int, wanted: int) -> int:
    """Window size near `wanted` that fills the patch grid of every stage; `wanted` itself where none does.

    A stage smaller than the window is one window. Where nothing fits, timm pads each stage with zeros up to a
    multiple of the window and crops afterwards: correct, but it attends to the padding and costs time.

    >>> best_window(56, 4, 7), best_window(32, 4, 7), best_window(31, 4, 7)  # 224, 128, 124 px
    (7, 8, 7)
    """
    grids = [-(-grid // 2**stage) for stage in range(stages)]
    near = sorted(range(max(2, wanted - 3), wanted + 4), key=lambda w: (abs(w - wanted), -w))
    return next((w for w in near if all(g % w == 0 or g < w for g in grids)), wanted)


class DoubleConv(nn.Sequential):
    """(conv 3×3 – batch norm – ReLU) twice. Shape: (B, in_chans, H, W) → (B, out_chans, H, W)."""

    def __init__(self, in_chans: int, out_chans: int) -> None:
        layers = []
        for chans in (in_chans, out_chans):
            convolution = nn.Conv2d(chans, out_chans, 3, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(out_chans), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class VGG(nn.Module):
    """Four blocks with a 2×2 max-pool between them: maps at stride 1, 2, 4 and 8.

    Shape: (B, in_chans, H, W) → (B, E, H/8, W/8). Source: Windsor et al. (2021), code.
    """

    def __init__(self, in_chans: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(DoubleConv(a, b) for a, b in pairwise((in_chans, *channels)))
        self.num_features = channels[-1]
        self.feature_info = [{"num_chs": c, "reduction": 2**i} for i, c in enumerate(channels)]

    def forward_intermediates(self, x: Tensor, **_: object) -> list[Tensor]:
        """Maps of all blocks, the finest first (the interface of timm)."""
        maps = [self.blocks[0](x)]
        for block in self.blocks[1:]:
            maps.append(block(F.max_pool2d(maps[-1], 2)))  # (B, C, H/2, W/2)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_intermediates(x)[-1].mean((2, 3))  # (B, E)
