"""The folder of a run: its name, whether it is finished, and whether it belongs to the same settings."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eo_ssl.errors import CheckpointError
from eo_ssl.train.checkpoint import read_meta, refuse_differences
from eo_ssl.train.config import PretrainConfig
from eo_ssl.train.data import PretrainData, describe


@dataclass(frozen=True)
class PretrainResult:
    """Where the run is, what the chosen epoch reached, and how long training took (all its parts together).

    `done` is False for a run that stopped at `max_minutes` and can be resumed.
    """

    folder: Path
    metrics: dict[str, float]
    seconds: float
    done: bool = True


def run_folder(config: PretrainConfig, run_dir: str | Path) -> Path:
    """The folder of a run."""
    return Path(run_dir) / "pretrain" / f"{config.name}-{config.backbone}-seed{config.seed}"


def discard(folder: Path) -> None:
    """Remove the state and the completion mark of an earlier run."""
    (folder / "config.json").unlink(missing_ok=True)
    for name in ("resume", "tensorboard"):
        shutil.rmtree(folder / name, ignore_errors=True)


def finished_result(config: PretrainConfig, data: PretrainData, folder: Path) -> PretrainResult | None:
    """The result of a finished run with the same settings; `CheckpointError` if the settings differ."""
    if not (folder / "config.json").exists():
        return None
    shutil.rmtree(folder / "resume", ignore_errors=True)  # left by a kill after the export
    meta, _ = read_meta(folder)
    same_run(folder, meta.get("config", {}), meta.get("data"), config, data)
    return PretrainResult(folder, meta["metrics"], meta["seconds"])


def same_run(folder: Path, found: dict, found_data: Any, config: PretrainConfig, data: PretrainData) -> None:
    """Raise `CheckpointError` that names what differs between an earlier run in `folder` and this one."""
    try:
        refuse_differences(
            folder, {**found, "data": found_data}, {**config.to_dict(), "data": describe(data)}
        )
    except CheckpointError as error:
        raise CheckpointError(f"{error}; choose another run_dir, or start afresh with resume=False") from None
