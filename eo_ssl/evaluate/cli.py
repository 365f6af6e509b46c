"""`eo-ssl evaluate …`: probes, retrieval and the label-fraction grid."""

import typer

app = typer.Typer(help="Evaluate representations.", no_args_is_help=True)
