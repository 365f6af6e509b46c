"""`eo-ssl pretrain`, and what all training commands say."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from eo_ssl.errors import ConfigError

Set = Annotated[list[str] | None, typer.Option(help="Another setting, name=value.")]
Accelerator = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


def pretrain(
    method: Annotated[str, typer.Argument(help="simclr, simclr-rgb, dual-simclr, mma or swin-pair.")],
    data: Annotated[str, typer.Option(help="Data root (SEN12MS, DFC2020, simulated) or packed store.")],
    run_dir: Annotated[str, typer.Option(help="Folder for the results.")] = "runs/pretraining",
    preset: Annotated[str, typer.Option(help="smoke, laptop, gpu or paper: all settings.")] = "laptop",
    backbone: Annotated[str | None, typer.Option(help="A timm name, resnet_mini, swin_mini …")] = None,
    image_size: Annotated[str | None, typer.Option(help="Side of the crop in pixels.")] = None,
    batch_size: Annotated[str | None, typer.Option(help="Pairs in the loss, over all devices.")] = None,
    micro_batch: Annotated[str | None, typer.Option(help="Pairs per forward pass; 0 is all.")] = None,
    epochs: Annotated[str | None, typer.Option(help="Passes over the training pairs.")] = None,
    lr: Annotated[str | None, typer.Option(help="Peak learning rate.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, 32 or bf16.")] = None,
    seed: Annotated[str | None, typer.Option(help="Weights, order, crops, augmentations.")] = None,
    set: Set = None,
    devices: Annotated[int, typer.Option(help="Devices on each node.")] = 1,
    nodes: Annotated[int, typer.Option(help="Nodes; start it on each with torchrun or srun.")] = 1,
    accelerator: Accelerator = "auto",
    workers: Annotated[int, typer.Option(help="Threads that read ahead, on each device.")] = 2,
    compile: Annotated[bool, typer.Option("--compile", help="Compile the model with torch.compile.")] = False,
    resume: Annotated[bool, typer.Option(help="Go on where an earlier run stopped.")] = True,
    max_minutes: Annotated[float | None, typer.Option(help="Stop and go on later.")] = None,
) -> None:
    """Pretrain encoders for Sentinel-1 and Sentinel-2 without labels.

    Example: eo-ssl pretrain dual-simclr --data ROOT --backbone resnet18 --epochs 20 --devices 2
    """
    from eo_ssl.train import pretrain as training
    from eo_ssl.train.config import preset as choose

    named = {"backbone": backbone, "image_size": image_size, "batch_size": batch_size, "epochs": epochs}
    named |= {"micro_batch": micro_batch, "lr": lr, "precision": precision, "seed": seed}
    given = {name: value for name, value in named.items() if value is not None}
    config = choose(method, preset, **given | pairs(set))
    machine: dict[str, Any] = {"devices": devices, "nodes": nodes, "accelerator": accelerator}
    how: dict[str, Any] = {
        "workers": workers,
        "compile": compile,
        "resume": resume,
        "max_minutes": max_minutes,
    }
    result = training.pretrain(config, opened(data, "pretrain"), Path(run_dir).expanduser(), **machine, **how)
    state = "done" if result.done else "stopped at the time limit; the same command goes on"
    show({**result.metrics, "state": state, "folder": result.folder})


def pairs(assignments: list[str] | None) -> dict[str, str]:
    """Settings as `--set name=value` gives them."""
    if wrong := [item for item in assignments or [] if "=" not in item]:
        raise ConfigError(f"--set takes name=value, not {wrong[0]!r}")
    return dict(item.split("=", 1) for item in assignments or [])


def opened(data: str, task: str) -> Any:
    """The data, if the task can start; how they were split and what was left out is said before the work."""
    from eo_ssl.data.check import require_trainable
    from eo_ssl.data.dataset import open_source

    source = open_source(Path(data).expanduser())
    require_trainable(source, task=task)
    notes, left_out = list(source.notes), source.left_out
    for first, reason in list(left_out.items())[:1]:
        notes.append(f"{len(left_out)} patches are left out, first {first}: {reason}")
    _echo([f"note: {note}" for note in notes])
    return source


def show(facts: dict[str, Any]) -> None:
    """Print one fact a line."""
    width = max(map(len, facts))
    shown = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in facts.items()}
    _echo([f"{name:<{width}}  {value}" for name, value in shown.items()])


def _echo(lines: list[str]) -> None:
    ranks = (os.environ.get(name) for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"))
    if not int(next(filter(None, ranks), "0")):  # one process speaks for all
        typer.echo("\n".join(lines), nl=bool(lines))
