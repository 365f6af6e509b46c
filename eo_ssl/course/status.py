"""`status.json`: what each chapter of a run took, on what, from which sources; and the table made of it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eo_ssl.errors import DataError
from eo_ssl.files import read_json, write_json

TIMES = Path(__file__).with_name("times.json")


def path(run_dir: Path) -> Path:
    """The status file of a run folder."""
    return run_dir / "status.json"


def read(run_dir: Path) -> dict[str, Any]:
    """The status of a run folder; an empty one if there is none or it cannot be read."""
    try:
        found = read_json(path(run_dir))
    except DataError:
        found = {}
    if not isinstance(found, dict) or not isinstance(found.get("chapters", {}), dict):
        found = {}
    return {"chapters": {}, **found}


def update(run_dir: Path, facts: dict[str, Any], stem: str, chapter: dict[str, Any]) -> None:
    """Record one chapter (merged over what is there) and the facts of the run, atomically."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    state = {**read(run_dir), **facts, "updated": now}
    state["chapters"][stem] = {**state["chapters"].get(stem, {}), **chapter, "updated": now}
    write_json(path(run_dir), state)


def done(run_dir: Path) -> dict[str, dict[str, Any]]:
    """The chapters that ended well and whose executed copy is there, in reading order."""
    chapters = read(run_dir)["chapters"]
    return {
        stem: chapter
        for stem, chapter in sorted(chapters.items())
        if chapter.get("state") == "done" and (run_dir / f"{stem}.ipynb").is_file()
    }


def expected_minutes(profile: str, run_dir: Path) -> dict[str, float]:
    """Minutes a chapter takes: as measured in this run folder, otherwise as recorded with the course."""
    recorded = recorded_times(profile).get("minutes", {})
    here = {stem: c["minutes"] for stem, c in done(run_dir).items() if "minutes" in c}
    return {**recorded, **here}


def recorded_times(profile: str) -> dict[str, Any]:
    """`{"device": …, "minutes": {chapter: minutes}}` recorded with the course; empty if there is none."""
    return read_json(TIMES).get(profile, {}) if TIMES.is_file() else {}


def record_times(profile: str, run_dir: Path) -> Path:
    """Keep the times of this run with the course, as what others may expect."""
    state = read(run_dir)
    minutes = {stem: c["minutes"] for stem, c in done(run_dir).items() if "minutes" in c}
    if not minutes:
        raise DataError(f"{run_dir}: no finished chapter there; run `make course` first")
    times = read_json(TIMES) if TIMES.is_file() else {}
    times[profile] = {"device": state.get("device", ""), "minutes": minutes}
    write_json(TIMES, times)
    return TIMES


def table(run_dir: Path, titles: Mapping[str, str]) -> str:
    """The status page's table in Markdown, for chapters and their titles: minutes, device, commit, when.

    Chapters that failed stand below the sum, with the cell and the kind of error; they have no page.
    """
    chapters = read(run_dir)["chapters"]
    rows = ["| chapter | minutes | device | commit | executed (UTC) |", "|---|--:|---|---|---|"]
    total = 0.0
    for stem, heading in titles.items():
        c = chapters.get(stem, {})
        total += c.get("minutes", 0.0)
        when = str(c.get("executed", "")).replace("T", " ")[:16]
        title = f"[{heading}](../notebooks/{stem})"
        minutes, device, commit = c.get("minutes", 0.0), c.get("device", ""), c.get("commit", "")
        rows.append(f"| {title} | {minutes:.1f} | {device} | {commit} | {when} |")
    rows.append(f"| **all** | **{total:.1f}** | | | |")
    for stem, chapter in sorted(chapters.items()):
        if chapter.get("state") == "failed" and stem not in titles:
            where = ": ".join(
                str(chapter.get("error", "")).split(": ")[:2]
            )  # not the message: it may be long
            rows.append(f"| {chapter.get('title', stem)} | **failed** | {where} | | |")
    return "\n".join(rows)
