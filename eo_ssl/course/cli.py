"""`eo-ssl course …`: run the notebooks, build the student edition."""

import typer

app = typer.Typer(help="Run the course.", no_args_is_help=True)
