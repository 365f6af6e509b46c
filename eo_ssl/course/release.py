"""Released results: one JSON file per profile and data set, kept with the course, and what in a later run differs.

Only a finished run at an evidence profile, made from a known commit, becomes a release. A result of a later run
has *drifted* where the 95% intervals of both runs have nothing in common (`compare`).
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eo_ssl.course import notebooks, session, status
from eo_ssl.data.fetch import SETS
from eo_ssl.errors import ConfigError, DataError, EOError
from eo_ssl.experiments.plan import make_grid
from eo_ssl.experiments.results import read_results
from eo_ssl.experiments.tables import COLUMNS, finished, measured
from eo_ssl.files import read_json, write_json
from eo_ssl.profiles import PROFILES, get_profile

DIGITS = 6
KEY = ["task", "fraction", "metric", "method"]  # what makes two rows the same result
ABOUT = {
    "profile", "device", "machine", "versions", "commit", "commits", "date", "data_version", "seeds", "minutes", "rows"
}  # fmt: skip
NO_RELEASE = "No release of profile {} yet: nothing to compare with. `eo-ssl course release` makes one."


def results_folder() -> Path:
    """Where released results are kept."""
    return session.project_root() / "book" / "results"


def release_name(profile: str, data: str = "") -> str:
    """What a release is called: its profile, and its data unless those are the ones simulated for it, with seed 0.

    A data set that has a name of its own is called by that, in whatever version.

    >>> release_name("laptop", "simulated laptop 2.0 seed 0"), release_name("laptop", "ben-ge-8k 1.0")
    ('laptop', 'laptop-ben-ge-8k')
    """
    usual = rf"({session.SIMULATED} {get_profile(profile).simulate} \S+ seed 0)?"
    named = next((name for name in SETS if data.startswith(f"{name} ")), data)
    return profile if re.fullmatch(usual, data) else re.sub(r"[^\w.-]+", "-", f"{profile}-{named}")


def others(run: session.Run) -> dict[str, dict[str, Any] | None]:
    """What was released of other profiles and of other data, by name; None for a profile that was not released."""
    found: dict[str, dict[str, Any] | None] = {}
    for profile in (profile.name for profile in PROFILES.values() if profile.is_evidence):
        found[profile] = read_release(profile)
        for path in sorted(results_folder().glob(f"{profile}-*.json")):
            found[path.stem] = validate(read_json(path), str(path))
    found.pop(release_name(run.profile.name, run.data_version), None)
    return found


def summarise(run_dir: Path) -> dict[str, Any]:
    """All that a run found, as plain values: where, when and from what it was made, and one row per result.

    A row is one (task, method, fraction, metric): `values` per seed in the order of seeds, their `mean`, and
    [`low`, `high`], the 95% interval over seeds and places of `eo_ssl.experiments.tables`;
    `seeds` and `n_labels` are how many. Raises `DataError` where there is no finished chapter.
    """
    sources = notebooks.sources(session.project_root() / "notebooks")
    state, chapters = status.read(run_dir), status.done(run_dir, sources)
    if not chapters:
        raise DataError(f"{run_dir}: no finished chapter there; run `eo-ssl course run` first")
    results = _tested(run_dir, state["profile"])
    return {
        "profile": state["profile"],
        "machine": state.get("machine", {}),
        "versions": {name: text for name, text in state.get("versions", {}).items() if name != "commit"},
        "device": state["device"],
        "commit": state["commit"],
        "commits": sorted({*(chapter["commit"] for chapter in chapters.values()), *results["commit"]}),
        "date": max(chapter["executed"] for chapter in chapters.values()),
        "data_version": state["data"],
        "seeds": state["seeds"],
        "minutes": {stem: chapter["minutes"] for stem, chapter in chapters.items()},
        "counted": state.get("counted", {}),
        "rows": _rows(run_dir, results),
    }


def _tested(run_dir: Path, profile: str) -> pd.DataFrame:
    """The tested models of the run's grid; lines left from an older grid are no results of this run.

    Raises `DataError` where lines of two profiles or data sets are mixed.
    """
    path = run_dir / "results.jsonl"
    found = finished(read_results(path))
    if found.empty:
        return pd.DataFrame(columns=["key", "commit"])
    found = found[found["key"].isin(_planned(profile))]
    for name in ("profile", "data_version"):
        if len(kinds := sorted(set(found[name].astype(str)))) > 1:
            raise DataError(
                f"{path}: results of {name} {' and '.join(kinds)} are mixed; give each run a folder of its own "
                "with --run-dir"
            )
    return found


def _planned(profile: str) -> list[str]:
    """Keys of the models that a finished run of the profile has tested."""
    return [cell.key for cell in make_grid(profile).cells if cell.rate is None]


def _rows(run_dir: Path, results: pd.DataFrame) -> list[dict[str, Any]]:
    """One row per task, method, fraction and metric, in the order of the course's tables."""
    table = measured(results, run_dir, second=True)
    # An ensemble does not count its labels: it has those of its task and fraction.
    same = table.groupby(["task", "fraction"])["n_labels"].transform("mean")
    table["n_labels"] = table["n_labels"].fillna(same).round()
    table["values"] = [[round(float(value), DIGITS) for value in values] for values in table["values"]]
    return table.astype({"n_labels": int}).round(DIGITS).to_dict("records")


def require_publishable(run_dir: Path) -> None:
    """Raise `ConfigError` unless the run is evidence, whole, and made from a commit that others can get."""
    sources = notebooks.sources(session.project_root() / "notebooks")
    state, done = status.read(run_dir), status.done(run_dir, sources)
    known = [profile.name for profile in PROFILES.values() if profile.is_evidence]
    if (profile := state.get("profile", known[0])) not in known:
        raise ConfigError(
            f"{run_dir}: a run at profile {profile!r} is no evidence and never a result; use {', '.join(known)}"
        )
    _require_whole(run_dir, "chapters", {path.stem for path in sources} - set(done))
    _require_clean(run_dir, {state["commit"], *(chapter["commit"] for chapter in done.values())})


def require_same_sources(run_dir: Path, chapters: Path) -> None:
    """Raise `ConfigError` unless every chapter was executed with the code of these notebooks and this package."""
    from eo_ssl.course.plan import sources_of

    done = status.done(run_dir)
    for path, sources in sources_of(chapters).items():
        if done.get(path.stem, {}).get("sources") != sources:
            raise ConfigError(
                f"{run_dir}: made from other sources than those here ({path.stem}); run it again"
            )


def require_releasable(run_dir: Path) -> None:
    """Raise `ConfigError` unless the run is publishable and every model of its grid was tested, from a commit."""
    require_publishable(run_dir)
    profile = status.read(run_dir)["profile"]
    results = _tested(run_dir, profile)
    _require_clean(run_dir, set(results["commit"]))
    _require_whole(run_dir, "tested models", set(_planned(profile)) - set(results["key"]))


def _require_whole(run_dir: Path, what: str, missing: set[str]) -> None:
    if missing:
        raise ConfigError(
            f"{run_dir}: the run is not finished ({len(missing)} {what} missing, the first is {min(missing)}); "
            "`eo-ssl course run` goes on where it stopped"
        )


def _require_clean(run_dir: Path, commits: set[str]) -> None:
    """Raise `ConfigError` if code behind the run differs from its commit ("…+"), or no commit is known ("v…")."""
    if unclean := sorted(c or "unknown" for c in commits if not c or c.endswith("+") or c.startswith("v")):
        raise ConfigError(
            f"{run_dir}: made from code that is in no commit ({', '.join(unclean)}); commit it and run again"
        )


def write_release(run_dir: Path) -> Path:
    """Write the summary of a finished run to `book/results/<release_name>.json`; what `require_releasable` refuses
    raises, and what was released before stays."""
    require_releasable(run_dir)
    found = validate(summarise(run_dir), str(run_dir))
    path = results_folder() / f"{release_name(found['profile'], found['data_version'])}.json"
    write_json(path, found)
    return path


def read_release(profile: str, data: str = "") -> dict[str, Any] | None:
    """The released results of a profile on simulated or other `data`, or None where there are none yet.

    Raises `ConfigError` for a profile that does not exist, `DataError` naming file and entry where the file
    is not in the form of `summarise`.
    """
    path = results_folder() / f"{release_name(profile, data)}.json"
    if not path.is_file():
        return None
    return validate(read_json(path), str(path))


def validate(release: Any, name: str) -> dict[str, Any]:
    """The release, if every entry is there and every row whole; otherwise `DataError` with `name` and the entry."""
    again = "make it again with `eo-ssl course release`"
    if missing := sorted(ABOUT.difference(release)):
        raise DataError(f"{name}: {missing[0]} is missing; {again}")
    rows = pd.DataFrame(release["rows"], columns=list(COLUMNS))
    if rows.isna().any(axis=None) or rows.duplicated(KEY).any():
        raise DataError(f"{name}, rows: every result needs all of {', '.join(COLUMNS)}, and once; {again}")
    return release


def compare(release: dict[str, Any], run: dict[str, Any]) -> pd.DataFrame:
    """The rows of a release and of a run of the same profile and data (both from `summarise`), one a result.

    `state` is "same", "moved", "new" (only in the run) or "gone"; columns of the run end in "_now", `change` is
    the new mean minus the released one. A row has moved where the 95% intervals of both runs have nothing in common.

    Raises `ConfigError` for other data or another profile: then every number may differ, and none of it is drift.
    """
    for name in ("profile", "data_version"):
        if release[name] != run[name]:
            raise ConfigError(
                f"{name} of the release is {release[name]!r} and of this run {run[name]!r}: their results cannot be "
                "compared; `eo-ssl course release` makes this run the release"
            )
    before, after = (pd.DataFrame(side["rows"], columns=list(COLUMNS)) for side in (release, run))
    found = before.merge(after, "outer", KEY, suffixes=("", "_now"), indicator="side")
    found["change"] = found["mean_now"] - found["mean"]
    apart = (found["high_now"] < found["low"]) | (found["low_now"] > found["high"])
    states = [found["side"] == "left_only", found["side"] == "right_only", apart]
    found["state"] = np.select(states, ["gone", "new", "moved"], "same")
    return found.sort_values("change", key=lambda x: -x.abs(), kind="stable", ignore_index=True)


def markdown(release: dict[str, Any], found: pd.DataFrame) -> str:
    """The comparison in words and as a table of what moved, for a terminal or a job summary."""
    made = f"{release['date'][:10]}, {release['device']}, commit {release['commit']}"
    moved, compared = found[found["state"] == "moved"], found["state"].isin(["same", "moved"]).sum()
    result = f"**{len(moved)} moved**" if len(moved) else "none moved"
    lines = [
        f"{compared} results compared with the release of profile {release['profile']} ({made}): {result}."
    ]
    if len(moved):
        lines += ["", "| result | labels | released [95%] | now [95%] | change |", "|---|--:|---|---|--:|"]
    for row in moved.itertuples():
        lines.append(
            f"| {name(row)} | {row.n_labels:.0f} | {row.mean:.4f} [{row.low:.4f}, {row.high:.4f}] | "
            f"{row.mean_now:.4f} [{row.low_now:.4f}, {row.high_now:.4f}] | {row.change:+.4f} |"
        )
    for state, what in (("new", "New, not in the release"), ("gone", "In the release, gone now")):
        if len(rows := found[found["state"] == state]):
            lines += ["", f"{what}: {'; '.join(map(name, rows.itertuples()))}."]
    return "\n".join(lines)


def name(row: Any) -> str:
    """A row in words, such as "single, Late fusion, 10% of labels, aa"."""
    label = row.label_now if row.state == "new" else row.label
    return f"{row.task}, {label}, {100 * row.fraction:g}% of labels, {row.metric}"


def report(profile: str, run_dir: Path) -> str:
    """A run as Markdown for the page of a CI job: times per chapter, failures, changed results.

    It says what it can about a run that failed, stopped or never began.
    """
    state = status.read(run_dir)
    chapters = dict(sorted(state["chapters"].items()))
    if not chapters:
        return f"## Run at profile {profile}\n\nNo chapter was executed.\n"
    released, changed = None, NO_RELEASE.format(profile)
    try:
        if released := read_release(profile, state["data"]):
            changed = markdown(released, compare(released, summarise(run_dir)))
    except EOError as error:
        changed = f"Not compared: {error}."
    before = released["minutes"] if released else {}
    smoke = "" if state["evidence"] else " · **smoke run: no number here is a result**"
    lines = [
        f"## Run at profile {state['profile']} on {state['device']}\n",
        f"Data: {state['data']} · commit {state['commit']}{smoke}\n",
        "| chapter | state | minutes | released |",
        "|---|---|--:|--:|",
    ]
    for stem, chapter in chapters.items():
        times = (chapter.get("minutes"), before.get(stem))
        shown = " | ".join("" if minutes is None else f"{minutes:.1f}" for minutes in times)
        lines.append(f"| {stem} | {chapter['state']} | {shown} |")
    done = [chapter["minutes"] for chapter in chapters.values() if chapter["state"] == "done"]
    total = f"**{sum(before.values()):.1f}**" if before else ""
    lines.append(f"| **all** | {len(done)} of {len(chapters)} done | **{sum(done):.1f}** | {total} |\n")
    if failed := [f"- `{stem}`: {c['error']}" for stem, c in chapters.items() if c["state"] == "failed"]:
        lines += ["### Failed\n", *failed, ""]
    return "\n".join([*lines, "### Results against the release\n", changed, ""])
