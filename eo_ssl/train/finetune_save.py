"""Trained downstream models on disk, rebuilt without the checkpoint they started from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from eo_ssl.data.transforms import Statistics
from eo_ssl.errors import CheckpointError, DataError
from eo_ssl.files import atomic_path, read_json, write_json
from eo_ssl.sensors import CLASS_NAMES
from eo_ssl.train.finetune_config import FinetuneConfig
from eo_ssl.train.finetune_models import Downstream, Prepare, architecture

Batch = dict[str, Tensor]


def save_trained(down: Downstream, config: FinetuneConfig, folder: Path, line: dict[str, Any]) -> Path:
    """Write model.safetensors, then config.json with settings, statistics, classes and validation score."""
    weights = {
        name: value.detach().cpu().contiguous().clone() for name, value in down.model.state_dict().items()
    }
    with atomic_path(folder / "model.safetensors") as path:
        save_file(weights, path)
    facts = {
        "config": config.to_dict(),
        "statistics": down.statistics.to_dict(),
        "classes": list(CLASS_NAMES),
        "pretrained": down.pretrained,
        "rgb": getattr(down.prepare, "rgb", False),
        "val_score": line["val_score"],
        "n_labels": line["n_labels"],
    }
    write_json(folder / "config.json", facts)
    return folder


def load_trained(folder: str | Path, device: torch.device | str = "cpu") -> tuple[Downstream, FinetuneConfig]:
    """A model written by `save_trained`, in eval mode; raises `CheckpointError` if it is broken."""
    folder, device = Path(folder), torch.device(device)
    try:
        facts = read_json(folder / "config.json")
        config = FinetuneConfig.from_dict(facts["config"])
        statistics = Statistics.from_dict(facts["statistics"])
        model = architecture(config)
        model.load_state_dict(load_file(folder / "model.safetensors"))
    except (DataError, OSError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"{folder}: no trained model can be read here ({reason}); train it again"
        ) from error
    prepare = Prepare(statistics, device, rgb=facts["rgb"])
    return Downstream(model.to(device).eval(), prepare, statistics, facts["pretrained"]), config


class TrainedEnsemble(nn.Module):
    """Mean probability of several trained models on one batch of physical units, as log-probabilities.

    Each member standardises the batch with its own statistics.
    Shape: batch -> (B, K) or (B, K, H, W).
    """

    def __init__(self, members: Sequence[Downstream]) -> None:
        super().__init__()
        self.members = list(members)
        self.models = nn.ModuleList(member.model for member in members)

    @torch.no_grad()
    def forward(self, batch: Batch) -> Tensor:
        found = [member.model(member.prepare(batch)).float().softmax(1) for member in self.members]
        mean = torch.stack(found).mean(0)
        return mean.clamp_min(torch.finfo(mean.dtype).tiny).log()
