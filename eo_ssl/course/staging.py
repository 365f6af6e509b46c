"""Bring the executed notebooks and the book's pages together in one folder, as the reader shall see them."""

import base64
import html
import re
import shutil
from pathlib import Path
from typing import Any

import nbformat

from eo_ssl.course import notebooks, session, status
from eo_ssl.course.student import without_markers
from eo_ssl.errors import DataError
from eo_ssl.files import write_text

LINK = re.compile(r"\[([^\]]+)\]\(((?:\d\d|a\d)_\w+)\.ipynb(#[^)]*)?\)")
PICTURE = re.compile(r'<img alt="([^"]*)"[^>]*src="data:image/png;base64,([^"]+)"', re.DOTALL)


def stage(book: Path, run_dir: Path, out: Path, vendor: Path) -> dict[str, str]:
    """Fill `out` with everything that the book is built from; returns the chapters in it and their titles.

    Layout: `book/` pages, `notebooks/` executed chapters, `assets/` style and browser files.
    """
    done = status.done(run_dir)
    if not done:
        raise DataError(f"{run_dir}: no executed chapter there; run `eo-ssl course run` first")
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(book / "_static", out / "assets", ignore=shutil.ignore_patterns("vendor"))
    shutil.copytree(vendor, out / "assets" / "vendor")
    for page in [*book.glob("*.md"), *book.glob("*.bib")]:
        write_text(out / "book" / page.name, page.read_text(encoding="utf-8"))
    for folder in (p for p in book.iterdir() if p.is_dir() and not p.name.startswith("_")):
        shutil.copytree(folder, out / "book" / folder.name)
    titles = {}
    for stem, chapter in done.items():
        executed = notebooks.read(run_dir / f"{stem}.ipynb")
        titles[stem] = chapter.get("title") or notebooks.title(executed)
        shown = prepare(executed, chapter, set(done))
        write_text(out / "notebooks" / f"{stem}.ipynb", nbformat.writes(shown))
    fill_pages(out, run_dir, titles)
    return titles


def prepare(
    notebook: nbformat.NotebookNode, chapter: dict[str, Any], stems: set[str]
) -> nbformat.NotebookNode:
    """An executed chapter as the book shows it: solutions folded, injected cell hidden, minutes filled in."""
    minutes = f"{chapter.get('minutes', 0.0):.1f}"
    for cell in notebook.cells:
        tags = set(notebooks.tags(cell))
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(lambda m: m[0] if m[2] in stems else m[1], cell.source)
            continue
        if "injected-parameters" in tags:
            tags.add("remove-cell")
        if "exercise" in tags:
            tags.add("hide-input")
            cell.source = without_markers(cell.source)
        cell.metadata["tags"] = sorted(tags)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/html" in data:
                data["text/html"] = data["text/html"].replace(session.MINUTES, minutes)
    return notebook


def fill_pages(out: Path, run_dir: Path, titles: dict[str, str]) -> None:
    """Write the cover picture into the intro and the table of times into the status page."""
    intro, page = out / "book" / "intro.md", out / "book" / "status.md"
    text = intro.read_text(encoding="utf-8")
    write_text(intro, text.replace("<!-- cover -->", cover(out, run_dir, list(titles))))
    about = f"{about_run(run_dir)}\n\n{status.table(run_dir, titles)}"
    write_text(page, page.read_text(encoding="utf-8").replace("<!-- status -->", about))


def cover(out: Path, run_dir: Path, stems: list[str]) -> str:
    """The first picture of the first chapter that has one (after the pre-flight), as HTML for the intro."""
    for stem in [s for s in stems if not s.startswith("00")]:
        for cell in notebooks.read(run_dir / f"{stem}.ipynb").cells:
            for output in cell.get("outputs", []):
                found = PICTURE.search(output.get("data", {}).get("text/html", ""))
                if found:
                    name = "assets/cover.png"
                    (out / name).write_bytes(base64.b64decode(found[2]))
                    image = f'<img src="../_static/cover.png" alt="{found[1]}">'
                    return f'<p class="eo-cover">{image}</p>'
    return ""


def about_run(run_dir: Path) -> str:
    """One sentence about the run that made the book."""
    state = status.read(run_dir)
    seeds = state.get("seeds", {})
    counts = (
        f"{len(seeds.get('pretrain', []))} for pretraining, {len(seeds.get('finetune', []))} for fine-tuning"
    )
    text = (
        f"Profile **{state.get('profile')}** on {state.get('device')}; data: {state.get('data')}; "
        f"seeds: {counts}; commit {state.get('commit')}."
    )
    return text if state.get("evidence") else f"{text} **{session.NO_EVIDENCE.capitalize()}.**"


def footer(run_dir: Path) -> str:
    """The line about the run at the foot of every page, as HTML."""
    state = status.read(run_dir)
    executed = [str(c.get("executed", "")) for c in status.done(run_dir).values()]
    facts = [
        f"profile {state.get('profile')}",
        state.get("device"),
        state.get("data"),
        f"commit {state.get('commit')}",
        max(executed, default="")[:10],
    ]
    line = html.escape(" · ".join(str(fact) for fact in facts if fact))
    return f'<p class="eo-about-run">Executed with {line}</p>'
