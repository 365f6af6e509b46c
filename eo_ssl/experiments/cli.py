"""`eo-ssl evaluate …`: the grid of methods × label fractions × seeds, and its table."""

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
    run_grid(GridJob(profile, data, run_dir, parts, accelerator, stop_at), None, workers, scheduler)
    return table(run_dir)


@app.command("table")
def table(
    run_dir: Annotated[str, typer.Argument(help="Run folder with results.jsonl.")],
    task: Annotated[str, typer.Option(help="single, multi or segment; all if empty.")] = "",
) -> None:
    """Print mean over seeds and 95% interval of every method and label fraction."""
    from eo_ssl.experiments.results import read_results, results_path
    from eo_ssl.experiments.tables import finished, measured

    rows = finished(read_results(results_path(run_dir)), task)
    shown = measured(rows, Path(run_dir), second=True).drop(columns=["label", "values"]).round(4)
    typer.echo(shown.to_string(index=False) if len(shown) else f"no results in {run_dir} yet")
