"""`status.json`: what each chapter of a run took, on what, from which sources; and the table made of it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eo_ssl.course.session import project_root
from eo_ssl.errors import DataError
from eo_ssl.files import read_json, write_json


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
    """Minutes a chapter takes: as measured in this run folder, otherwise as released with the course."""
    try:
        released = read_json(project_root() / "book" / "results" / f"{profile}.json")["minutes"]
    except (DataError, KeyError):
        released = {}
    here = {stem: c["minutes"] for stem, c in done(run_dir).items() if "minutes" in c}
    return {**released, **here}


def table(run_dir: Path, titles: Mapping[str, str]) -> str:
    """The status page's table in Markdown, for chapters and their titles: minutes, device, commit, when.

    Chapters that failed stand below the sum, with the cell and the kind of error; they have no page.
    """
    chapters = read(run_dir)["chapters"]
    rows = ["| chapter | minutes | device | commit | executed (UTC) |", "|---|--:|---|---|---|"]
    total = 0.0
    for stem, title in titles.items():
        c = chapters.get(stem, {})
        total += c.get("minutes", 0.0)
        when = str(c.get("executed", "")).replace("T", " ")[:16]
        about = f"{c.get('minutes', 0.0):.1f} | {c.get('device', '')} | {c.get('commit', '')} | {when}"
        rows.append(f"| [{title}](../notebooks/{stem}) | {about} |")
    rows.append(f"| **all** | **{total:.1f}** | | | |")
    for stem, chapter in sorted(chapters.items()):
        if chapter.get("state") == "failed" and stem not in titles:
            # Not the message, which may be long.
            where = ": ".join(str(chapter.get("error", "")).split(": ")[:2])
            rows.append(f"| {chapter.get('title', stem)} | **failed** | {where} | | |")
    return "\n".join(rows)
