"""`eo-ssl pretrain` and `eo-ssl finetune`."""

from importlib.util import find_spec
from typing import Annotated, Any

import typer

from eo_ssl.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the training commands to the top-level command line."""
    app.command("pretrain")(pretrain_command)
    if find_spec("eo_ssl.train.finetune_cli"):
        from eo_ssl.train.finetune_cli import finetune_command

        app.command("finetune")(finetune_command)


def pretrain_command(
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
    precision: Annotated[str | None, typer.Option(help="auto, 32, bf16 or 16.")] = None,
    seed: Annotated[str | None, typer.Option(help="Weights, order, crops, augmentations.")] = None,
    set: Annotated[list[str] | None, typer.Option(help="Another setting, name=value.")] = None,
    devices: Annotated[int, typer.Option(help="Devices on each node.")] = 1,
    nodes: Annotated[int, typer.Option(help="Nodes; start it on each with torchrun or srun.")] = 1,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[int, typer.Option(help="Threads that read ahead, on each device.")] = 2,
    compile: Annotated[bool, typer.Option("--compile", help="Compile the model with torch.compile.")] = False,
    knn: Annotated[bool, typer.Option("--knn", help="Watch kNN accuracy, too.")] = False,
    resume: Annotated[bool, typer.Option(help="Go on where an earlier run stopped.")] = True,
    max_minutes: Annotated[float | None, typer.Option(help="Stop and go on later.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure, print, do not train.")] = False,
) -> None:  # fmt: skip
    """Pretrain encoders for Sentinel-1 and Sentinel-2 without labels.

    Example: eo-ssl pretrain dual-simclr --data ROOT --backbone resnet18 --epochs 20 --devices 2
    """
    named = {
        "backbone": backbone, "image_size": image_size, "batch_size": batch_size, "micro_batch": micro_batch,
        "epochs": epochs, "lr": lr, "precision": precision, "seed": seed,
    }  # fmt: skip
    config = _config(method, preset, named, set or [])
    machine = {"devices": devices, "nodes": nodes, "accelerator": accelerator, "compile": compile}
    how = {**machine, "workers": workers}
    if dry_run:
        return _measure(config, data, run_dir, how)
    return _train(config, data, run_dir, {**how, "resume": resume, "max_minutes": max_minutes, "knn": knn})


def _config(method: str, preset: str, named: dict[str, str | None], assignments: list[str]) -> Any:
    """The preset with the settings that were given."""
    from eo_ssl.train.presets import preset as choose

    given = {name: value for name, value in named.items() if value is not None}
    return choose(method, preset, **given | _pairs(assignments))


def _measure(config: Any, data: str, run_dir: str, how: dict[str, Any]) -> None:
    from eo_ssl.data.dataset import open_source
    from eo_ssl.train.dryrun import dry_run

    _print(dry_run(config, open_source(data), run_dir, **how))


def _train(config: Any, data: str, run_dir: str, how: dict[str, Any]) -> None:
    from eo_ssl.data.dataset import open_source
    from eo_ssl.train.pretrain import pretrain

    result = pretrain(config, open_source(data), run_dir, **how)
    facts = {name: f"{value:.4g}" for name, value in result.metrics.items()}
    state = "done" if result.done else "stopped at the time limit; the same command goes on"
    _print({**facts, "state": state, "folder": str(result.folder)})


def _pairs(assignments: list[str]) -> dict[str, str]:
    pairs = dict(item.partition("=")[::2] for item in assignments if "=" in item)
    wrong = [item for item in assignments if "=" not in item]
    if wrong:
        raise ConfigError(f"--set takes name=value, not {wrong[0]!r}")
    return pairs


def _print(facts: dict[str, Any]) -> None:
    import os

    if int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))):
        return  # one process speaks for all
    width = max(map(len, facts))
    for name, value in facts.items():
        typer.echo(f"{name:<{width}}  {value}")
