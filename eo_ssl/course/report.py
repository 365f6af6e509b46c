"""The summary of a run in Markdown, for the page of a CI job: times per chapter, failures, changed results."""

from pathlib import Path
from typing import Any

from eo_ssl.course import drift, status
from eo_ssl.course.release import read_release, summarise
from eo_ssl.errors import EOError

NO_RELEASE = "No release of profile {} yet: nothing to compare with. `eo-ssl course release` makes one."


def report(profile: str, run_dir: Path, folder: Path | None = None) -> str:
    """What a run did, as Markdown; it says what it can about a run that failed, stopped or never began."""
    state = status.read(run_dir)
    if not state["chapters"]:
        return f"## Run at profile {profile}\n\nNo chapter was executed.\n"
    head = f"## Run at profile {state.get('profile', profile)} on {state.get('device', 'an unknown device')}"
    facts = f"Data: {state.get('data', 'unknown')} · commit {state.get('commit', 'unknown')}"
    if not state.get("evidence"):
        facts += " · **smoke run: no number here is a result**"
    parts = [
        head,
        facts,
        times(state["chapters"], _released_minutes(profile, folder)),
        failures(state["chapters"]),
    ]
    parts += ["### Results against the release", changes(profile, run_dir, folder)]
    return "\n\n".join(part for part in parts if part) + "\n"


def times(chapters: dict[str, Any], released: dict[str, float]) -> str:
    """Chapters with their minutes, beside those of the release."""
    lines = ["| chapter | state | minutes | released |", "|---|---|--:|--:|"]
    for stem, chapter in sorted(chapters.items()):
        minutes, before = chapter.get("minutes"), released.get(stem)
        shown = [f"{value:.1f}" if value is not None else "" for value in (minutes, before)]
        lines.append(f"| {stem} | {chapter.get('state', '')} | {shown[0]} | {shown[1]} |")
    done = [c.get("minutes", 0.0) for c in chapters.values() if c.get("state") == "done"]
    before = f"**{sum(released.values()):.1f}**" if released else ""
    return "\n".join(
        [*lines, f"| **all** | {len(done)} of {len(chapters)} done | **{sum(done):.1f}** | {before} |"]
    )


def failures(chapters: dict[str, Any]) -> str:
    """One line for every chapter that failed: where, and the error's own words."""
    failed = {stem: c for stem, c in sorted(chapters.items()) if c.get("state") == "failed"}
    lines = [f"- `{stem}`: {str(c.get('error', '')).strip() or 'no message'}" for stem, c in failed.items()]
    return "\n".join(["### Failed", "", *lines]) if lines else ""


def changes(profile: str, run_dir: Path, folder: Path | None = None) -> str:
    """What moved since the release, or why that cannot be said."""
    try:
        released = read_release(profile, folder)
        if released is None:
            return NO_RELEASE.format(profile)
        return drift.markdown(drift.compare(released, summarise(run_dir)))
    except EOError as error:
        return f"Not compared: {error}."


def _released_minutes(profile: str, folder: Path | None) -> dict[str, float]:
    try:
        return (read_release(profile, folder) or {}).get("minutes", {})
    except EOError:
        return {}
