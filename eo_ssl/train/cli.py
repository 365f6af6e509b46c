"""`eo-ssl pretrain` and `eo-ssl finetune`."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from eo_ssl.errors import ConfigError

Set = Annotated[list[str] | None, typer.Option(help="Another setting, name=value.")]
Accelerator = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


def register(app: typer.Typer) -> None:
    """Add the training commands to the top-level command line."""
    app.command("pretrain")(pretrain_command)
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
    from eo_ssl.train.config import preset as choose
    from eo_ssl.train.pretrain import pretrain

    named = {"backbone": backbone, "image_size": image_size, "batch_size": batch_size, "epochs": epochs}
    named |= {"micro_batch": micro_batch, "lr": lr, "precision": precision, "seed": seed}
    given = {name: value for name, value in named.items() if value is not None}
    config = choose(method, preset, **given | _pairs(set))
    machine: dict[str, Any] = {"devices": devices, "nodes": nodes, "accelerator": accelerator}
    how: dict[str, Any] = {
        "workers": workers,
        "compile": compile,
        "resume": resume,
        "max_minutes": max_minutes,
    }
    result = pretrain(config, _opened(data, "pretrain"), Path(run_dir).expanduser(), **machine, **how)
    state = "done" if result.done else "stopped at the time limit; the same command goes on"
    _print({**result.metrics, "state": state, "folder": result.folder})


def finetune_command(
    data: Annotated[str, typer.Option(help="Data root with labelled patches, or packed store.")],
    run_dir: Annotated[str, typer.Option(help="Folder for the results.")] = "runs/finetuning",
    model: Annotated[str, typer.Option(help="s1, s2, early, late, unet or swin-unet.")] = "late",
    task: Annotated[str, typer.Option(help="single, multi or segment.")] = "single",
    init: Annotated[str, typer.Option(help='"scratch" or folder of a pretrained checkpoint.')] = "scratch",
    mode: Annotated[str, typer.Option(help="finetune or frozen.")] = "finetune",
    fraction: Annotated[float, typer.Option(help="Share of the labelled patches, 0 to 1.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Label subset, weights, order, crops.")] = 0,
    set: Set = None,
    accelerator: Accelerator = "auto",
    keep: Annotated[bool, typer.Option(help="Save the trained model.")] = True,
) -> None:
    """Train one downstream model, test it once, and add its line to RUN_DIR/results.jsonl.

    Validation chooses the weights. The same command after an interruption goes on; after the end it
    prints the result that is there.

    Example: eo-ssl finetune --data ROOT --model late --init runs/pretraining/pretrain/NAME --fraction 0.1
    """
    from eo_ssl.files import locked, write_text
    from eo_ssl.provenance import training_code
    from eo_ssl.train.checkpoint import read_meta
    from eo_ssl.train.config import FinetuneConfig
    from eo_ssl.train.finetune import finetune, init_stamp
    from eo_ssl.train.labelled import LabelledData

    named: dict[str, Any] = {"model": model, "task": task, "mode": mode, "fraction": fraction, "seed": seed}
    if init != "scratch":
        init = str(Path(init).expanduser())
        named |= {key: read_meta(init)[key] for key in ("backbone", "image_size")}
    config = FinetuneConfig.from_dict({**named, "init": init, **_pairs(set)})
    source, folder = _opened(data, task), Path(run_dir).expanduser()
    path, key = folder / "results.jsonl", config.digest()
    with locked(folder / "finetune.lock", "fine-tune in this folder"):
        data_set = LabelledData(source)
        stamp = f"{data_set.version} {init_stamp(init)} {training_code()}"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        known = [line for line in map(json.loads, lines) if (line["key"], line.get("stamp")) == (key, stamp)]
        if known:
            line = known[-1]
        else:
            line = finetune(config, data_set, folder, name=key, accelerator=accelerator, keep=keep)
            line = {"key": key, "stamp": stamp, "method": model, "tuning": False, **line}
            with locked(f"{path}.lock"):  # as the grid does
                before = path.read_text(encoding="utf-8") if path.exists() else ""
                write_text(path, before + json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n")
    scores = {name: value for name, value in sorted(line["test"].items()) if isinstance(value, float)}
    chosen = f"update {line['best_update']} of {line['updates']} by validation"
    _print({**scores, "labels": line["n_labels"], "chosen at": chosen, "seconds": line["seconds"]})


def _pairs(assignments: list[str] | None) -> dict[str, str]:
    if wrong := [item for item in assignments or [] if "=" not in item]:
        raise ConfigError(f"--set takes name=value, not {wrong[0]!r}")
    return dict(item.split("=", 1) for item in assignments or [])


def _opened(data: str, task: str) -> Any:
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


def _print(facts: dict[str, Any]) -> None:
    width = max(map(len, facts))
    shown = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in facts.items()}
    _echo([f"{name:<{width}}  {value}" for name, value in shown.items()])


def _echo(lines: list[str]) -> None:
    if not int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))):  # one process speaks for all
        typer.echo("\n".join(lines), nl=bool(lines))
