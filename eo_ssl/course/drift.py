"""Drift: which results of a run differ from those last released by more than chance explains.

For one row (task, method, fraction, metric) let m be the released mean with its interval [l, u], m' the mean of
the new run, and S the number of seeds. The row has *moved* when

    |m' − m| > max(reach, noise)
    reach = u − m where the new mean is higher, m − l where it is lower
    noise = t · s · sqrt(1/S)

**reach** says: the new mean lies outside the released 95% interval, over seeds and places.

**noise** widens it for the new run's own uncertainty. Both runs are tested on the same patches and train from the
same seeds, so what is new about the new run is what happens to a training on its way: sums in another order on
another device. The seeds tell how much that is: d = (new − released) of each seed is a constant where code or
settings moved the result, and scatters where only chance did. So s is the standard deviation of d within rows,
pooled over all methods of the same task, fraction and metric, which gives it many degrees of freedom ν. An
interval over three seeds is short (its resamples never leave the three values), and of many rows some leave theirs
by chance; so t is the quantile of Student's distribution with ν at 1 − 0.05 / (2 · rows): where nothing changed,
about one run in twenty, or fewer, reports anything (Bonferroni). Two runs that repeat each other exactly have no
noise, and the released interval stands alone; so it does with one seed, which has no scatter to measure.

Runs with other seeds are not paired: s is then the standard deviation over seeds in both runs, and 1/S + 1/S'
stands under the root.

Where a row is the same in both runs it never moves, whatever its interval.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eo_ssl.course import status
from eo_ssl.course.release import read_release, summarise
from eo_ssl.errors import ConfigError, EOError

NO_RELEASE = "No release of profile {} yet: nothing to compare with. `eo-ssl course release` makes one."
FALSE_ALARMS = 0.05  # share of unchanged runs that may report a row that moved
FAMILY = ["task", "fraction", "metric"]
KEY = [*FAMILY, "method"]  # what makes two rows the same result
COLUMNS = [*KEY, "label", "n_labels", "mean", "low", "high", "values"]


def compare(release: dict[str, Any], run: dict[str, Any]) -> pd.DataFrame:
    """The rows of a release and of a run of the same profile and data (both from `summarise`), one a result.

    `state` is "same", "moved", "new" (only in the run) or "gone"; `change` is the new mean minus the released one,
    `allowed` what chance explains; columns of the run end in "_now". What moved most comes first.
    Raises `ConfigError` where the two were made from other data or at another profile: then every number may
    differ, and none of it is drift.
    """
    for name, word in (("profile", "profile"), ("data_version", "data")):
        if release[name] != run[name]:
            raise ConfigError(
                f"the release was made with {word} {release[name]!r} and this run with {run[name]!r}: their "
                "results cannot be compared; `eo-ssl course release` makes this run the release"
            )
    before, after = (pd.DataFrame(side["rows"], columns=COLUMNS) for side in (release, run))
    found = before.merge(after, "outer", KEY, suffixes=("", "_now"), indicator="state")
    found["state"] = found["state"].astype(str).replace({"left_only": "gone", "right_only": "new"})
    both = found[found["state"] == "both"]
    change = both["mean_now"] - both["mean"]
    # From the released mean to the end of its interval that lies towards the new mean.
    reach = np.where(change >= 0, both["high"] - both["mean"], both["mean"] - both["low"])
    found["change"] = change
    found.loc[both.index, "allowed"] = np.maximum(reach, _noise(both, release["seeds"] == run["seeds"]))
    moved = found["change"].abs() > found["allowed"]
    found.loc[both.index, "state"] = np.where(moved[both.index], "moved", "same")
    return found.sort_values("change", key=lambda x: -x.abs(), kind="stable").reset_index(drop=True)


def _noise(rows: pd.DataFrame, paired: bool) -> np.ndarray:
    """t · s · sqrt(1/S) for each row; 0 where no method of the family has two seeds."""
    from scipy.stats import t

    # The values whose scatter is noise: differences seed by seed, or those of both runs each for itself.
    sides = [(np.array(a), np.array(b)) for a, b in zip(rows["values"], rows["values_now"])]
    scattered = [(b - a,) if paired and len(a) == len(b) else (a, b) for a, b in sides]
    counted = pd.DataFrame({
        "squares": [float(sum(((v - v.mean()) ** 2).sum() for v in one)) for one in scattered],
        "freedom": [sum(len(v) - 1 for v in one) for one in scattered],
        "share": [sum(1 / len(v) for v in one) for one in scattered],
    }, index=rows.index)  # fmt: skip
    pooled = counted.groupby([rows[name] for name in FAMILY])[["squares", "freedom"]].transform("sum")
    degrees = pooled["freedom"].clip(lower=1)
    quantile = t.ppf(1 - FALSE_ALARMS / (2 * max(len(rows), 1)), degrees)
    return (quantile * np.sqrt(pooled["squares"] / degrees * counted["share"])).to_numpy()


def markdown(release: dict[str, Any], found: pd.DataFrame) -> str:
    """The comparison in words and as a table of what moved, for a terminal or a job summary."""
    made = f"{release['date'][:10]}, {release['device']}, commit {release['commit']}"
    compared, moved = found[found["state"].isin(["same", "moved"])], found[found["state"] == "moved"]
    result = f"**{len(moved)} moved**" if len(moved) else "none moved"
    about = f"{len(compared)} results compared with the release of profile {release['profile']} ({made}): {result}."
    lines = [about]
    if len(moved):
        lines += [
            "",
            "| result | labels | released [95%] | now | change | allowed |",
            "|---|--:|---|--:|--:|--:|",
        ]
    for row in moved.itertuples():
        lines.append(
            f"| {name(row)} | {row.n_labels:.0f} | {row.mean:.4f} [{row.low:.4f}, {row.high:.4f}] | "
            f"{row.mean_now:.4f} | {row.change:+.4f} | ±{row.allowed:.4f} |"
        )
    for state, what in (("new", "New, not in the release"), ("gone", "In the release, gone now")):
        if len(rows := found[found["state"] == state]):
            lines += ["", f"{what}: {'; '.join(map(name, rows.itertuples()))}."]
    return "\n".join(lines)


def name(row: Any) -> str:
    """A row in words, such as "single, Late fusion, 10% of labels, aa"."""
    label = row.label_now if row.state == "new" else row.label
    return f"{row.task}, {label}, {100 * row.fraction:g}% of labels, {row.metric}"


def report(profile: str, run_dir: Path, folder: Path | None = None) -> str:
    """A run as Markdown for the page of a CI job: times per chapter, failures, changed results.

    It says what it can about a run that failed, stopped or never began.
    """
    state = status.read(run_dir)
    if not state["chapters"]:
        return f"## Run at profile {profile}\n\nNo chapter was executed.\n"
    facts = f"Data: {state.get('data', 'unknown')} · commit {state.get('commit', 'unknown')}"
    if not state.get("evidence"):
        facts += " · **smoke run: no number here is a result**"
    released: dict[str, Any] | None = None
    try:
        released = read_release(profile, folder)
        changed = NO_RELEASE.format(profile)
        if released:
            changed = markdown(released, compare(released, summarise(run_dir)))
    except EOError as error:
        changed = f"Not compared: {error}."
    parts = [
        f"## Run at profile {state.get('profile', profile)} on {state.get('device', 'an unknown device')}",
        facts,
        _times(state["chapters"], (released or {}).get("minutes", {})),
        _failures(state["chapters"]),
        f"### Results against the release\n\n{changed}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _times(chapters: dict[str, Any], released: dict[str, float]) -> str:
    """Chapters with their minutes, beside those of the release."""
    lines = ["| chapter | state | minutes | released |", "|---|---|--:|--:|"]
    for stem, chapter in sorted(chapters.items()):
        times = (chapter.get("minutes"), released.get(stem))
        shown = " | ".join("" if value is None else f"{value:.1f}" for value in times)
        lines.append(f"| {stem} | {chapter.get('state', '')} | {shown} |")
    done = [c.get("minutes", 0.0) for c in chapters.values() if c.get("state") == "done"]
    before = f"**{sum(released.values()):.1f}**" if released else ""
    lines.append(f"| **all** | {len(done)} of {len(chapters)} done | **{sum(done):.1f}** | {before} |")
    return "\n".join(lines)


def _failures(chapters: dict[str, Any]) -> str:
    """One line for every chapter that failed: where, and the error's own words."""
    failed = {stem: c for stem, c in sorted(chapters.items()) if c.get("state") == "failed"}
    lines = [f"- `{stem}`: {str(c.get('error', '')).strip() or 'no message'}" for stem, c in failed.items()]
    return "\n".join(["### Failed", "", *lines]) if lines else ""
