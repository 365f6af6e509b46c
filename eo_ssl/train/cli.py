"""`eo-ssl pretrain` and `eo-ssl finetune`."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from eo_ssl.errors import ConfigError

Set = Annotated[list[str] | None, typer.Option(help="Another setting, name=value.")]
Accelerator = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
SCORES = ("aa", "oa", "miou", "f1_macro", "f1_micro", "map", "boundary_f1", "ece")


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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure, print, do not train.")] = False,
) -> None:
    """Pretrain encoders for Sentinel-1 and Sentinel-2 without labels.

    Example: eo-ssl pretrain dual-simclr --data ROOT --backbone resnet18 --epochs 20 --devices 2
    """
    from eo_ssl.data.dataset import open_source
    from eo_ssl.train.config import preset as choose
    from eo_ssl.train.devices import check_world, device_type
    from eo_ssl.train.pretrain import measure_step, pretrain, pretraining_rows

    named = {"backbone": backbone, "image_size": image_size, "batch_size": batch_size, "epochs": epochs}
    named |= {"micro_batch": micro_batch, "lr": lr, "precision": precision, "seed": seed}
    given = {name: value for name, value in named.items() if value is not None}
    config = choose(method, preset, **given | _pairs(set))
    source = open_source(Path(data).expanduser())
    folder = Path(run_dir).expanduser()
    machine: dict[str, Any] = {"devices": devices, "nodes": nodes, "accelerator": accelerator}
    machine["compile"] = compile
    _say_about(source)
    if dry_run:
        check_world(config, devices, nodes, device_type(accelerator))
        rows = pretraining_rows(source, config)
        share = config.with_(batch_size=max(2, config.batch_size // (devices * nodes)))
        seconds = measure_step(share, rows.statistics, accelerator, compile)
        updates = len(rows.train) // config.batch_size * config.epochs
        return _print(
            {
                "method": f"{config.name}, {config.backbone}",
                "data": rows.describe(),
                "updates": f"{config.epochs} epochs, {updates:,} updates of {config.batch_size} pairs",
                "one update": f"{seconds:.3g} s, {config.batch_size / seconds:,.0f} pairs/s (measured, without reading)",
                "training": f"about {seconds * updates / 60:,.1f} min, held-out pairs apart",
            }
        )
    result = pretrain(
        config, source, folder, **machine, workers=workers, resume=resume, max_minutes=max_minutes
    )
    facts = {name: f"{value:.4g}" for name, value in result.metrics.items()}
    state = "done" if result.done else "stopped at the time limit; the same command goes on"
    _print({**facts, "state": state, "folder": str(result.folder)})


def finetune_command(
    data: Annotated[str, typer.Option(help="Data root with labelled patches, or packed store.")],
    run_dir: Annotated[str, typer.Option(help="Folder for the results.")] = "runs/finetuning",
    model: Annotated[str, typer.Option(help="s1, s2, early, late, unet or swin-unet.")] = "late",
    task: Annotated[str, typer.Option(help="single, multi or segment.")] = "single",
    init: Annotated[
        str, typer.Option(help='"scratch" or the folder of a pretrained checkpoint.')
    ] = "scratch",
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
    from eo_ssl.data.dataset import open_source
    from eo_ssl.train.checkpoint import read_meta
    from eo_ssl.train.config import FinetuneConfig

    named: dict[str, Any] = {"model": model, "task": task, "mode": mode, "fraction": fraction, "seed": seed}
    named["init"] = init
    if init != "scratch":
        named["init"] = str(Path(init).expanduser())
        meta = read_meta(named["init"])
        named |= {"backbone": meta["backbone"], "image_size": meta["image_size"]}
    config = FinetuneConfig.from_dict(named | _pairs(set))
    source = open_source(Path(data).expanduser())
    _say_about(source)
    line = _trained(config, source, Path(run_dir).expanduser(), accelerator, keep)
    scores = {name: f"{line['test'][name]:.3f}" for name in SCORES if line["test"].get(name) is not None}
    chosen = f"update {line['best_update']} of {line['updates']} by validation"
    _print(
        {
            **scores,
            "labels": f"{line['n_labels']} patches",
            "chosen at": chosen,
            "seconds": f"{line['seconds']:.0f}",
        }
    )


def _trained(config: Any, source: Any, folder: Path, accelerator: str, keep: bool) -> dict[str, Any]:
    """The line of this configuration: the one that is there, or a new one. One process at a time for each folder."""
    from eo_ssl.files import locked
    from eo_ssl.provenance import training_code
    from eo_ssl.train.finetune import finetune, init_stamp
    from eo_ssl.train.labelled import LabelledData

    path, key = folder / "results.jsonl", config.digest()
    with locked(folder / "finetune.lock", "fine-tune in this folder"):
        data = LabelledData(source)
        stamp = f"{data.version} {init_stamp(config.init)} {training_code()}"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        for known in map(json.loads, filter(str.strip, lines)):
            if known.get("key") == key and known.get("stamp") == stamp:
                return known
        line = finetune(config, data, folder, name=key, accelerator=accelerator, keep=keep)
        line = {"key": key, "stamp": stamp, "method": config.model, "tuning": False, **line}
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n")
    return line


def _pairs(assignments: list[str] | None) -> dict[str, str]:
    wrong = [item for item in assignments or [] if "=" not in item]
    if wrong:
        raise ConfigError(f"--set takes name=value, not {wrong[0]!r}")
    return dict(item.split("=", 1) for item in assignments or [])


def _say_about(source: Any) -> None:
    """How the data were split, and what was left out of them: a word before the work."""
    left_out = getattr(source, "left_out", {})
    notes = [f"note: {note}" for note in getattr(source, "notes", [])]
    if left_out:
        first, reason = next(iter(left_out.items()))
        notes.append(f"note: {len(left_out)} patches are left out, first {first}: {reason}")
    _echo(notes)


def _print(facts: dict[str, Any]) -> None:
    width = max(map(len, facts))
    _echo([f"{name:<{width}}  {value}" for name, value in facts.items()])


def _echo(lines: list[str]) -> None:
    if not int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))):  # one process speaks for all
        for line in lines:
            typer.echo(line)
