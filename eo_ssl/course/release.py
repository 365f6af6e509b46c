"""Released results: one JSON file per profile, made from a finished run and kept with the course.

A release is what later runs are compared with (`eo_ssl.course.drift`) and what a chapter can show beside the
run that made the page. Only a finished run at an evidence profile, made from a known commit, becomes one.
"""

import math
from pathlib import Path
from typing import Any

from eo_ssl.course import places, publish, status
from eo_ssl.errors import DataError
from eo_ssl.files import read_json, write_json
from eo_ssl.profiles import get_profile
from eo_ssl.provenance import machine, versions

NUMBER = (int, float)
# What a release holds, and of which kind each entry is.
KEYS: dict[str, Any] = {
    "profile": str, "machine": dict, "device": str, "commit": str, "commits": list, "date": str,
    "data_version": str, "seeds": dict, "versions": dict, "minutes": dict, "rows": list,
}  # fmt: skip
MACHINE_KEYS: dict[str, Any] = {"cpu": str, "cores": int, "memory_gb": NUMBER, "gpus": list}
ROW_KEYS: dict[str, Any] = {
    "task": str, "method": str, "label": str, "fraction": NUMBER, "n_labels": int, "seeds": int,
    "metric": str, "mean": NUMBER, "low": NUMBER, "high": NUMBER, "values": list,
}  # fmt: skip
DIGITS = 6


def results_folder() -> Path:
    """Where released results are kept."""
    return places.project_root() / "book" / "results"


def summarise(run_dir: Path) -> dict[str, Any]:
    """All that a run found, as plain values: where, when and from what it was made, and one row per result.

    A row is one (task, method, fraction, metric): `values` per seed in the order of seeds, their `mean`, and
    [`low`, `high`], the 95% interval over seeds and places of `eo_ssl.experiments.tables.interval`;
    `seeds` and `n_labels` are how many. Raises `DataError` where there is no finished chapter.
    """
    state, chapters = status.read(run_dir), status.done(run_dir)
    if not chapters:
        raise DataError(f"{run_dir}: no finished chapter there; run `eo-ssl course run` first")
    results = publish.tested_results(run_dir, state)
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


def _rows(run_dir: Path, results: Any) -> list[dict[str, Any]]:
    """One row per task, method, fraction and metric, in the order of the course's tables."""
    from eo_ssl.evaluate.metrics import METRICS
    from eo_ssl.experiments.tables import MAIN, SECOND, summary

    return [
        _row(run_dir, results, line, metric)
        for line in (summary(results).itertuples() if len(results) else ())
        for metric in (MAIN[line.task], SECOND[line.task])
        if metric in METRICS
    ]


def _row(run_dir: Path, results: Any, line: Any, metric: str) -> dict[str, Any]:
    from eo_ssl.experiments.plan import get_method
    from eo_ssl.experiments.tables import interval, pick

    group = pick(results, line.task, line.method, line.fraction)
    found = interval(run_dir, results, line.task, line.method, line.fraction, metric)
    return {
        "task": line.task,
        "method": line.method,
        "label": get_method(line.method).label,
        "fraction": float(line.fraction),
        "n_labels": _labels(results, line),
        "seeds": len(group),
        "metric": metric,
        "mean": round(found.value, DIGITS),
        "low": round(found.low, DIGITS),
        "high": round(found.high, DIGITS),
        "values": [round(float(value), DIGITS) for value in group[f"test.{metric}"]],
    }


def _labels(results: Any, line: Any) -> int:
    """Labels of a row; an ensemble does not count its own: it has those of its task and fraction."""
    same = results[(results["task"] == line.task) & (results["fraction"] == line.fraction)]
    own = same[same["method"] == line.method]["n_labels"].dropna()
    counted = own if len(own) else same["n_labels"].dropna()
    if not len(counted):
        raise DataError(f"no line of {line.task} at {line.fraction:g} of the labels says how many that were")
    return round(float(counted.mean()))


def require_releasable(run_dir: Path, allow_dirty: bool = False, chapters: Path | None = None) -> None:
    """Raise `ConfigError` with the reason where a run may not be released.

    Beyond `publish.require_publishable`, every model of the profile's grid must have been tested, and from code
    that is in a commit.
    """
    publish.require_publishable(run_dir, allow_dirty, chapters)
    state = status.read(run_dir)
    results = publish.tested_results(run_dir, state)
    if not allow_dirty and len(results):
        publish.require_clean(run_dir, set(results["commit"].astype(str)))
    tested = set(results["key"]) if len(results) else set()
    untested = [key for key in publish.planned(state["profile"]) if key not in tested]
    publish.require_whole(run_dir, "tested models", untested)


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
    _require_keys(release, KEYS, name)
    _require_keys(release["machine"], MACHINE_KEYS, f"{name}, machine")
    seen = set()
    for number, row in enumerate(release["rows"]):
        where = f"{name}, row {number}"
        _require_keys(row, ROW_KEYS, where)
        values = [row["mean"], row["low"], row["high"], *row["values"]]
        if not all(_is(value, NUMBER) and math.isfinite(value) for value in values):
            raise DataError(f"{where}: mean, low, high and values must be finite numbers")
        if len(row["values"]) != row["seeds"] or row["low"] > row["high"]:
            raise DataError(f"{where}: needs one value per seed, and low not above high")
        if (key := tuple(row[k] for k in ("task", "method", "fraction", "metric"))) in seen:
            raise DataError(f"{where}: {' '.join(map(str, key))} is there twice")
        seen.add(key)
    return release


def _require_keys(found: Any, kinds: dict[str, Any], name: str) -> None:
    if not isinstance(found, dict):
        raise DataError(
            f"{name}: not a table of names and values; make it again with `eo-ssl course release`"
        )
    for key, kind in kinds.items():
        if key not in found or not _is(found[key], kind):
            wanted = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
            state = "of another kind" if key in found else "missing"
            raise DataError(
                f"{name}: {key} ({wanted}) is {state}; make it again with `eo-ssl course release`"
            )


def _is(value: Any, kind: Any) -> bool:
    """`isinstance` that does not take True for a number."""
    return isinstance(value, kind) and not isinstance(value, bool)
