"""Models on disk: safetensors + JSON + a model card, in the form of huggingface_hub; and the state of a run.

`PretrainedEncoders.from_pretrained(folder_or_hub_name)` works as for any model of the hub; `load_dual` and
`load_method` read a local folder. What was trained downstream has the same form (`eo_ssl.train.downstream`).
"""

import inspect
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import torch
from huggingface_hub import ModelCard, PyTorchModelHubMixin
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from eo_ssl.data.statistics import Statistics
from eo_ssl.errors import CheckpointError, DataError
from eo_ssl.files import atomic_path, read_json
from eo_ssl.models.dual import SENSORS, DualEncoder
from eo_ssl.models.encoders import make_encoder
from eo_ssl.models.published import load_published
from eo_ssl.provenance import training_code
from eo_ssl.sensors import S1_BANDS, S2_BANDS
from eo_ssl.train.config import config_from_dict
from eo_ssl.train.methods import Method, make_method

FORMAT = 1
# config.json comes last: it marks the folder as complete. The heads only serve to embed as in pretraining.
FILES = ("model.safetensors", "heads.safetensors", "README.md", "config.json")

Meta = dict[str, Any]
Model = TypeVar("Model", bound="SavedModel")


class SavedModel(PyTorchModelHubMixin, library_name="eo_ssl", license="mit"):
    """A model that the hub's own `from_pretrained` rebuilds from config.json and model.safetensors."""

    def saved(self) -> nn.Module:
        """The module whose weights are written."""
        return self  # type: ignore[return-value]

    def _save_pretrained(self, save_directory: Path) -> None:
        weights = plain(self.saved().state_dict())
        save_file(weights, save_directory / "model.safetensors", metadata={"format": "pt"})

    @classmethod
    def _load_as_safetensor(cls, model: Any, model_file: str, map_location: str, strict: bool) -> Any:
        # All weights, whatever the hub allows: a missing one would stay random.
        model.saved().load_state_dict(load_file(model_file), strict=True)
        return model.to(map_location).eval()


class PretrainedEncoders(DualEncoder, SavedModel):
    """The encoders of both sensors (None where a method trained one only) and how they came about.

    `encoders` maps "s1" and "s2" to the arguments of `make_encoder` or None; `meta` is what config.json says.
    """

    def __init__(self, encoders: dict[str, Any], meta: Meta) -> None:
        super().__init__(*(encoders[sensor] and make_encoder(**encoders[sensor]) for sensor in SENSORS))
        self.meta = meta

    @property
    def statistics(self) -> Statistics:
        """What the inputs are standardised with."""
        return Statistics.from_dict(self.meta["statistics"])

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """The text of README.md: method, bands, data, held-out numbers and limits; what is unknown says so."""
        meta = {key: value for key, value in self.meta.items() if value}
        metrics, config = meta.get("metrics", {}), meta.get("config", {})
        values = defaultdict(lambda: "unknown", {**config, **meta})
        values |= {name: ", ".join(meta[name]) for name in ("s1_bands", "s2_bands") if name in meta}
        lines = [f"| {k} | {v:.4g} |" for k, v in metrics.items() if isinstance(v, int | float)]
        values["metrics"] = "\n".join(
            ["| measure | value |", "|---|---|", *lines] if lines else ["Not measured."]
        )
        if "val_chance_top5" in metrics:
            values["chance"] = f"{metrics['val_chance_top5']:.3g}"
        values["select"] = str(meta.get("select", "loss")).removeprefix("val_")
        values["config"] = json.dumps(config, indent=2, sort_keys=True)
        text = Path(__file__).with_name("card.md").read_text(encoding="utf-8")
        return ModelCard(text.format_map(values))


def save_pretrained(method: Method, statistics: Statistics, folder: str | Path, **facts: Any) -> Path:
    """Write the encoders of a method, its heads and its meta data to `folder`, as `write_model` does.

    The meta data are configuration, `statistics`, the code that trains, and further `facts`.
    """
    config = method.config
    meta = {
        "method": config.name,
        "backbone": config.backbone,
        "image_size": config.image_size,
        "config": config.to_dict(),
        "code": training_code(),
        **facts,
    }
    heads = {k: v for k, v in method.model.state_dict().items() if not k.startswith("encoder.")}
    return write_model(_described(method.model.encoder, statistics, meta), folder, heads)


def save_published(folder: str | Path, *paths: str | Path) -> Path:
    """Write the encoders of a released file (or one for each sensor) to `folder`, to start from like any other.

    What the release expects of its inputs goes with them. Raises `CheckpointError` as `load_published`.
    """
    pair, inputs = load_published(*paths)
    known = dict(zip(("s1_mean", "s1_std", "s2_mean", "s2_std"), inputs))
    meta = {
        "method": "published",
        "backbone": pair.s1.name,
        "image_size": pair.s1.image_size,
        "config": {},
        "data": " and ".join(Path(path).name for path in paths),
    }
    return write_model(_described(pair, Statistics(**known), meta), folder)


def _described(pair: DualEncoder, statistics: Statistics, meta: Meta) -> PretrainedEncoders:
    """Encoders as they are saved: what rebuilds them, what they expect of their inputs, and what else is known."""
    specs: dict[str, Any] = dict.fromkeys(SENSORS)
    for name, encoder in pair.encoders().items():
        specs[name] = {"name": encoder.name, "in_chans": encoder.in_chans, "image_size": encoder.image_size}
    bands = {"s1_bands": list(S1_BANDS), "s2_bands": list(S2_BANDS)}
    model = PretrainedEncoders(specs, {"format": FORMAT, **bands, "statistics": statistics.to_dict(), **meta})
    model.load_state_dict(pair.state_dict())
    return model


def write_model(model: SavedModel, folder: str | Path, heads: Mapping[str, Tensor] | None = None) -> Path:
    """Write a model to `folder`; each file appears whole, config.json last.

    Raises `CheckpointError` when the disk is full; files that were there are then unchanged.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=".export-", ignore_cleanup_errors=True) as temporary:
            model.save_pretrained(temporary)
            if heads is not None:
                save_file(plain(heads), Path(temporary, "heads.safetensors"))
            written = [path for name in FILES if (path := Path(temporary, name)).exists()]
            readable = written[-1].stat().st_mode  # of config.json; safetensors writes for its owner alone
            for path in written:
                path.chmod(readable)
                with open(path, "rb+") as file:
                    os.fsync(file.fileno())
            (folder / "config.json").unlink(missing_ok=True)
            for path in written:
                path.replace(folder / path.name)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: cannot be written ({error}); free some space first") from error
    return folder


@contextmanager
def _loading(folder: str | Path) -> Iterator[None]:
    """Whatever a file that is missing, cut or edited leads to becomes one line."""
    try:
        yield
    except Exception as error:
        raise CheckpointError(f"{folder}: does not load ({_reason(error)}); train or fetch it") from error


def read_model(kind: type[Model], folder: str | Path) -> Model:
    """A model that `write_model` wrote, in eval mode; raises `CheckpointError` where it is missing or broken."""
    with _loading(folder):
        config = read_json(Path(folder, "config.json"))
        known = inspect.signature(kind.__init__).parameters
        model = kind(**{key: value for key, value in config.items() if key in known})
        model.saved().load_state_dict(load_file(Path(folder, "model.safetensors")))
    return model.eval()  # type: ignore[attr-defined]


def load_dual(folder: str | Path) -> tuple[PretrainedEncoders, Meta]:
    """The encoders of a folder in eval mode, and the meta data; raises `CheckpointError` as `read_model`."""
    meta = read_meta(folder)
    return read_model(PretrainedEncoders, folder), meta


def load_method(folder: str | Path) -> tuple[Method, Statistics]:
    """The whole method with its heads, in eval mode, to embed pairs as in pretraining (for retrieval)."""
    model, meta = load_dual(folder)
    with _loading(folder):
        method = make_method(config_from_dict(meta["config"]), model.statistics)
        heads = load_file(Path(folder, "heads.safetensors"))
        encoders = {f"encoder.{name}": value for name, value in model.state_dict().items()}
        method.model.load_state_dict(encoders | heads)
    method.model.eval()
    return method, model.statistics


def read_meta(folder: str | Path) -> Meta:
    """Meta data of a folder with pretrained encoders, no weights; raises `CheckpointError` as `read_model`."""
    with _loading(folder):
        meta = read_json(Path(folder, "config.json")).get("meta", {})
        lacks = {"format", "config", "statistics", "method", "backbone", "image_size"} - set(meta)
        if lacks:
            raise DataError(f"no {', '.join(sorted(lacks))} in config.json")
        if meta["format"] != FORMAT:
            raise DataError(f"format {meta['format']}, not {FORMAT}: update eo_ssl")
    return meta


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write the state of an unfinished run; a kill or a full disk leaves the state before it.

    Raises `CheckpointError` when the disk is full.
    """
    try:
        with atomic_path(path) as temporary:
            torch.save(dict(state), temporary)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: the state of the run could not be written ({_reason(error)}); free some space and start "
            "again: the run goes on from the state before"
        ) from error


def load_state(path: Path, *needed: str) -> dict[str, Any] | None:
    """What `save_state` wrote, None where there is nothing; no code in it is executed.

    Raises `CheckpointError` where it is broken or lacks one of the entries `needed`.
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if missing := set(needed) - set(state):
            raise DataError(f"no {', '.join(sorted(missing))} in it")
    except Exception as error:
        raise CheckpointError(f"{path}: broken ({_reason(error)}); delete it to start afresh") from error
    return state


def plain(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous copies on the CPU: safetensors keeps no strides and shares no memory."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in weights.items()}


def _reason(error: Exception) -> str:
    """The first words of an error: of torch's, which name the reason on their second line, both."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2]) or type(error).__name__
