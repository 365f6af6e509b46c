"""`eo-ssl data …`: fetch the samples, simulate, check and pack data sets."""

import typer

app = typer.Typer(help="Fetch, simulate, check and pack data.", no_args_is_help=True)
