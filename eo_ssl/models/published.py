"""Encoders that others have released, in ours: from a file of the user's, every weight accounted for.

| release | files | names of the weights | inputs as in |
|---|---|---|---|
| the two papers of this course: ResNet-18, ResNet-50, Swin-T | one | `backbone1.…` S1, `backbone2.…` S2 | `PAPERS` |
| DeCUR: ResNet-50 | one for each sensor, or one | bare, or `backbone_1.…`, `backbone_2.…` | `DECUR` |

All may stand behind `module.` or `model.`, and inside "state_dict" or "model". What is left over are projections and
classifiers (`HEADS`). Weights for 12 bands of S2 lack B10: they get a first layer to which it says nothing. Sources:
github.com/HSG-AIML/SSLTransformerRS and github.com/zhu-xlab/DeCUR, and torchgeo for the inputs of DeCUR. Tested on files
made in these formats, not on the released ones.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from eo_ssl.errors import CheckpointError
from eo_ssl.models.dual import DualEncoder
from eo_ssl.models.encoders import PEAK, Encoder, make_encoder
from eo_ssl.sensors import S1_BANDS, S2_BANDS

HEADS = re.compile(r"(fc|head|projector\d?|bn)(\.|$)")
_WRAPPER = re.compile(r"^((module|model)\.)+")  # put before each name by DataParallel and training frameworks
_BRANCH = re.compile(r"backbone_?([12])\.")
_MERGE = re.compile(r"layers\.(\d)\.downsample")
_BANDS = {"s1": len(S1_BANDS), "s2": len(S2_BANDS)}


class Inputs(NamedTuple):
    """What inputs are standardised with (dB, reflectance), and what the names of the networks begin with."""

    s1_mean: tuple[float, ...]
    s1_std: tuple[float, ...]
    s2_mean: tuple[float, ...]
    s2_std: tuple[float, ...]
    prefix: str = ""


# σ⁰ + 25 dB and digital numbers, which a `peak_…` network clips, and divides by the maximum of the image.
PAPERS = Inputs((-25.0,) * 2, (1.0,) * 2, (0.0,) * 13, (1e-4,) * 13, PEAK)
DECUR = Inputs((-12.59, -20.26), (5.26, 5.91), (0.0,) * 13, (1.0,) * 13)


def load_published(*paths: str | Path) -> tuple[DualEncoder, Inputs]:
    """The two encoders of a release and what they expect; which network it is, is told from the weights.

    Nothing is unpickled. Raises `CheckpointError` for a file that cannot be read, and for weights that are missing, left
    over, or of another shape.
    """
    where = " and ".join(map(str, paths))
    branches: dict[str, dict[str, Tensor]] = {"s1": {}, "s2": {}}
    inputs = DECUR
    for path in paths:
        weights = _weights(path)
        if any(name.startswith("backbone1.") for name in weights):
            inputs = PAPERS
        own = _sensor_of(weights)
        for name, value in weights.items():
            branch = _BRANCH.match(name)
            sensor = f"s{branch[1]}" if branch else own
            name = name[branch.end() :] if branch else name
            if not HEADS.match(name):
                branches.setdefault(sensor, {})[name] = value
    if unknown := [name for sensor in branches.keys() - _BANDS.keys() for name in branches[sensor]]:
        raise CheckpointError(f"{where}: weights of no encoder: {', '.join(unknown[:5])}")
    if lacking := [sensor for sensor in _BANDS if not branches[sensor]]:
        hint = "give the files of both sensors" if len(paths) == 1 else "give one file for each sensor"
        raise CheckpointError(f"{where}: no weights for {' and '.join(lacking)}; {hint}")
    return DualEncoder(*(_encoder(where, branches[s], s, inputs.prefix) for s in _BANDS)), inputs


def _weights(path: str | Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        why = str(error).splitlines()[0]
        raise CheckpointError(f"{path} cannot be read as plain weights: {why}") from error
    for key in ("state_dict", "model"):
        content = content.get(key, content) if isinstance(content, Mapping) else {}
    return {_WRAPPER.sub("", str(name)): value for name, value in content.items()}


def _sensor_of(weights: dict[str, Tensor]) -> str:
    """The sensor that bare names stand for, told from the bands of the first layer; "" if there is none."""
    first = next(
        (weights[name] for name in ("conv1.weight", "patch_embed.proj.weight") if name in weights), None
    )
    bands = first.shape[1] if isinstance(first, Tensor) and first.ndim == 4 else 0
    return {2: "s1", 12: "s2", 13: "s2"}.get(bands, "")


def _encoder(where: str, weights: dict[str, Tensor], sensor: str, prefix: str) -> Encoder:
    swin = "patch_embed.proj.weight" in weights
    first = "patch_embed.proj.weight" if swin else "conv1.weight"
    deep = "layer1.0.conv3.weight" in weights
    name = "swin_tiny_patch4_window7_224" if swin else "resnet50" if deep else "resnet18"
    encoder = make_encoder(prefix + name, _BANDS[sensor], 224)
    if sensor == "s2" and first in weights and weights[first].shape[1] == len(S2_BANDS) - 1:
        before, after = weights[first].split([S2_BANDS.index("B10"), 2], dim=1)
        weights = {**weights, first: torch.cat([before, torch.zeros_like(before[:, :1]), after], dim=1)}
    if swin:  # timm merges at the start of a stage, the original at the end, and keeps two tables as weights
        tables = ("attn_mask", "relative_position_index")
        kept = {name: value for name, value in weights.items() if not name.endswith(tables)}
        weights = {_MERGE.sub(lambda m: f"layers.{int(m[1]) + 1}.downsample", k): v for k, v in kept.items()}
    try:
        encoder.net.load_state_dict(weights)
    except RuntimeError as error:
        why = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{where} does not fit {name} for {sensor}: {why}") from error
    return encoder
