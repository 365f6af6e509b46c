"""The state of an unfinished run: one folder per epoch that appears whole or not at all.

`resume/epoch-0007/` holds the weights after epoch 7 and those of the best epoch so far (safetensors) and
the rest (optimiser, history) as `state.pt`, read with `weights_only=True`. It is written under another
name, flushed to disk and renamed; only then is the older one removed. A kill or a full disk at any moment
leaves one complete state.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from eo_ssl.errors import CheckpointError

Weights = dict[str, Tensor]
SavedState = tuple[Weights, Weights, dict[str, Any]]  # of the last epoch, of the best, and the rest


def save_state(
    folder: Path, epoch: int, weights: Weights, best: Weights | None, state: dict[str, Any]
) -> None:
    """Write the state after `epoch` epochs; `best=None` carries the best weights of the previous state over.

    Raises `CheckpointError` when the disk is full; the previous state then still stands.
    """
    folder.mkdir(parents=True, exist_ok=True)
    previous = latest(folder)
    unfinished = folder / ".unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir()
        save_file(_plain(weights), unfinished / "model.safetensors")
        if best is not None:
            save_file(_plain(best), unfinished / "best.safetensors")
        elif previous is not None:
            _link(previous / "best.safetensors", unfinished / "best.safetensors")
        torch.save(state, unfinished / "state.pt")
        for path in (*unfinished.iterdir(), unfinished):
            _flush(path)
        target = folder / f"epoch-{epoch:04d}"
        shutil.rmtree(target, ignore_errors=True)
        os.rename(unfinished, target)
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise CheckpointError(
            f"{folder}: the state after epoch {epoch} could not be written ({error}); "
            "free some space and start again: the run goes on from the epoch before"
        ) from error
    _flush(folder)
    if previous is not None and previous != target:
        shutil.rmtree(previous, ignore_errors=True)


def load_state(folder: Path) -> SavedState | None:
    """Weights, best weights and state of the newest complete epoch, or None where there is none."""
    path = latest(folder)
    if path is None:
        return None
    try:
        state = torch.load(path / "state.pt", map_location="cpu", weights_only=True)
        return load_file(path / "model.safetensors"), load_file(path / "best.safetensors"), state
    except Exception as error:
        raise CheckpointError(f"{path}: broken ({error}); delete {folder} to start the run afresh") from error


def latest(folder: Path) -> Path | None:
    """The newest complete state in `folder`."""
    return max(folder.glob("epoch-*"), default=None)


def _plain(weights: Weights) -> Weights:
    """Contiguous copies on the CPU: safetensors keeps no strides and shares no memory."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in weights.items()}


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # file systems without hard links
        shutil.copyfile(source, target)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
