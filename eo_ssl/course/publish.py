"""Is a run fit to be shown as a result? Never one at smoke, half a run, or one of code that is in no commit."""

from pathlib import Path
from typing import Any

from eo_ssl.course import notebooks, places, status
from eo_ssl.errors import ConfigError, DataError
from eo_ssl.profiles import PROFILES


def require_publishable(run_dir: Path, allow_dirty: bool = False, chapters: Path | None = None) -> None:
    """Raise `ConfigError` unless the run is evidence, whole, and made from a commit that others can get.

    Args:
        allow_dirty: accept a run of code that differs from its commit, or of no known commit.
        chapters: folder of the notebooks that a whole run has executed; default: the project's.
    """
    state, done = status.read(run_dir), status.done(run_dir)
    if not done:
        raise ConfigError(f"{run_dir}: no finished chapter there; run `eo-ssl course run` first")
    require_evidence(run_dir, state)
    wanted = [p.stem for p in notebooks.sources(chapters or places.project_root() / "notebooks")]
    require_whole(run_dir, "chapters", sorted((set(wanted) | set(state["chapters"])) - set(done)))
    commits = {str(state.get("commit", "")), *(str(c.get("commit", "")) for c in done.values())}
    if not allow_dirty:
        require_clean(run_dir, commits)


def require_evidence(run_dir: Path, state: dict[str, Any]) -> None:
    """Raise `ConfigError` for a run whose numbers say nothing about the methods."""
    name = str(state.get("profile", ""))
    if not (name in PROFILES and PROFILES[name].is_evidence and state.get("evidence") is True):
        known = ", ".join(p.name for p in PROFILES.values() if p.is_evidence)
        raise ConfigError(
            f"{run_dir}: a run at profile {name!r} is no evidence and never a result; use {known}"
        )


def require_whole(run_dir: Path, what: str, missing: list[str]) -> None:
    """Raise `ConfigError` naming the first of what a finished run would have."""
    if missing:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise ConfigError(
            f"{run_dir}: the run is not finished ({what} missing: {shown}); `eo-ssl course run` goes on "
            "where it stopped"
        )


def require_clean(run_dir: Path, commits: set[str]) -> None:
    """Raise `ConfigError` if code behind the run differs from its commit ("…+"), or no commit is known ("v…")."""
    unclean = sorted(c for c in commits if not c or c.endswith("+") or c.startswith("v"))
    if unclean:
        shown = ", ".join(c or "unknown" for c in unclean)
        raise ConfigError(
            f"{run_dir}: made from code that is in no commit ({shown}); commit it and run again, "
            "or use --allow-dirty"
        )


def tested_results(run_dir: Path, state: dict[str, Any]) -> Any:
    """The tested models of the run's grid as a table; lines left from an older grid are no results of this run.

    Raises `DataError` where lines of two profiles or data sets are mixed.
    """
    from eo_ssl.experiments.results import read_results
    from eo_ssl.experiments.tables import finished

    found = finished(read_results(run_dir / "results.jsonl"))
    if not len(found):
        return found
    found = found[found["key"].isin(planned(str(state.get("profile"))))]
    for name in ("profile", "data_version"):
        if len(kinds := sorted(set(found[name].astype(str)))) > 1:
            raise DataError(
                f"{run_dir / 'results.jsonl'}: results of {name} {' and '.join(kinds)} are mixed; "
                "give each run a folder of its own with --run-dir"
            )
    return found


def planned(profile: str) -> list[str]:
    """Keys of the models that a finished run of the profile has tested."""
    from eo_ssl.experiments.plan import make_grid

    return [cell.key for cell in make_grid(profile).cells if cell.rate is None]
