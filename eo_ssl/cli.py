"""The command line: `eo-ssl data|course|pretrain|finetune|evaluate …`, one sub-app beside the code it serves."""

import sys

import click
import typer

from eo_ssl.course.cli import app as course_app
from eo_ssl.data.cli import app as data_app
from eo_ssl.errors import EOError
from eo_ssl.experiments.cli import app as evaluate_app
from eo_ssl.train.cli import register as register_training

app = typer.Typer(
    name="eo-ssl",
    help="Self-supervised learning for Earth observation: a course you can run.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(course_app, name="course")
app.add_typer(data_app, name="data")
app.add_typer(evaluate_app, name="evaluate")
register_training(app)


def main() -> None:
    """Run the command line; an error the user can act on becomes one line and exit status 1."""
    try:
        app()
    except EOError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
