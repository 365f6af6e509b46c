"""`eo-ssl evaluate …`: the label-fraction grid, its tables, and probes of a checkpoint."""

from typing import Annotated, Any

import typer

app = typer.Typer(help="Evaluate representations.", no_args_is_help=True)


@app.command("label-fractions")
def label_fractions(
    data: Annotated[str, typer.Option(help="Data root with labelled patches, or packed store.")],
    run_dir: Annotated[str, typer.Option(help="Run folder; pretrained encoders are in its pretrain/.")],
    profile: Annotated[str, typer.Option(help="smoke, laptop, gpu or paper.")] = "laptop",
    part: Annotated[list[str] | None, typer.Option(help="fusion, few-labels, swin or segmentation.")] = None,
    workers: Annotated[int, typer.Option(help="Processes; 0 is one per GPU or core.")] = 0,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    max_minutes: Annotated[float, typer.Option(help="Begin no model after this long; 0 is no limit.")] = 0.0,
    cluster: Annotated[str, typer.Option(help="slurm or local: submit instead of running here.")] = "",
    jobs: Annotated[int, typer.Option(help="Cluster jobs that share the work.")] = 4,
    option: Annotated[list[str] | None, typer.Option(help="Option of submitit, name=value.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the models, train none.")] = False,
) -> None:
    """Train and test methods × label fractions × seeds; what is done already is not done again.

    Stop it at any time, even with kill -9: the same command goes on. Several of these commands, on one
    machine or many, share the work and never do a model twice.
    """
    import time
    from pathlib import Path

    from eo_ssl.evaluate.label_fractions import GridJob, run_grid

    stop_at = time.time() + 60 * max_minutes if max_minutes else 0.0
    job = GridJob(profile, data, str(Path(run_dir)), tuple(part or ()), accelerator, stop_at)
    if dry_run:
        return _list(job)
    if cluster:
        from eo_ssl.evaluate.cluster import submit_grid

        options = dict(item.partition("=")[::2] for item in option or [])
        submitted = submit_grid(job, jobs, cluster, **{k: _number(v) for k, v in options.items()})
        typer.echo(f"submitted {len(submitted)} jobs: {', '.join(j.job_id for j in submitted)}")
        return None
    run_grid(job, workers=workers or None)
    return table(run_dir)


@app.command("table")
def table(
    run_dir: Annotated[str, typer.Argument(help="Run folder with results.jsonl.")],
    task: Annotated[str, typer.Option(help="single, multi or segment; all if empty.")] = "",
) -> None:
    """Print mean and spread over seeds of every method and label fraction."""
    from pathlib import Path

    from eo_ssl.evaluate.results import read_results
    from eo_ssl.evaluate.summary import summary

    found = summary(read_results(Path(run_dir) / "results.jsonl"))
    if task and len(found):
        found = found[found["task"] == task]
    typer.echo(found.to_string(index=False) if len(found) else f"no results in {run_dir} yet")


def _list(job: Any) -> None:
    from eo_ssl.evaluate.grids import make_grid

    grid = make_grid(job.profile, job.parts)
    for cell in grid.cells:
        typer.echo(cell.key)
    tried = sum(cell.rate is not None for cell in grid.cells)
    typer.echo(f"{len(grid.cells)} models, {tried} of them to choose learning rates")


def _number(text: str) -> int | str:
    return int(text) if text.isdigit() else text


@app.command("probe")
def probe(
    checkpoint: Annotated[str, typer.Argument(help="Folder of a pretrained checkpoint.")],
    data: Annotated[str, typer.Option(help="Data root with labelled patches, or packed store.")],
    tiles: Annotated[int, typer.Option(help="Tiles of each patch; 0 is all.")] = 1,
) -> None:
    """Linear probe and nearest neighbours on frozen features, and CKA between the two sensors."""
    from eo_ssl.data.dataset import open_source
    from eo_ssl.evaluate.representation import probe_checkpoint
    from eo_ssl.train.labelled import LabelledData

    for name, value in probe_checkpoint(checkpoint, LabelledData(open_source(data)), limit=tiles).items():
        typer.echo(f"{name:<16} {value:.4g}")
