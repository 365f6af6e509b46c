"""The command line: `eo-ssl data|course|pretrain|finetune|evaluate …`, one sub-app beside the code it serves."""

import os
import sys

import typer

from eo_ssl.course.cli import app as course_app
from eo_ssl.data.cli import app as data_app
from eo_ssl.errors import EOError
from eo_ssl.experiments.cli import app as evaluate_app
from eo_ssl.experiments.cli import finetune
from eo_ssl.mapping import map_command
from eo_ssl.train.cli import pretrain

# What `pip install eo_ssl` alone does not bring.
COURSE = {"nbformat", "nbclient", "papermill", "anywidget", "IPython", "umap", "yaml"}

about = "Self-supervised learning for Earth observation: a course you can run."
options = {"no_args_is_help": True, "add_completion": False, "pretty_exceptions_enable": False}
app = typer.Typer(name="eo-ssl", help=about, **options)
app.add_typer(course_app, name="course")
app.add_typer(data_app, name="data")
app.add_typer(evaluate_app, name="evaluate")
app.command()(pretrain)
app.command()(finetune)
app.command("map")(map_command)


def main() -> None:
    """Run the command line; what the user can mend becomes one line and exit status 1."""
    try:
        app()
    except BrokenPipeError:  # whoever read our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (EOError, OSError, ModuleNotFoundError, RuntimeError) as error:
        message = str(error)
        if isinstance(error, ModuleNotFoundError):
            name = (error.name or "").split(".")[0]
            if name not in COURSE:
                raise
            message = f"{name} is not installed; run: pip install 'eo_ssl[course]'"
        elif isinstance(error, RuntimeError):
            if "home directory" not in message:  # what pathlib says of "~"
                raise
            message = "a path begins with ~, and that user has no home folder; write it in full"
        elif isinstance(error, OSError):
            message = message.replace("\n", " ")
            if error.filename:
                access = "check that it is there and that you may read and write it"
                message = f"{error.filename}: {error.strerror}; {access}"
        typer.echo(f"error: {message}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
