"""`eo-ssl finetune`: one downstream model from the command line."""

from typing import Annotated, Any

import typer


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
    set: Annotated[list[str] | None, typer.Option(help="Another setting, name=value.")] = None,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    keep: Annotated[bool, typer.Option(help="Save the trained model.")] = True,
) -> None:
    """Train one downstream model, test it once, and add its line to RUN_DIR/results.jsonl.

    Validation chooses the weights. The same command after an interruption goes on; after the end it
    prints the result that is there.

    Example: eo-ssl finetune --data ROOT --model late --init runs/pretraining/pretrain/NAME --fraction 0.1
    """
    from pathlib import Path

    from eo_ssl.train.finetune_config import FinetuneConfig

    pairs = dict(item.partition("=")[::2] for item in set or [])
    named = {"model": model, "task": task, "init": init, "mode": mode, "fraction": fraction, "seed": seed}
    config = FinetuneConfig.from_dict(named | _with_checkpoint(init, pairs))
    _print(_result(config, data, Path(run_dir), accelerator, keep))


def _with_checkpoint(init: str, pairs: dict[str, str]) -> dict[str, str]:
    """Backbone and image size of the checkpoint, unless given."""
    if init == "scratch":
        return pairs
    from pathlib import Path

    from eo_ssl.train.checkpoint import read_meta

    meta, _ = read_meta(Path(init))
    return {"backbone": meta["backbone"], "image_size": meta["image_size"], **pairs}


def _result(config: Any, data: str, folder: Any, accelerator: str, keep: bool) -> dict[str, Any]:
    """The line of this configuration: the one that is there, or a new one."""
    from eo_ssl.experiments.grid import data_stamp
    from eo_ssl.experiments.results import append_result, read_lines
    from eo_ssl.files import locked
    from eo_ssl.train.finetune_models import init_stamp

    path, name = folder / "results.jsonl", config.digest()
    stamp = f"{data_stamp(data)} {init_stamp(config.init)}"
    with locked(folder / f"{name}.lock", "train this very model"):
        for line in read_lines(path):
            if line.get("key") == name and line.get("stamp") == stamp:
                return line
        from eo_ssl.data.dataset import open_source
        from eo_ssl.train.finetune import finetune

        line = finetune(config, open_source(data), folder, name=name, accelerator=accelerator, keep=keep)
        line = {"key": name, "stamp": stamp, "method": config.model, "tuning": False, **line}
        append_result(path, line)
        return line


def _print(line: dict[str, Any]) -> None:
    for name in ("aa", "oa", "miou", "f1_macro", "f1_micro", "map", "boundary_f1", "ece"):
        value = line["test"].get(name)
        if value is not None:
            typer.echo(f"{name:<12} {value:.3f}")
    typer.echo(f"{'labels':<12} {line['n_labels']} patches")
    typer.echo(f"{'chosen at':<12} update {line['best_update']} of {line['updates']} by validation")
    typer.echo(f"{'seconds':<12} {line['seconds']:.0f}")
