"""SwinUNet: the two pretrained Swin encoders, a Swin decoder for each, one segmentation."""

import torch
from timm.models.swin_transformer import SwinTransformerStage
from torch import Tensor, nn

from eo_ssl.errors import ConfigError
from eo_ssl.models.dual import Batch, DualEncoder, held
from eo_ssl.models.encoders import Encoder
from eo_ssl.models.unet import pad_to_multiple
from eo_ssl.sensors import NUM_CLASSES


class PatchExpand(nn.Module):
    """The inverse of patch merging: each token becomes scale × scale finer tokens.

    A linear layer widens C to scale²·out channels, which are laid out as a square and normalised.
    Shape: (B, H, W, C) → (B, scale·H, scale·W, out). Source: Cao et al. (2021), "Swin-Unet", section 3.5.
    """

    def __init__(self, dim: int, out: int, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale
        self.expand = nn.Linear(dim, scale * scale * out, bias=False)
        self.norm = nn.LayerNorm(out)

    def forward(self, x: Tensor) -> Tensor:
        b, h, w, _ = x.shape
        s = self.scale
        x = self.expand(x).view(b, h, w, s, s, -1)  # (B, H, W, s, s, out)
        x = x.permute(0, 1, 3, 2, 4, 5).reshape(b, h * s, w * s, -1)  # (B, sH, sW, out)
        return self.norm(x)


class SwinDecoder(nn.Module):
    """From the coarsest map of one encoder back to its finest: expand, join the skip, attend.

    Depths, heads, windows and drop-path are those of the encoder's stages.
    Shape: pyramid [(B, Cᵢ, Hᵢ, Wᵢ)] → (B, H₀, W₀, C₀).
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        c = encoder.channels
        levels = list(reversed(range(len(c) - 1)))
        self.expand = nn.ModuleList(PatchExpand(c[i + 1], c[i]) for i in levels)
        self.join = nn.ModuleList(nn.Linear(2 * c[i], c[i]) for i in levels)
        self.stages = nn.ModuleList(_mirror(encoder.net.layers[i], c[i]) for i in levels)
        self.norm = nn.LayerNorm(c[0])

    def forward(self, maps: list[Tensor]) -> Tensor:
        *skips, coarsest = (x.permute(0, 2, 3, 1) for x in maps)  # (B, Hᵢ, Wᵢ, Cᵢ)
        x = coarsest
        for expand, join, stage, skip in zip(
            self.expand, self.join, self.stages, reversed(skips), strict=True
        ):
            x = join(torch.cat([expand(x), skip], dim=-1))  # (B, 2H, 2W, C/2)
            for block in stage.blocks:
                block.dynamic_mask = tuple(x.shape[1:3]) != tuple(block.input_resolution)
            x = stage(x)
        return self.norm(x)


def _mirror(stage: SwinTransformerStage, dim: int) -> SwinTransformerStage:
    """A fresh stage like the encoder's, without patch merging."""
    block = stage.blocks[0]
    return SwinTransformerStage(
        dim=dim,
        out_dim=dim,
        input_resolution=stage.output_resolution,
        depth=len(stage.blocks),
        downsample=False,
        num_heads=block.attn.num_heads,
        window_size=block.window_size,
        drop_path=[getattr(b.drop_path1, "drop_prob", 0.0) for b in stage.blocks],
    )


class SwinUNet(nn.Module):
    """Two Swin encoders, two decoders; their outputs side by side, four times finer, one 1×1 convolution.

    The backbone is the pair of encoders, as pretrained. Unlike the published code, a skip is the output of
    its stage (there the input), `backbone.freeze()` keeps the encoders in eval mode, and there are no unused layers.

    Shape: batch → (B, 8, H, W) logits. H and W should be multiples of patch · 2^(stages−1) · window
    (4·4·4 = 64 for `swin_mini`, 4·8·7 = 224 for Swin-T); otherwise the image is padded to a multiple of the
    coarsest stride by repeating its border, attention pads its windows, and the result is cropped.
    A missing sensor is a pyramid of zeros. Raises `ConfigError` for encoders that are no Swin.
    Source: Scheibenreif et al. (2022), "Self-supervised vision transformers for land-cover segmentation and
    classification", after Cao et al. (2021).
    """

    def __init__(self, s1: Encoder, s2: Encoder) -> None:
        super().__init__()
        for encoder in (s1, s2):
            if not encoder.is_swin or encoder.strides[0] != 4:
                raise ConfigError(f"SwinUNet needs Swin encoders with patch size 4, got {encoder.name}")
        self.backbone = DualEncoder(s1, s2)
        self.decoders = nn.ModuleDict({"s1": SwinDecoder(s1), "s2": SwinDecoder(s2)})
        dim = s1.channels[0] + s2.channels[0]
        self.expand = PatchExpand(dim, dim, scale=4)
        self.head = nn.Conv2d(dim, NUM_CLASSES, 1)

    def forward(self, batch: Batch) -> Tensor:
        images, decoded = held(batch), []
        h, w = next(iter(images.values())).shape[2:]
        multiple = self.backbone.s1.strides[-1]
        padded = {name: pad_to_multiple(image, multiple) for name, image in images.items()}
        like = next(iter(padded.values()))
        for name, encoder in self.backbone.encoders().items():
            if name in padded:
                maps = encoder.pyramid(padded[name])
            else:
                sides = [[n // stride for n in like.shape[2:]] for stride in encoder.strides]
                maps = [like.new_zeros(len(like), c, *side) for c, side in zip(encoder.channels, sides)]
            decoded.append(self.decoders[name](maps))  # (B, H/4, W/4, C)
        x = self.expand(torch.cat(decoded, dim=-1))  # (B, H, W, 2C)
        return self.head(x.permute(0, 3, 1, 2))[:, :, :h, :w]
