"""Build the book: stage executed chapters and pages in one folder, then Sphinx with warnings as errors."""

import html
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import yaml

from eo_ssl.course import notebooks, release, session, status, vendor
from eo_ssl.course.plan import sources_of
from eo_ssl.course.run import refresh
from eo_ssl.course.student import student_edition, without_markers
from eo_ssl.errors import ConfigError, DataError, EOError
from eo_ssl.files import write_text
from eo_ssl.profiles import NO_EVIDENCE

MARK = "made-by-eo-ssl.txt"  # in every folder that this module may replace
BANNER = (
    f'<span class="eo-banner">This is a {NO_EVIDENCE}: it was made to test the course. '
    "Numbers about models, or from its tiny simulated data, are no results.</span>"
)
SMOKE_MARKS = ('class="eo-no-evidence"', 'class="eo-banner"')
LINK = re.compile(r"\[([^\]]+)\]\(((?:\d\d|a\d)_\w+)\.ipynb(#[^)]*)?\)")
DOWNLOAD = (
    '<a href="../_static/notebooks.zip" download>Download the notebooks</a> without outputs and solutions; '
    "they run where `eo_ssl` is installed.\n{.eo-download}"
)


class BookFailed(EOError):
    """Sphinx found something wrong with a page."""


def build(root: Path, run_dir: Path, out: Path | None = None, publish: bool = False) -> Path:
    """Build the book of a run into `out` (default: `book/_build/html`) and return its first page.

    Prose that changed since the run is taken from the notebooks. Raises `BookFailed` with Sphinx's first warnings,
    `ConfigError` for an `out` that holds anything but a book of ours; the previous book stays in place then. With
    `publish` only a whole run that is evidence, of these very sources, will do, otherwise `ConfigError`, before
    anything is built; and pages are asked, too: a chapter executed at smoke says so, whatever its folder says.
    """
    book = root / "book"
    target = out or book / "_build" / "html"
    ours = out is None or not target.exists() or (target / MARK).is_file()
    if not (ours or (target.is_dir() and not any(target.iterdir()))):
        raise ConfigError(
            f"{target}: holds other things than a book made here; choose a new folder with --out"
        )
    if publish:
        release.require_publishable(run_dir)
        release.require_same_sources(run_dir, root / "notebooks")
    refresh_prose(root / "notebooks", run_dir)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".book-", dir=target.parent) as temporary:
        staged, made = Path(temporary, "staged"), Path(temporary, "new")
        stage(book, run_dir, staged)
        page = sphinx(staged, made, run_dir / "book.log")
        if publish:
            require_no_smoke(page.parent)
        # embed-amd writes its first rules before it is told where its fonts are, and looks beside the page.
        shutil.copytree(staged / "assets/vendor/widgets", page.parent / "notebooks" / "@jupyter-widgets")
        write_text(page.parent / MARK, "A book that `eo-ssl course book` has made, and may replace.\n")
        if target.exists():
            target.rename(Path(temporary, "old"))
        page.parent.rename(target)
    return target / page.name


def refresh_prose(folder: Path, run_dir: Path) -> None:
    """Bring mended text into the executed chapters whose code is that of the notebooks in `folder`."""
    for path, sources in sources_of(folder).items():
        if status.done(run_dir).get(path.stem, {}).get("sources") == sources:
            refresh(run_dir, path.stem, notebooks.read(path))


def stage(book: Path, run_dir: Path, out: Path) -> None:
    """Fill `out` with everything that the book is built from.

    Layout: `book/` pages, `notebooks/` executed chapters and their images, `assets/` style, browser files and the
    notebooks to download, `_toc.yml` and `_config.yml` for jupyter-book.
    """
    sources = book.parent / "notebooks"
    chapters = notebooks.sources(sources)
    if not (done := status.done(run_dir, chapters)):
        raise DataError(f"{run_dir}: no executed chapter there; run `eo-ssl course run` first")
    shutil.copytree(book / "_static", out / "assets")
    vendor.provide(book / "vendor.json", out / "assets" / "vendor")
    shutil.copytree(book, out / "book", ignore=shutil.ignore_patterns("_*", "*.json", "*.py", "*.toml"))
    if (tables := book / "instructor" / "tables.py").is_file():
        runpy.run_path(str(tables))["fill"](book.parent, out / "book")
    shutil.copytree(sources / "images", out / "notebooks" / "images")
    with tempfile.TemporaryDirectory() as download:
        student_edition(sources, Path(download, "notebooks"))
        shutil.make_archive(str(out / "assets" / "notebooks"), "zip", download)
    titles = {stem: chapter["title"] for stem, chapter in done.items()}
    picture = (sources / "images" / "course.svg").read_text(encoding="utf-8")
    contents, settings = (
        yaml.safe_load((book / name).read_text("utf-8")) for name in ("_toc.yml", "_config.yml")
    )
    published = settings.pop("repository", {})
    for stem, chapter in done.items():
        shown = prepare(notebooks.read(run_dir / f"{stem}.ipynb"), chapter["minutes"], set(done))
        title, _, text = shown.cells[0].source.partition("\n")
        here = f"{you_are_here(picture, stem)}\n{open_in(stem, **published)}"
        shown.cells[0].source = f"{title}\n\n{here}{text}"
        write_text(out / "notebooks" / f"{stem}.ipynb", nbformat.writes(shown))
    page = out / "book" / "status.md"
    about = f"{about_run(run_dir)}.\n\n{status.table(run_dir, titles, chapters)}\n\n{DOWNLOAD}"
    write_text(page, page.read_text(encoding="utf-8").replace("<!-- status -->", about))
    for name, value in (("_toc.yml", toc(contents, titles)), ("_config.yml", config(settings, run_dir))):
        write_text(out / name, yaml.safe_dump(value, sort_keys=False, allow_unicode=True))


def prepare(notebook: nbformat.NotebookNode, minutes: float, stems: set[str]) -> nbformat.NotebookNode:
    """An executed chapter as the book shows it: solutions folded, injected cell hidden, minutes filled in."""
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
                data["text/html"] = data["text/html"].replace(session.MINUTES, f"{minutes:.1f}")
    return notebook


def you_are_here(picture: str, stem: str) -> str:
    """The picture of the course, small and without its words, with the number of one chapter lit; as HTML."""
    number = stem[:2]
    lit = picture.replace(f'id="eo-ch{number}" class="', f'id="eo-ch{number}" class="eo-here ')
    small = lit.replace("<svg ", '<svg class="eo-small" ', 1).strip()
    slides = '<a href="?slides">this chapter as slides</a>'
    return f'<div class="eo-course">\n{small}\n<p>You are here: {number.upper()} · {slides}</p>\n</div>'


def open_in(stem: str, url: str = "", branch: str = "main") -> str:
    """Where a chapter can be opened with a click, and what Colab needs first, as HTML; "" without a repository."""
    if not url:
        return ""
    name = url.rstrip("/").removeprefix("https://github.com/")
    codespaces = f"https://codespaces.new/{name}/tree/{branch}"
    colab = f"https://colab.research.google.com/github/{name}/blob/{branch}/notebooks/{stem}.ipynb"
    # Not the extra, since Colab has a Jupyter of its own. The checkout comes first on the path: what is released lies in it.
    install = "pip install -q ./course anywidget umap-learn"
    clone = f"!git clone -q --depth 1 -b {branch} {url} course && {install}"
    first = f"{clone}\n%cd course/notebooks\nimport sys; sys.path.insert(0, '/content/course')"
    return (
        f'\n<div class="eo-open">\n<p>Open in <a href="{codespaces}">Codespaces</a>'
        f' or, solved, in <a href="{colab}">Colab</a></p>'
        f"\n<details><summary>In Colab, begin with this cell</summary><pre>{first}</pre></details>"
        "\n</div>\n"
    )


def about_run(run_dir: Path) -> str:
    """The run that made the book, in one line."""
    state = status.read(run_dir)
    executed = max(chapter["executed"] for chapter in status.done(run_dir).values())
    pretraining, finetuning = (len(state["seeds"][name]) for name in ("pretrain", "finetune"))
    return (
        f"Executed with profile {state['profile']} · {state['device']} · {state['data']} · seeds: {pretraining} "
        f"pretraining, {finetuning} fine-tuning · commit {state['commit']} · {executed[:10]}"
    )


def sphinx(staged: Path, out: Path, log: Path) -> Path:
    """Run jupyter-book on the staged folder and return the first page; any warning is an error."""
    start = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    options = ["build", ".", "-W", "--keep-going", "--path-output", str(out)]
    done = subprocess.run([*start, *options], cwd=staged, capture_output=True, text=True)
    said = done.stdout + done.stderr
    write_text(log, said)
    page = out / "_build" / "html" / "index.html"
    if done.returncode or not page.is_file():
        lines = [line for line in said.splitlines() if "WARNING" in line or "rror" in line]
        shown = "\n  ".join(lines[:8] or ["no message"])
        raise BookFailed(f"the book was not built; the whole log is in {log}\n  {shown}")
    return page


def require_no_smoke(pages: Path) -> None:
    """Raise `BookFailed` where a page shows a smoke run."""
    for page in sorted(pages.rglob("*.html")):
        if any(mark in page.read_text(encoding="utf-8") for mark in SMOKE_MARKS):
            raise BookFailed(
                f"page {page.name} shows a smoke run, which is never published; run it at laptop or gpu"
            )


def toc(whole: dict[str, Any], titles: dict[str, str]) -> dict[str, Any]:
    """The table of contents with numbers, and without the chapters that this run does not hold."""
    there = {f"notebooks/{stem}": f"{stem[:2].upper()} · {title}" for stem, title in titles.items()}
    parts = []
    for part in whole["parts"]:
        kept = [c for c in part["chapters"] if c["file"] in there or not c["file"].startswith("notebooks/")]
        named = [{**c, "title": there[c["file"]]} if c["file"] in there else c for c in kept]
        parts += [{**part, "chapters": named}] if named else []
    listed = {c["file"] for part in parts for c in part["chapters"]}
    if missing := sorted(set(there) - listed):
        raise DataError(f"book/_toc.yml does not list {', '.join(missing)}")
    return {**whole, "parts": parts}


def config(settings: dict[str, Any], run_dir: Path) -> dict[str, Any]:
    """The book's settings with what depends on the run: the foot of every page, and the banner at smoke."""
    made = settings["sphinx"]["config"]["html_theme_options"]
    made["extra_footer"] = f'<p class="eo-about-run">{html.escape(about_run(run_dir))}</p>'
    if not status.read(run_dir)["evidence"]:
        made["announcement"] = BANNER
    return settings
