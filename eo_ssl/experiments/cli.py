"""`eo-ssl evaluate …`: the grid of methods × label fractions × seeds, its table, and probes of a checkpoint."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Evaluate representations.", no_args_is_help=True)


@app.command("label-fractions")
def label_fractions(
    data: Annotated[str, typer.Option(help="Data root with labelled patches, or packed store.")],
    run_dir: Annotated[str, typer.Option(help="Run folder; pretrained encoders are in its pretrain/.")],
    profile: Annotated[str, typer.Option(help="smoke, laptop, gpu or paper.")] = "laptop",
    part: Annotated[list[str] | None, typer.Option(help="fusion, few-labels, swin or segmentation.")] = None,
    workers: Annotated[int, typer.Option(help="Processes; 0: one to three per GPU or one per core.")] = 0,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    max_minutes: Annotated[float, typer.Option(help="Begin no model after this long; 0 is no limit.")] = 0.0,
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
    import time

    from eo_ssl.experiments.grid import GridJob, run_grid
    from eo_ssl.experiments.plan import make_grid

    parts = tuple(part or ())
    if dry_run:
        cells = make_grid(profile, parts).cells
        tried = sum(cell.rate is not None for cell in cells)
        typer.echo("\n".join(cell.key for cell in cells))
        return typer.echo(f"{len(cells)} models, {tried} of them to choose learning rates")
    stop_at = time.time() + 60 * max_minutes if max_minutes else 0.0
    job = GridJob(profile, data, str(Path(run_dir)), parts, accelerator, stop_at)
    run_grid(job, workers=workers or None, scheduler=scheduler)
    return table(run_dir)


@app.command("table")
def table(
    run_dir: Annotated[str, typer.Argument(help="Run folder with results.jsonl.")],
    task: Annotated[str, typer.Option(help="single, multi or segment; all if empty.")] = "",
) -> None:
    """Print mean and spread over seeds of every method and label fraction."""
    from eo_ssl.experiments.results import read_results, results_path
    from eo_ssl.experiments.tables import summary

    found = summary(read_results(results_path(run_dir)))
    if task and len(found):
        found = found[found["task"] == task]
    typer.echo(found.to_string(index=False) if len(found) else f"no results in {run_dir} yet")


@app.command("probe")
def probe(
    checkpoint: Annotated[str, typer.Argument(help="Folder of a pretrained checkpoint.")],
    data: Annotated[str, typer.Option(help="Data root with labelled patches, or packed store.")],
    tiles: Annotated[int, typer.Option(help="Tiles of each patch; 0 is all.")] = 1,
) -> None:
    """Linear probe and nearest neighbours on frozen features, and CKA between the two sensors."""
    for name, value in probe_checkpoint(checkpoint, data, tiles).items():
        typer.echo(f"{name:<16} {value:.4g}")


def probe_checkpoint(folder: str | Path, root: str | Path, limit: int = 1) -> dict[str, float]:
    """AA on the test set of a linear probe and of kNN, their settings chosen on validation; CKA of the branches.

    `limit` tiles of each labelled patch under `root` are embedded (0: all). CKA (debiased) needs both sensors and
    no labels; it is taken on the validation patches.
    """
    import torch

    from eo_ssl.data.dataset import open_source
    from eo_ssl.data.transforms import Statistics
    from eo_ssl.evaluate.predict import embed_tiles
    from eo_ssl.evaluate.probe import average_accuracy, knn, linear_probe
    from eo_ssl.evaluate.retrieval import linear_cka
    from eo_ssl.train.checkpoint import load_dual
    from eo_ssl.train.downstream import Prepare
    from eo_ssl.train.labelled import LabelledData

    dual, meta = load_dual(folder)
    rgb = meta.get("config", {}).get("bands") == "rgb"
    prepare = Prepare(Statistics.from_dict(meta["statistics"]), torch.device("cpu"), rgb)
    data, side = LabelledData(open_source(root)), int(meta["image_size"])
    splits = [
        embed_tiles(dual.encoders(), prepare, part, side, limit) for part in (data.train, data.val, data.test)
    ]
    train, val, test = (
        (torch.cat([one[s] for s in dual.encoders()], 1).numpy(), one["label"].numpy()) for one in splits
    )
    line: dict[str, float] = {}
    for fitted in (linear_probe(train, val), knn(train, val)):
        line[f"{fitted.name}_aa"] = average_accuracy(test[1], fitted.predict(test[0]))
        line[f"{fitted.name}_val_aa"], line[f"{fitted.name}_chosen"] = fitted.val_aa, fitted.chosen
    if len(dual.encoders()) == 2:
        line["cka"] = linear_cka(splits[1]["s1"], splits[1]["s2"], debiased=True)
    return line
