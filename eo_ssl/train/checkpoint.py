"""Pretrained encoders on disk: safetensors + JSON + a model card, in the form of huggingface_hub.

`PretrainedEncoders.from_pretrained(folder_or_hub_name)` works as for any model of the hub. `load_dual`,
`load_encoders` and `load_method` read a local folder, check that it is what the caller expects, and say
what differs.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard, PyTorchModelHubMixin
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from eo_ssl.data.transforms import Statistics
from eo_ssl.errors import CheckpointError, DataError, EOError
from eo_ssl.files import read_json
from eo_ssl.models.dual import DualEncoder
from eo_ssl.models.encoders import Encoder, make_encoder
from eo_ssl.sensors import S1_BANDS, S2_BANDS
from eo_ssl.train.card import model_card
from eo_ssl.train.config import PretrainConfig, config_from_dict
from eo_ssl.train.methods import Method, make_method

FORMAT = 1
# config.json comes last: it marks the folder as complete. The heads only serve to embed as in pretraining.
FILES = ("model.safetensors", "heads.safetensors", "README.md", "config.json")

Meta = dict[str, Any]


class PretrainedEncoders(DualEncoder, PyTorchModelHubMixin, library_name="eo_ssl", license="mit"):
    """The encoders of both sensors (None where a method trained one only) and how they came about.

    `encoders` maps "s1" and "s2" to the arguments of `make_encoder` or None; `meta` is what config.json says;
    with `shared_trunk` both are one network after their stems.
    """

    def __init__(self, encoders: dict[str, Any], meta: Meta, shared_trunk: bool = False) -> None:
        super().__init__(*(make_encoder(**spec) if (spec := encoders[k]) else None for k in ("s1", "s2")))
        self.meta = meta
        if shared_trunk:  # contiguous: safetensors finds shared weights by where they lie
            self.share_trunk().to(memory_format=torch.contiguous_format)

    def _save_pretrained(self, save_directory: Path) -> None:
        """Write every weight under every name: a file of two plain encoders, whether they share or not."""
        weights = {name: value.contiguous().clone() for name, value in self.state_dict().items()}
        save_file(weights, save_directory / "model.safetensors", metadata={"format": "pt"})

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """The card that `save_pretrained` writes as README.md."""
        return ModelCard(model_card(self.meta))


def save_pretrained(method: Method, folder: str | Path, meta: Meta) -> Path:
    """Write encoders, heads and `meta` to `folder`; each file appears whole, config.json last.

    Raises `CheckpointError` when the disk is full; files that were there are then unchanged.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    encoders = method.encoders()
    specs = {name: _spec(encoder) for name, encoder in encoders.items()}
    export = PretrainedEncoders(specs, meta, method.model.encoder.shares_trunk)
    for name, encoder in encoders.items():
        if encoder is not None:
            getattr(export, name).load_state_dict(encoder.state_dict())
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".export-"))
    try:
        export.save_pretrained(temporary)
        save_file(_heads(method), temporary / "heads.safetensors")
        for name in FILES:
            with open(temporary / name, "rb+") as file:
                os.fsync(file.fileno())
            (temporary / name).chmod(0o644)  # safetensors makes files that only their owner reads
        (folder / "config.json").unlink(missing_ok=True)
        for name in FILES:
            os.replace(temporary / name, folder / name)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder}: the model could not be written ({error}); free some space"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def load_pretrained(folder: str | Path, **expected: Any) -> PretrainedEncoders:
    """The encoders of a folder in eval mode; given values of its meta data must agree with the checkpoint.

    `expected` names any of method, backbone, image_size, s1_bands, s2_bands. Raises `CheckpointError` that
    names what is missing, broken or different.
    """
    folder = Path(folder)
    meta, built = read_meta(folder)
    refuse_differences(folder, meta, expected)
    try:
        model = PretrainedEncoders(meta=meta, **built)
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except (OSError, RuntimeError, SafetensorError, EOError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"{folder}: the weights do not load ({reason}); train or fetch them again"
        ) from error
    return model.eval()


def load_encoders(folder: str | Path, **expected: Any) -> tuple[dict[str, Encoder | None], Statistics]:
    """The encoder of each sensor (None for one that was not trained) and the statistics their inputs need."""
    model = load_pretrained(folder, **expected)
    return {"s1": model.s1, "s2": model.s2}, Statistics.from_dict(model.meta["statistics"])


def load_dual(folder: str | Path, **expected: Any) -> tuple[DualEncoder, Meta]:
    """The encoders as one `DualEncoder` in eval mode, and the meta data."""
    model = load_pretrained(folder, **expected)
    return model, model.meta


def load_method(folder: str | Path, **expected: Any) -> tuple[Method, Statistics]:
    """The whole method with its heads, in eval mode, to embed pairs as in pretraining (for retrieval)."""
    model = load_pretrained(folder, **expected)
    statistics = Statistics.from_dict(model.meta["statistics"])
    method = make_method(config_from_dict(model.meta["config"]), statistics)
    if model.shares_trunk:
        method.model.encoder.share_trunk()
    for name, encoder in method.encoders().items():
        if encoder is not None:
            encoder.load_state_dict(getattr(model, name).state_dict())
    heads = load_file(Path(folder) / "heads.safetensors")
    if set(heads) != set(_heads(method)):
        raise CheckpointError(
            f"{folder}: heads.safetensors belongs to another model; train or fetch it again"
        )
    method.model.load_state_dict(heads, strict=False)
    method.model.eval()
    return method, statistics


def read_meta(folder: Path) -> tuple[Meta, dict[str, Any]]:
    """Meta data of a checkpoint folder, and the other arguments of its `PretrainedEncoders`; no weights are read."""
    try:
        config = read_json(folder / "config.json")
    except DataError as error:
        raise CheckpointError(f"{folder}: no checkpoint here ({error})") from error
    try:
        meta, found = config["meta"], config["meta"]["format"]
        built = {"encoders": config["encoders"], "shared_trunk": config.get("shared_trunk", False)}
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{folder}/config.json was not written by eo_ssl: no {error}") from error
    if found != FORMAT:
        raise CheckpointError(
            f"{folder}: format {found}, this version of eo_ssl reads {FORMAT}; update eo_ssl"
        )
    return meta, built


def refuse_differences(folder: Path, found: Meta, expected: Meta) -> None:
    """Raise `CheckpointError` that names each value of `found` which is not the expected one."""
    differences = [
        f"{key} is {_short(found.get(key))}, not {_short(value)}"
        for key, value in expected.items()
        if _short(found.get(key)) != _short(value)
    ]
    if differences:
        raise CheckpointError(f"{folder}: another model: {'; '.join(differences)}")


def base_meta(config: PretrainConfig, statistics: Statistics) -> Meta:
    """The part of the meta data that follows from configuration and statistics."""
    return {
        "format": FORMAT,
        "method": config.name,
        "backbone": config.backbone,
        "image_size": config.image_size,
        "config": config.to_dict(),
        "s1_bands": list(S1_BANDS),
        "s2_bands": list(S2_BANDS),
        "statistics": statistics.to_dict(),
    }


def _spec(encoder: Encoder | None) -> dict[str, Any] | None:
    if encoder is None:
        return None
    return {"name": encoder.name, "in_chans": encoder.in_chans, "image_size": encoder.image_size}


def _heads(method: Method) -> dict[str, Tensor]:
    state = method.model.state_dict()
    return {name: value.contiguous() for name, value in state.items() if not name.startswith("encoder.")}


def _short(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
