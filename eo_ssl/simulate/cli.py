"""`eo-ssl data simulate OUT`."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the `simulate` command to the data application."""

    @app.command("simulate")
    def simulate_command(
        out: Annotated[Path, typer.Argument(help="Folder to write to; it is created.")],
        profile: Annotated[str, typer.Option(help="smoke, laptop, gpu or paper.")] = "laptop",
        seed: Annotated[
            int, typer.Option(help="The same version, profile and seed give the same bytes.")
        ] = 0,
        workers: Annotated[int, typer.Option(help="Processes; 0 means one a core.", min=0)] = 0,
    ) -> None:
        """Write the simulated data set; run it again to finish an interrupted one."""
        from eo_ssl.simulate import simulate

        root = simulate(out, profile, seed, workers or None)
        typer.echo(f"simulated data set ({profile}) in {root}")
