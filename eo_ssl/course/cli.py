"""`eo-ssl course …`: run the notebooks, build the book and the student edition, keep and compare results."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from eo_ssl.course import session, status
from eo_ssl.errors import ConfigError

app = typer.Typer(help="Run the course, build the book and the student edition.", no_args_is_help=True)


def _folder(help: str) -> Any:
    return typer.Option(parser=lambda text: Path(text).expanduser().resolve(), metavar="FOLDER", help=help)


ProfileName = Annotated[str, typer.Option(help="smoke, laptop, gpu, paper or paper-rehearsal")]
Data = Annotated[str, typer.Option(help='"simulated", "ben-ge-800" …, or a folder of one of these')]
Seed = Annotated[int, typer.Option(help="first seed, and seed of the simulated data")]
RunDir = Annotated[
    str, typer.Option(help="run folder; default runs/<profile>, or one for these data and seed")
]
Notebooks = Annotated[Path | None, _folder("folder of the notebooks; default notebooks/")]
Only = Annotated[list[str] | None, typer.Option(help="this chapter only, as in 04; repeatable")]


@app.command()
def run(
    profile: ProfileName = "laptop",
    data: Data = session.SIMULATED,
    run_dir: RunDir = "",
    seed: Seed = 0,
    only: Only = None,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="go on after a failed chapter")] = False,
    force: Annotated[bool, typer.Option("--force", help="run what is up to date, too")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what it would take")] = False,
    notebooks: Notebooks = None,
) -> None:
    """Execute the chapters into the run folder; what is up to date is skipped."""
    # Set before torch is loaded: the threads measured here wait as those of the chapters do.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from eo_ssl.course.forecast import forecast, table
    from eo_ssl.course.plan import is_current, make_plan
    from eo_ssl.course.run import run_course
    from eo_ssl.course.session import threads_for

    plan = make_plan(notebooks or _sources(), profile, data, run_dir, seed, only, dry=dry_run)
    if dry_run:
        chapters = {chapter.stem: chapter.notebook for chapter in plan.chapters}
        current = {chapter.stem for chapter in plan.chapters if is_current(chapter, plan.run.root)}
        found = forecast(plan.run, chapters, threads_for(plan.run), partial(typer.echo, err=True))
        typer.echo(table(found, plan.run, current))
        return
    try:
        run_course(plan, keep_going=keep_going, force=force)
    except KeyboardInterrupt:
        typer.echo("\ninterrupted; the same command goes on from here", err=True)
        sys.exit(130)
    typer.echo(f"executed notebooks and results: {plan.run.root}")


def _sources() -> Path:
    return session.project_root() / "notebooks"


@app.command()
def book(
    profile: ProfileName = "laptop",
    data: Data = session.SIMULATED,
    run_dir: RunDir = "",
    out: Annotated[Path | None, _folder("folder to write; default book/_build/html")] = None,
    publish: Annotated[bool, typer.Option("--publish", help="refuse what may not be published")] = False,
) -> None:
    """Build the book from the executed notebooks of a run; warnings are errors."""
    from eo_ssl.course.book import build

    page = build(session.project_root(), session.run_folder(profile, run_dir, data), out, publish)
    typer.echo(f"the book is ready: {page}")


@app.command()
def student(
    out: Annotated[Path, _folder("folder to write to")] = Path("student/notebooks"),
    notebooks: Notebooks = None,
    solutions: Annotated[bool, typer.Option("--solutions", help="with a folder of solutions/")] = False,
) -> None:
    """Write the student edition: the notebooks with stubs in place of the solutions."""
    from eo_ssl.course.student import student_edition

    for path in student_edition(notebooks or _sources(), out, solutions):
        typer.echo(str(path))


@app.command()
def release(
    profile: ProfileName = "laptop",
    data: Data = session.SIMULATED,
    run_dir: RunDir = "",
    check: Annotated[bool, typer.Option("--check", help="only say whether it could be released")] = False,
    same_sources: Annotated[
        bool, typer.Option("--same-sources", help="refuse other chapters or code")
    ] = False,
) -> None:
    """Keep the results of a finished run with the course, in book/results."""
    from eo_ssl.course.release import require_releasable, require_same_sources, write_release

    folder = _run_of(profile, run_dir, data)
    if same_sources:
        require_same_sources(folder, _sources())
    if check:
        require_releasable(folder)
        typer.echo(f"{folder}: can be released")
    else:
        typer.echo(str(write_release(folder)))


@app.command()
def drift(profile: ProfileName = "laptop", data: Data = session.SIMULATED, run_dir: RunDir = "") -> None:
    """Compare a run with the last release of its profile; status 1 when a result moved."""
    from eo_ssl.course.release import NO_RELEASE, compare, markdown, read_release, summarise

    folder = _run_of(profile, run_dir, data)
    released = read_release(profile, status.read(folder).get("data", ""))
    if released is None:
        typer.echo(NO_RELEASE.format(profile))
        return
    found = compare(released, summarise(folder))
    typer.echo(markdown(released, found))
    if "moved" in set(found["state"]):
        sys.exit(1)


@app.command()
def summary(profile: ProfileName = "laptop", data: Data = session.SIMULATED, run_dir: RunDir = "") -> None:
    """Print times per chapter, failures and changed results of a run as Markdown."""
    from eo_ssl.course.release import report

    typer.echo(report(profile, session.run_folder(profile, run_dir, data)), nl=False)


@app.command()
def where(profile: ProfileName = "laptop", data: Data = session.SIMULATED, seed: Seed = 0) -> None:
    """Print the run folder of these settings."""
    typer.echo(session.run_folder(profile, "", data, seed))


def _run_of(profile: str, run_dir: str, data: str) -> Path:
    """The run folder; raises `ConfigError` where it holds a run of another profile than the one asked for."""
    folder = session.run_folder(profile, run_dir, data)
    made = status.read(folder).get("profile") or profile
    if made != profile:
        raise ConfigError(f"{folder}: holds a run at profile {made!r}, not {profile!r}; use --profile {made}")
    return folder
