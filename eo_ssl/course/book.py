"""Build the book: stage the executed chapters, then Sphinx with warnings as errors, then move into place."""

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from eo_ssl.course import publish as publishing
from eo_ssl.course import session, staging, status, vendor
from eo_ssl.errors import DataError, EOError
from eo_ssl.files import write_text

BANNER = (
    f'<span class="eo-banner">This is a {session.NO_EVIDENCE}: it was made to test the course. '
    "Numbers about models, or from its tiny simulated data, are no results.</span>"
)
SMOKE_MARKS = ('class="eo-no-evidence"', 'class="eo-banner"')


class BookFailed(EOError):
    """Sphinx found something wrong with a page."""


def build(root: Path, run_dir: Path, out: Path | None = None, publish: bool = False) -> Path:
    """Build the book of a run into `out` (default: `book/_build/html`) and return its first page.

    Raises `BookFailed` with Sphinx's first warnings, and for a page that does not say by which run it was made;
    the previous book stays in place then. With `publish` only a whole run that is evidence will do, otherwise
    `ConfigError`, before anything is built.
    """
    book = root / "book"
    if publish:
        publishing.require_publishable(run_dir, chapters=root / "notebooks")
    target = out or book / "_build" / "html"
    staged, made = target.parent / "staged", target.parent / "new"
    browser_files = vendor.provide(book / "vendor.json", book / "_static" / "vendor")
    titles = staging.stage(book, run_dir, staged, browser_files)
    write_yaml(staged / "_toc.yml", toc(read_yaml(book / "_toc.yml"), titles))
    write_yaml(staged / "_config.yml", config(read_yaml(book / "_config.yml"), run_dir))
    shutil.rmtree(made, ignore_errors=True)
    sphinx(staged, made)
    place_icon_fonts(made / "_build" / "html")
    check_pages(made / "_build" / "html", run_dir, publish)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(made / "_build" / "html", target)
    shutil.rmtree(made, ignore_errors=True)
    return target / "index.html"


def sphinx(staged: Path, out: Path) -> None:
    """Run jupyter-book on the staged folder; any warning is an error."""
    start = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    options = ["build", ".", "-W", "--keep-going", "--path-output", str(out)]
    done = subprocess.run([*start, *options], cwd=staged, capture_output=True, text=True)
    log = staged / "build.log"
    write_text(log, done.stdout + done.stderr)
    page = out / "_build" / "html" / "index.html"
    if done.returncode or not page.is_file():
        lines = [
            line for line in (done.stdout + done.stderr).splitlines() if "WARNING" in line or "rror" in line
        ]
        shown = "\n  ".join(lines[:8] or ["no message"])
        raise BookFailed(f"the book was not built; the whole log is in {log}\n  {shown}")


def place_icon_fonts(html: Path) -> None:
    """Copy the widgets' icon fonts to where the first rules of embed-amd look for them: beside the page.

    It takes their folder from `__jupyter_widgets_assets_path__` only after it has written those rules, and a
    widget that loads slowly shows a spinner, which needs the font.
    """
    fonts = [
        f
        for f in (html / "_static" / "vendor" / "widgets").glob("*")
        if f.suffix in {".woff", ".woff2", ".ttf"}
    ]
    for folder in {page.parent for page in html.glob("notebooks/*.html")}:
        (folder / "@jupyter-widgets").mkdir(exist_ok=True)
        for font in fonts:
            shutil.copy2(font, folder / "@jupyter-widgets" / font.name)


def check_pages(html: Path, run_dir: Path, publish: bool = False) -> None:
    """Raise `BookFailed` unless every page names the run behind it and, to `publish`, none is of a smoke run.

    The second is asked of the pages themselves: a chapter executed at smoke says so, whatever its folder says.
    """
    for page in sorted(html.rglob("*.html")):
        text, name = page.read_text(encoding="utf-8"), page.relative_to(html)
        if "<article" in text and staging.footer(run_dir) not in text:
            raise BookFailed(f"page {name} does not say by which run it was made")
        if publish and any(mark in text for mark in SMOKE_MARKS):
            raise BookFailed(
                f"page {name} shows a smoke run, which is never published; run it at laptop or gpu"
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
    made = copy.deepcopy(settings)
    options = made["sphinx"]["config"]["html_theme_options"]
    options["extra_footer"] = staging.footer(run_dir)
    if not status.read(run_dir).get("evidence"):
        options["announcement"] = BANNER
    return made


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of the book; raises `DataError` naming it when it is broken."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def write_yaml(path: Path, value: dict[str, Any]) -> None:
    """Write YAML, keeping the order of keys."""
    write_text(path, yaml.safe_dump(value, sort_keys=False, allow_unicode=True))
