"""`eo-ssl pretrain` and `eo-ssl finetune`."""

import typer


def register(app: typer.Typer) -> None:
    """Add the training commands to the top-level command line."""
