"""The weights released with the papers, in our encoders.

The authors' code (github.com/HSG-AIML/SSLTransformerRS) writes its checkpoints as

    {"epoch": int, "arch": str, "state_dict": {"backbone1.…": S1, "backbone2.…": S2}, "optimizer": {…}}

with torchvision's names for a ResNet (and a projection `fc`) or the original Swin's names (and an unused `head`),
all of them after `module.` or `model.` where a wrapper was saved.
This module was tested on files made in that format, not on the released files themselves.
"""

import re
from pathlib import Path

import torch
from timm.models.swin_transformer import checkpoint_filter_fn
from torch import Tensor

from eo_ssl.errors import CheckpointError
from eo_ssl.models.dual import Batch, DualEncoder
from eo_ssl.models.encoders import Encoder, make_encoder
from eo_ssl.sensors import DN_PER_REFLECTANCE, S1_BANDS, S2_BANDS

BRANCHES = {"s1": ("backbone1.", len(S1_BANDS)), "s2": ("backbone2.", len(S2_BANDS))}
WRAPPER = re.compile(r"^((module|model)\.)+")  # put before each name by DataParallel and training frameworks


def load_published(path: str | Path) -> DualEncoder:
    """The two encoders of a released checkpoint; ResNet-18, ResNet-50 or Swin-T is told from its keys.

    The Swin keeps its windows of 7 and its 224 pixels (other sizes are padded). Feed it with
    `published_preprocess`, which is not the normalisation of this package. Nothing is unpickled.
    Raises `CheckpointError` for a file that is not in the format above.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        why = str(error).splitlines()[0]
        raise CheckpointError(f"{path} cannot be read as plain weights: {why}") from error
    weights = content.get("state_dict", content) if isinstance(content, dict) else {}
    weights = {WRAPPER.sub("", str(name)): value for name, value in weights.items()}
    branches = {
        sensor: {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        for sensor, (prefix, _) in BRANCHES.items()
    }
    if not all(branches.values()):
        there = ", ".join(sorted({f"{k.partition('.')[0]}.…" for k in weights})[:5]) or "no weights"
        raise CheckpointError(f"{path} holds no 'backbone1.…' and 'backbone2.…' weights, but {there}")
    return DualEncoder(*(_encoder(path, branches[sensor], BRANCHES[sensor][1]) for sensor in BRANCHES))


def _encoder(path: str | Path, weights: dict[str, Tensor], bands: int) -> Encoder:
    if "patch_embed.proj.weight" in weights:
        encoder = make_encoder("swin_tiny_patch4_window7_224", bands, 224)
        weights = checkpoint_filter_fn(weights, encoder.net)
    else:
        name = "resnet50" if "layer1.0.conv3.weight" in weights else "resnet18"
        encoder = make_encoder(name, bands, 128)
    weights = {k: v for k, v in weights.items() if not k.startswith(("fc.", "head."))}
    try:
        encoder.net.load_state_dict(weights)
    except RuntimeError as error:
        why = str(error).splitlines()[1].strip()
        raise CheckpointError(f"{path} does not fit {encoder.name}: {why}") from error
    return encoder


def published_preprocess(batch: Batch) -> dict[str, Tensor]:
    """What the released weights were trained on, from S1 in dB and S2 in reflectance (not normalised).

    S1 is clipped to −25…0 dB and raised by 25, S2 to 0…10,000 DN; then each band of each image is divided by
    its own maximum. Shape: s1 (B, 2, H, W), s2 (B, 13, H, W) → the same, in [0, 1].
    """
    s1 = batch["s1"].clamp(-25.0, 0.0) + 25.0
    s2 = (batch["s2"] * DN_PER_REFLECTANCE).clamp(0.0, 1e4)
    scaled = {k: x / x.amax((2, 3), keepdim=True).clamp_min(1e-6) for k, x in (("s1", s1), ("s2", s2))}
    return {**batch, **scaled}
