"""`eo-ssl course release | drift | summary | data-version`: what happens to the results of a run."""

import sys
from typing import Annotated

import typer

ProfileName = Annotated[str, typer.Option(help="laptop, gpu or paper")]
RunDir = Annotated[str, typer.Option(help="run folder; default runs/<profile>")]


def register(app: typer.Typer) -> None:
    """Add these commands to `eo-ssl course`."""
    for command in (release, drift, summary, data_version):
        app.command()(command)


def release(
    profile: ProfileName = "laptop",
    run_dir: RunDir = "",
    allow_dirty: Annotated[
        bool, typer.Option("--allow-dirty", help="accept a run of code that is in no commit")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="only say whether the run could be released")
    ] = False,
) -> None:
    """Keep the results of a finished run with the course, in book/results/<profile>.json."""
    from eo_ssl.course import places
    from eo_ssl.course.release import require_releasable, write_release

    folder = places.run_folder(profile, run_dir)
    _require_profile(profile, folder)
    if check:
        require_releasable(folder, allow_dirty)
        typer.echo(f"{folder}: can be released")
    else:
        typer.echo(str(write_release(folder, allow_dirty=allow_dirty)))


def drift(profile: ProfileName = "laptop", run_dir: RunDir = "") -> None:
    """Compare a run with the last release of its profile; status 1 when a result moved."""
    from eo_ssl.course import places
    from eo_ssl.course.drift import compare, markdown
    from eo_ssl.course.release import read_release, summarise
    from eo_ssl.course.report import NO_RELEASE

    released = read_release(profile)
    if released is None:
        typer.echo(NO_RELEASE.format(profile))
        return
    folder = places.run_folder(profile, run_dir)
    _require_profile(profile, folder)
    found = compare(released, summarise(folder))
    typer.echo(markdown(found))
    if found.moved:
        sys.exit(1)


def summary(profile: ProfileName = "laptop", run_dir: RunDir = "") -> None:
    """Print times per chapter, failures and changed results of a run as Markdown."""
    from eo_ssl.course import places
    from eo_ssl.course.report import report

    typer.echo(report(profile, places.run_folder(profile, run_dir)), nl=False)


def data_version(
    profile: ProfileName = "laptop",
    data: Annotated[str, typer.Option(help='"simulated", or the root of SEN12MS / DFC2020')] = "simulated",
    seed: Annotated[int, typer.Option(help="seed of the simulated data")] = 0,
) -> None:
    """Print a short name of the data set, fit for the key of a cache."""
    import hashlib
    import re

    from eo_ssl.course import session
    from eo_ssl.profiles import get_profile

    if data != session.SIMULATED:
        data = str(session.check_data(data))
    name = session.data_version(get_profile(profile), data, seed)
    plain = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-")[:60]
    typer.echo(f"{plain}-{hashlib.sha256(f'{data} {name}'.encode()).hexdigest()[:8]}")


def _require_profile(profile: str, folder: "Path") -> None:  # noqa: F821 - imported only when needed
    """Raise `ConfigError` where a folder holds a run of another profile than the one asked for."""
    from eo_ssl.course import status
    from eo_ssl.errors import ConfigError
    from eo_ssl.profiles import get_profile

    made = status.read(folder).get("profile", "")
    if made and made != get_profile(profile).name:
        raise ConfigError(f"{folder}: holds a run at profile {made!r}, not {profile!r}; use --profile {made}")
