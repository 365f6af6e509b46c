"""`eo-ssl course …`: run the notebooks, build the book and the student edition."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from eo_ssl.course.release_cli import register as register_release

app = typer.Typer(help="Run the course, build the book and the student edition.", no_args_is_help=True)

ProfileName = Annotated[str, typer.Option(help="smoke, laptop, gpu, paper or paper-rehearsal")]
RunDir = Annotated[str, typer.Option(help="run folder; default runs/<profile>")]
Folder = Annotated[Path | None, typer.Option(help="folder of the notebooks; default notebooks/")]


@app.command()
def run(
    profile: ProfileName = "laptop",
    data: Annotated[str, typer.Option(help='"simulated", or the root of SEN12MS / DFC2020')] = "simulated",
    run_dir: RunDir = "",
    seed: Annotated[int, typer.Option(help="first seed, and seed of the simulated data")] = 0,
    only: Annotated[
        list[str] | None, typer.Option(help="run this chapter only, as in 04; repeatable")
    ] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", help="name=value for a chapter's own parameter")
    ] = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="go on with the next chapter after an error")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="run chapters that are up to date too")] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="measure, and say what would run and take how much time, memory, disk"
        ),
    ] = False,
    notebooks: Folder = None,
) -> None:
    """Execute the chapters into the run folder; what is up to date is skipped."""
    from eo_ssl.course import places
    from eo_ssl.course.plan import make_plan
    from eo_ssl.course.runner import run_course

    folder = notebooks or places.project_root() / "notebooks"
    plan = make_plan(folder, profile, data, run_dir, seed, only, _pairs(parameter or []), dry=dry_run)
    if dry_run:
        _say_plan(plan)
        return
    try:
        run_course(plan, keep_going=keep_going, force=force)
    except KeyboardInterrupt:
        typer.echo("\ninterrupted; the same command goes on from here", err=True)
        sys.exit(130)
    typer.echo(f"executed notebooks and results: {plan.run_dir}")


@app.command()
def book(
    profile: ProfileName = "laptop",
    run_dir: RunDir = "",
    out: Annotated[Path | None, typer.Option(help="folder to write; default book/_build/html")] = None,
    publish: Annotated[
        bool, typer.Option("--publish", help="refuse what may not be published, such as a smoke run")
    ] = False,
) -> None:
    """Build the book from the executed notebooks of a run; warnings are errors."""
    from eo_ssl.course import places
    from eo_ssl.course.book import build

    folder = places.run_folder(profile, run_dir)
    page = build(places.project_root(), folder, out.resolve() if out else None, publish)
    typer.echo(f"the book is ready: {page}")


@app.command()
def student(
    out: Annotated[Path, typer.Option(help="folder to write to")] = Path("student/notebooks"),
    notebooks: Folder = None,
) -> None:
    """Write the student edition: the notebooks with stubs in place of the solutions."""
    from eo_ssl.course import places
    from eo_ssl.course.student import student_edition

    for path in student_edition(notebooks or places.project_root() / "notebooks", out):
        typer.echo(str(path))


@app.command()
def record_times(profile: ProfileName = "laptop", run_dir: RunDir = "") -> None:
    """Keep the times of a finished run with the course, as what readers may expect."""
    from eo_ssl.course import places, status

    typer.echo(str(status.record_times(profile, places.run_folder(profile, run_dir))))


register_release(app)


def _pairs(items: list[str]) -> dict[str, str]:
    from eo_ssl.errors import ConfigError

    for item in items:
        if "=" not in item:
            raise ConfigError(f"-p takes name=value, not {item!r}")
    return dict(item.split("=", 1) for item in items)


def _say_plan(plan: "Plan") -> None:  # noqa: F821 - imported only when needed
    from eo_ssl.course import status
    from eo_ssl.course.dryrun import estimate
    from eo_ssl.course.plan import is_current

    expected = status.expected_minutes(plan.profile.name, plan.run_dir)
    for chapter in plan.chapters:
        minutes = expected.get(chapter.stem)
        known = f"{minutes:.1f} min expected" if minutes is not None else "not timed yet"
        typer.echo(f"{chapter.stem}: {'up to date' if is_current(chapter, plan.run_dir) else known}")
    typer.echo(f"profile {plan.profile.name}: {plan.profile.budget}; run folder {plan.run_dir}\n")
    typer.echo(estimate(plan.profile, plan.data, plan.run_dir, lambda text: typer.echo(text, err=True)))
