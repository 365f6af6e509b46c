"""`status.json`: what each chapter of a run took, on what, from which sources; and the table made of it."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eo_ssl.errors import DataError
from eo_ssl.files import read_json, write_json

FILE = "status.json"  # in the run folder


def read(run_dir: Path) -> dict[str, Any]:
    """The status of a run folder; an empty one if there is none or it cannot be read."""
    try:
        found = read_json(run_dir / FILE)
        return found if isinstance(found["chapters"], dict) else {"chapters": {}}
    except (DataError, KeyError, TypeError):
        return {"chapters": {}}


def update(
    run_dir: Path, facts: dict[str, Any], stem: str = "", chapter: dict[str, Any] | None = None
) -> None:
    """Record the facts of the run and, where one is named, a chapter (merged over what is there), atomically."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    state = {**read(run_dir), **facts, "updated": now}
    if stem:
        state["chapters"][stem] = {**state["chapters"].get(stem, {}), **(chapter or {}), "updated": now}
    write_json(run_dir / FILE, state)


def done(run_dir: Path, sources: Iterable[Path] | None = None) -> dict[str, dict[str, Any]]:
    """The chapters that ended well and whose executed copy is there, in reading order; with `sources` only theirs."""
    chapters = sorted(read(run_dir)["chapters"].items())
    known = dict(chapters) if sources is None else {path.stem for path in sources}
    ended = ((s, c) for s, c in chapters if s in known and c.get("state") == "done")
    return {s: c for s, c in ended if (run_dir / f"{s}.ipynb").is_file()}


def table(run_dir: Path, titles: Mapping[str, str], sources: Iterable[Path]) -> str:
    """The status page's table in Markdown, for chapters and their titles: minutes, device, commit, when.

    Chapters of `sources` that failed stand below the sum, with the cell and the kind of error; they have no page.
    """
    chapters, known = read(run_dir)["chapters"], {path.stem for path in sources}
    rows = ["| chapter | minutes | device | commit | executed (UTC) |", "|---|--:|---|---|---|"]
    for stem, title in titles.items():
        c = {"minutes": 0.0, "device": "", "commit": "", "executed": "", **chapters.get(stem, {})}
        about = f"{c['minutes']:.1f} | {c['device']} | {c['commit']} | {c['executed'].replace('T', ' ')[:16]}"
        rows.append(f"| [{title}](../notebooks/{stem}) | {about} |")
    total = sum(chapters.get(stem, {}).get("minutes", 0.0) for stem in titles)
    rows.append(f"| **all** | **{total:.1f}** | | | |")
    for stem, c in sorted(chapters.items()):
        if c.get("state") == "failed" and stem in known - titles.keys():
            where = ": ".join(str(c.get("error", "")).split(": ")[:2])  # not the message, which may be long
            rows.append(f"| {c.get('title', stem)} | **failed** | {where} | | |")
    return "\n".join(rows)
