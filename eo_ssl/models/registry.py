"""Which networks there are: every name of timm, and small ones for laptops and tests."""

from difflib import get_close_matches

import timm
from timm.models.resnet import BasicBlock, ResNet
from timm.models.swin_transformer import SwinTransformer
from torch import nn

from eo_ssl.errors import ConfigError
from eo_ssl.models.vgg import VGG

# Small networks from timm's own classes: `mini` has about 1.3 M parameters, `nano` under 0.1 M.
RESNETS = {
    "resnet_mini": dict(layers=(1, 1, 1, 1), channels=(32, 64, 128, 256)),
    "resnet_nano": dict(layers=(1, 1, 1, 1), channels=(8, 16, 32, 64), stem_type="deep", stem_width=4),
}
SWINS = {
    "swin_mini": dict(
        embed_dim=48, depths=(2, 2, 2), num_heads=(3, 6, 12), window_size=4, drop_path_rate=0.0
    ),
    "swin_nano": dict(embed_dim=16, depths=(2, 2), num_heads=(2, 4), window_size=4, drop_path_rate=0.0),
}
VGGS = {"vgg_mma": (64, 128, 256, 128), "vgg_mma_mini": (16, 32, 64, 64)}
SMALL = (*RESNETS, *SWINS, *VGGS)


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


def _swin(settings: dict, in_chans: int, image_size: int) -> SwinTransformer:
    grid = -(-image_size // 4)
    window = best_window(grid, len(settings["depths"]), settings["window_size"])
    return SwinTransformer(
        img_size=grid * 4, in_chans=in_chans, num_classes=0, **{**settings, "window_size": window}
    )


def _timm(name: str, in_chans: int, image_size: int) -> nn.Module:
    settings = {"pretrained": False, "in_chans": in_chans, "num_classes": 0}
    if name.startswith("swin_") and "patch4" in name:
        grid, window = -(-image_size // 4), 12 if "window12" in name else 7
        settings |= {"img_size": grid * 4, "window_size": best_window(grid, 4, window)}
        return timm.create_model(name, **settings)
    try:
        return timm.create_model(name, img_size=image_size, **settings)
    except TypeError:  # convolutional networks take any size and know no img_size
        return timm.create_model(name, **settings)


def build(name: str, in_chans: int, image_size: int) -> nn.Module:
    """The bare network without a classifier; raises `ConfigError` naming the nearest names."""
    if name in RESNETS:
        return ResNet(BasicBlock, in_chans=in_chans, num_classes=0, **RESNETS[name])
    if name in SWINS:
        return _swin(SWINS[name], in_chans, image_size)
    if name in VGGS:
        return VGG(in_chans, VGGS[name])
    if not timm.is_model(name):
        near = get_close_matches(name, [*SMALL, *timm.list_models()], n=4, cutoff=0.5)
        hint = (
            f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(SMALL)} and all names of timm"
        )
        raise ConfigError(f"unknown encoder {name!r}; {hint}")
    return _timm(name, in_chans, image_size)
