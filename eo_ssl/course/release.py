"""Released results: one JSON file per profile, made from a finished run and kept with the course.

A release is what later runs are compared with (`eo_ssl.course.drift`) and what a chapter can show beside the
run that made the page. Only a finished run at an evidence profile, made from a known commit, becomes one.
"""

import math
from pathlib import Path
from typing import Any

from eo_ssl.course import notebooks, session, status
from eo_ssl.errors import ConfigError, DataError
from eo_ssl.files import read_json, write_json
from eo_ssl.profiles import PROFILES, get_profile
from eo_ssl.provenance import machine, versions

DIGITS = 6


def _table(**kinds: str) -> dict[str, Any]:
    """The JSON schema of an object that has these entries, of these kinds."""
    return {
        "type": "object",
        "required": list(kinds),
        "properties": {n: {"type": k} for n, k in kinds.items()},
    }


# What a release holds, and of which kind each entry is.
ROW = _table(
    task="string", method="string", label="string", fraction="number", n_labels="integer", seeds="integer",
    metric="string", mean="number", low="number", high="number", values="array",
)  # fmt: skip
ROW["properties"]["values"]["items"] = {"type": "number"}
SCHEMA = _table(
    profile="string", machine="object", device="string", commit="string", commits="array", date="string",
    data_version="string", seeds="object", versions="object", minutes="object", rows="array",
)  # fmt: skip
SCHEMA["properties"]["machine"] = _table(cpu="string", cores="integer", memory_gb="number", gpus="array")
SCHEMA["properties"]["rows"]["items"] = ROW


def results_folder() -> Path:
    """Where released results are kept."""
    return session.project_root() / "book" / "results"


def summarise(run_dir: Path) -> dict[str, Any]:
    """All that a run found, as plain values: where, when and from what it was made, and one row per result.

    A row is one (task, method, fraction, metric): `values` per seed in the order of seeds, their `mean`, and
    [`low`, `high`], the 95% interval over seeds and places of `eo_ssl.experiments.tables`;
    `seeds` and `n_labels` are how many. Raises `DataError` where there is no finished chapter.
    """
    state, chapters = status.read(run_dir), status.done(run_dir)
    if not chapters:
        raise DataError(f"{run_dir}: no finished chapter there; run `eo-ssl course run` first")
    results = tested_results(run_dir, state)
    commits = {str(c.get("commit", "")) for c in chapters.values()}
    commits |= set(results["commit"].astype(str)) if len(results) else set()
    return {
        "profile": str(state.get("profile", "")),
        # A run from before runs wrote these down: then they are those found here.
        "machine": state.get("machine") or machine(),
        "versions": {k: v for k, v in (state.get("versions") or versions()).items() if k != "commit"},
        "device": str(state.get("device", "")),
        "commit": str(state.get("commit", "")),
        "commits": sorted(commits),
        "date": max(str(c.get("executed", "")) for c in chapters.values()),
        "data_version": str(state.get("data", "")),
        "seeds": state.get("seeds", {}),
        "minutes": {stem: c["minutes"] for stem, c in chapters.items() if "minutes" in c},
        "rows": _rows(run_dir, results),
    }


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


def _rows(run_dir: Path, results: Any) -> list[dict[str, Any]]:
    """One row per task, method, fraction and metric, in the order of the course's tables."""
    from eo_ssl.experiments.tables import measured

    table = measured(results, run_dir, second=True)
    # An ensemble does not count its labels: it has those of its task and fraction.
    same = table.groupby(["task", "fraction"])["n_labels"].transform("mean")
    table["n_labels"] = table["n_labels"].fillna(same).round()
    if table["n_labels"].isna().any():
        raise DataError(f"{run_dir / 'results.jsonl'}: some lines do not say how many labels they had")
    table["values"] = [[round(float(value), DIGITS) for value in values] for values in table["values"]]
    return table.astype({"n_labels": int}).round(DIGITS).to_dict("records")


def require_publishable(run_dir: Path, allow_dirty: bool = False, chapters: Path | None = None) -> None:
    """Raise `ConfigError` unless the run is evidence, whole, and made from a commit that others can get.

    Args:
        allow_dirty: accept a run of code that differs from its commit, or of no known commit.
        chapters: folder of the notebooks that a whole run has executed; default: the project's.
    """
    state, done = status.read(run_dir), status.done(run_dir)
    if not done:
        raise ConfigError(f"{run_dir}: no finished chapter there; run `eo-ssl course run` first")
    name = str(state.get("profile", ""))
    if not (name in PROFILES and PROFILES[name].is_evidence and state.get("evidence") is True):
        known = ", ".join(p.name for p in PROFILES.values() if p.is_evidence)
        raise ConfigError(
            f"{run_dir}: a run at profile {name!r} is no evidence and never a result; use {known}"
        )
    wanted = [p.stem for p in notebooks.sources(chapters or session.project_root() / "notebooks")]
    _require_whole(run_dir, "chapters", sorted((set(wanted) | set(state["chapters"])) - set(done)))
    if not allow_dirty:
        commits = [state.get("commit", ""), *(c.get("commit", "") for c in done.values())]
        _require_clean(run_dir, {str(commit) for commit in commits})


def require_same_sources(run_dir: Path, chapters: Path) -> None:
    """Raise `ConfigError` unless every chapter was executed with the code of these notebooks and this package."""
    from eo_ssl.course.plan import sources_of

    done = status.done(run_dir)
    sources = {path.stem: found for path, found in sources_of(chapters).items()}
    other = [stem for stem, found in sources.items() if done.get(stem, {}).get("sources") != found]
    if other:
        raise ConfigError(
            f"{run_dir}: made from other sources than those here ({_some(other)}); run it again"
        )


def require_releasable(run_dir: Path, allow_dirty: bool = False, chapters: Path | None = None) -> None:
    """Raise `ConfigError` with the reason where a run may not be released.

    Beyond `require_publishable`, every model of the profile's grid must have been tested, and from code
    that is in a commit.
    """
    require_publishable(run_dir, allow_dirty, chapters)
    state = status.read(run_dir)
    results = tested_results(run_dir, state)
    if not allow_dirty and len(results):
        _require_clean(run_dir, set(results["commit"].astype(str)))
    tested = set(results["key"]) if len(results) else set()
    _require_whole(run_dir, "tested models", [key for key in planned(state["profile"]) if key not in tested])


def _require_whole(run_dir: Path, what: str, missing: list[str]) -> None:
    if missing:
        raise ConfigError(
            f"{run_dir}: the run is not finished ({what} missing: {_some(missing)}); `eo-ssl course run` goes on "
            "where it stopped"
        )


def _require_clean(run_dir: Path, commits: set[str]) -> None:
    """Raise `ConfigError` if code behind the run differs from its commit ("…+"), or no commit is known ("v…")."""
    unclean = sorted(c or "unknown" for c in commits if not c or c.endswith("+") or c.startswith("v"))
    if unclean:
        raise ConfigError(
            f"{run_dir}: made from code that is in no commit ({', '.join(unclean)}); commit it and run again, "
            "or use --allow-dirty"
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def write_release(
    run_dir: Path, folder: Path | None = None, allow_dirty: bool = False, chapters: Path | None = None
) -> Path:
    """Write the summary of a finished run to `folder/<profile>.json` (default: `book/results/`).

    Raises `ConfigError` for a run that is no evidence, not finished or, without `allow_dirty`, made from code
    that is in no commit; what was released before stays then.
    """
    require_releasable(run_dir, allow_dirty, chapters)
    found = validate(summarise(run_dir), str(run_dir))
    path = (folder or results_folder()) / f"{found['profile']}.json"
    write_json(path, found)
    return path


def read_release(profile: str, folder: Path | None = None) -> dict[str, Any] | None:
    """The released results of a profile, or None where there are none yet.

    Raises `ConfigError` for a profile that does not exist, `DataError` naming file and entry where the file
    is not in the form of `summarise`.
    """
    path = (folder or results_folder()) / f"{get_profile(profile).name}.json"
    if not path.is_file():
        return None
    found = validate(read_json(path), str(path))
    if found["profile"] != profile:
        raise DataError(f"{path}: holds results of profile {found['profile']!r}, not {profile!r}")
    return found


def validate(release: Any, name: str) -> dict[str, Any]:
    """The release, if every entry is there and of its kind; otherwise `DataError` with `name` and the entry."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    if error := best_match(Draft202012Validator(SCHEMA).iter_errors(release)):
        where = "".join(f", {part}" if isinstance(part, str) else f" {part}" for part in error.absolute_path)
        raise DataError(f"{name}{where}: {error.message}; make it again with `eo-ssl course release`")
    seen = set()
    for number, row in enumerate(release["rows"]):
        where = f"{name}, rows {number}"
        if not all(map(math.isfinite, [row["mean"], row["low"], row["high"], *row["values"]])):
            raise DataError(f"{where}: mean, low, high and values must be finite numbers")
        if len(row["values"]) != row["seeds"] or row["low"] > row["high"]:
            raise DataError(f"{where}: needs one value per seed, and low not above high")
        if (key := tuple(row[k] for k in ("task", "method", "fraction", "metric"))) in seen:
            raise DataError(f"{where}: {' '.join(map(str, key))} is there twice")
        seen.add(key)
    return release
