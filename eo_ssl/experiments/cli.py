"""`eo-ssl finetune`, one downstream model; `eo-ssl evaluate …`, methods × label fractions × seeds and their table."""

from pathlib import Path
from typing import Annotated, Any

import typer

from eo_ssl.train.cli import Accelerator, Set, opened, pairs, show

app = typer.Typer(help="Evaluate representations.", no_args_is_help=True)


def finetune(
    data: Annotated[str, typer.Option(help="Data root with labelled patches, or packed store.")],
    run_dir: Annotated[str, typer.Option(help="Folder for the results.")] = "runs/finetuning",
    model: Annotated[str, typer.Option(help="s1, s2, early, late, unet or swin-unet.")] = "late",
    task: Annotated[str, typer.Option(help="single, multi or segment.")] = "single",
    init: Annotated[str, typer.Option(help='"scratch", "untrained" or folder of a checkpoint.')] = "scratch",
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
    from eo_ssl.experiments.grid import done
    from eo_ssl.experiments.results import append_result, results_path
    from eo_ssl.files import locked
    from eo_ssl.provenance import training_code
    from eo_ssl.train import finetune as training
    from eo_ssl.train.checkpoint import read_meta
    from eo_ssl.train.config import FRESH, FinetuneConfig
    from eo_ssl.train.downstream import init_stamp
    from eo_ssl.train.labelled import LabelledData

    named: dict[str, Any] = {"model": model, "task": task, "mode": mode, "fraction": fraction, "seed": seed}
    if init not in FRESH:
        init = str(Path(init).expanduser())
        named |= {key: read_meta(init)[key] for key in ("backbone", "image_size")}
    config = FinetuneConfig.from_dict({**named, "init": init, **pairs(set)})
    source, folder = opened(data, task), Path(run_dir).expanduser()
    key = config.digest()
    with locked(folder / "finetune.lock", "fine-tune in this folder"):
        data_set = LabelledData(source)
        stamp = f"{data_set.version} {init_stamp(init)} {training_code()}"
        line = done(folder, {key: stamp}).get(key)
        if line is None:
            line = training.finetune(config, data_set, folder, name=key, accelerator=accelerator, keep=keep)
            # No name of the course's grid: the two are not to be averaged.
            method = f"{model} {mode} {Path(init).name}"
            line = {"key": key, "stamp": stamp, "method": method, "tuning": False, **line}
            append_result(results_path(folder), line)
    scores = {name: value for name, value in sorted(line["test"].items()) if isinstance(value, float)}
    chosen = f"update {line['best_update']} of {line['updates']} by validation"
    show({**scores, "labels": line["n_labels"], "chosen at": chosen, "seconds": line["seconds"]})


@app.command("label-fractions")
def label_fractions(
    data: Annotated[str, typer.Option(help="Data root with labelled patches, or packed store.")],
    run_dir: Annotated[str, typer.Option(help="Run folder; pretrained encoders are in its pretrain/.")],
    profile: Annotated[str, typer.Option(help="smoke, laptop, gpu or paper.")] = "laptop",
    part: Annotated[list[str] | None, typer.Option(help="fusion, few-labels, swin or segmentation.")] = None,
    workers: Annotated[int, typer.Option(help="Processes; 0: one to three per GPU or one per core.")] = 0,
    accelerator: Accelerator = "auto",
    scheduler: Annotated[str, typer.Option(help="Address of a Dask scheduler, tcp://host:8786.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the models, train none.")] = False,
) -> None:
    """Train and test methods × label fractions × seeds; what is done already is not done again.

    Stop it at any time, even with kill -9: the same command goes on.

    On a cluster, start Dask first, with one thread for each worker; all nodes see the data and the run folder
    under the same paths. Under Slurm, for example:

    dask scheduler & srun -n 8 --gpus-per-task 1 dask worker tcp://$HOSTNAME:8786 --nthreads 1

    and then this command with --scheduler tcp://$HOSTNAME:8786. A worker that is lost costs its model in hand.
    """
    from eo_ssl.data.fetch import root_of
    from eo_ssl.experiments.grid import GridJob, run_grid
    from eo_ssl.experiments.plan import make_grid

    parts = tuple(part or ())
    if dry_run:
        cells = [cell for cell in make_grid(profile, parts).cells if cell.usual and not cell.chosen]
        tried = sum(cell.rate is not None for cell in cells)
        typer.echo("\n".join(cell.key for cell in cells))
        return typer.echo(f"{len(cells)} models, {tried} of them to choose learning rates, or a few more")
    run_dir = str(Path(run_dir).expanduser())
    run_grid(GridJob(profile, str(root_of(data)), run_dir, parts, accelerator), workers, scheduler)
    return table(run_dir)


@app.command("table")
def table(
    run_dir: Annotated[str, typer.Argument(help="Run folder with results.jsonl.")],
    task: Annotated[str, typer.Option(help="single, multi or segment; all if empty.")] = "",
) -> None:
    """Print mean over seeds and 95% interval of every method and label fraction."""
    from eo_ssl.experiments.results import read_results, results_path
    from eo_ssl.experiments.tables import finished, measured

    folder = Path(run_dir).expanduser()
    rows = finished(read_results(results_path(folder)), task)
    shown = measured(rows, folder, second=True).drop(columns=["label", "values"]).round(4)
    typer.echo(shown.to_string(index=False) if len(shown) else f"no results in {run_dir} yet")
