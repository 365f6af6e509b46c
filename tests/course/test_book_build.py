"""What the book shows: solutions folded, parameters once, the profile on every page, warnings refused."""

import json
import re
import shutil
import zipfile
from pathlib import Path

import nbformat
import pytest
import yaml

from eo_ssl.course import book, notebooks, plan, session, status, vendor
from eo_ssl.errors import ConfigError, DataError
from eo_ssl.files import write_text

ROOT = Path(__file__).parents[2]
STEM = "01_seeing"
FACTS = {
    "profile": "smoke", "device": "CPU", "commit": "abc", "data": "simulated", "evidence": False,
    "seeds": {"pretrain": [0], "finetune": [0, 1]},
}  # fmt: skip
DONE = {"state": "done", "minutes": 1.26, "title": "Seeing", "executed": "2026-01-02T03:04:05"}


def html_output(text):
    return nbformat.v4.new_output("display_data", data={"text/html": text, "text/plain": "x"})


@pytest.fixture
def run_dir(tmp_path):
    """A run folder with one executed chapter, one that failed, and one that is no part of the project any more."""
    solution = "### BEGIN SOLUTION\n1 + 1\n### END SOLUTION"
    code = nbformat.v4.new_code_cell
    cells = [
        nbformat.v4.new_markdown_cell(
            "# Seeing\n\nNext: [there](02_there.ipynb), before: [this](01_seeing.ipynb)."
        ),
        code("seed = 0", metadata={"tags": ["parameters"]}),
        code("seed = 1", metadata={"tags": ["injected-parameters"]}),
        code("run", outputs=[html_output(f"took {session.MINUTES}")]),
        code(solution, metadata={"tags": ["exercise"]}),
        code("fig"),
    ]
    folder = tmp_path / "run"
    write_text(folder / f"{STEM}.ipynb", nbformat.writes(nbformat.v4.new_notebook(cells=cells)))
    status.update(folder, FACTS, STEM, DONE)
    write_text(folder / "03_mine.ipynb", nbformat.writes(nbformat.v4.new_notebook()))
    status.update(folder, {}, "03_mine", {**DONE, "title": "Mine"})
    error = "02_there, cell 7: ValueError: a long | story"
    status.update(folder, {}, "02_there", {"state": "failed", "title": "There", "error": error})
    return folder


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose book is three pages."""
    contents = {"root": "x", "parts": [{"chapters": [{"file": f"notebooks/{STEM}"}]}]}
    write_text(tmp_path / "book" / "_toc.yml", yaml.safe_dump(contents))
    settings = {"sphinx": {"config": {"html_theme_options": {}}}}
    write_text(tmp_path / "book" / "_config.yml", yaml.safe_dump(settings))
    write_text(tmp_path / "book" / "_static" / "course.css", "")
    write_text(tmp_path / "book" / "intro.md", "# Intro")
    write_text(tmp_path / "book" / "status.md", "# Status\n\n<!-- status -->")
    write_text(tmp_path / "notebooks" / "chapters" / "ch01.py", "")
    for stem in (STEM, "02_there"):
        write_text(tmp_path / "notebooks" / f"{stem}.ipynb", nbformat.writes(nbformat.v4.new_notebook()))
    write_text(tmp_path / "notebooks" / "images" / "windows.svg", "<svg/>")
    shutil.copy(ROOT / "notebooks" / "images" / "course.svg", tmp_path / "notebooks" / "images")
    icons = "widgets/icons.woff2"
    monkeypatch.setattr(vendor, "provide", lambda pins, out: write_text(out / icons, ""))
    return tmp_path


@pytest.fixture
def staged(project, run_dir):
    book.stage(project / "book", run_dir, project / "staged")
    return project / "staged"


def test_finished_chapters_are_staged_with_images_and_a_download_that_brings_its_modules(staged):
    assert sorted(p.name for p in (staged / "notebooks").iterdir()) == [f"{STEM}.ipynb", "images"]
    assert (staged / "notebooks" / "images" / "windows.svg").is_file()
    names = zipfile.ZipFile(staged / "assets" / "notebooks.zip").namelist()
    assert {"notebooks/chapters/ch01.py", "notebooks/images/windows.svg"} <= set(names)
    assert "_static/notebooks.zip" in (staged / "book" / "status.md").read_text()


def test_a_staged_chapter_has_folded_solutions_its_minutes_and_links_to_present_chapters_only(staged):
    cells = nbformat.read(staged / "notebooks" / f"{STEM}.ipynb", as_version=4).cells
    assert "Next: there, before: [this](01_seeing.ipynb)." in cells[0].source
    assert cells[2].metadata["tags"] == ["injected-parameters", "remove-cell"]
    assert cells[3].outputs[0].data["text/html"] == "took 1.3"
    assert cells[4].source == "1 + 1" and "hide-input" in cells[4].metadata["tags"]


def test_under_the_title_stands_the_picture_of_the_course_with_the_number_of_the_chapter_lit(staged):
    first = notebooks.read(staged / "notebooks" / f"{STEM}.ipynb").cells[0].source
    title, figure, text = re.fullmatch(r"(.*?)\n\n(<div.*?</div>)\n\n(.*)", first, re.DOTALL).groups()
    assert title == "# Seeing" and text.startswith("Next:")
    assert "\n\n" not in figure, "a blank line would end the HTML"
    assert re.findall(r'id="eo-ch(..)" class="eo-here ', figure) == ["01"]
    assert figure.count('class="eo-small"') == figure.count("</svg>") == 1 and "You are here: 01" in figure


def test_the_status_page_lists_minutes_and_failures(staged):
    text = (staged / "book" / "status.md").read_text()
    assert "| [Seeing](../notebooks/01_seeing) | 1.3 | " in text and "2026-01-02 03:04" in text
    assert "| There | **failed** | 02_there, cell 7: ValueError | | |" in text
    assert "story" not in text and "Mine" not in text
    assert "seeds: 1 pretraining, 2 fine-tuning" in text


def test_the_contents_list_only_chapters_that_are_there(tmp_path):
    chapters = [{"file": f"notebooks/{stem}"} for stem in (STEM, "02_there")]
    whole = {"root": "book/intro", "parts": [{"chapters": chapters}, {"chapters": [{"file": "book/status"}]}]}
    shown = book.toc(whole, {STEM: "Seeing"})["parts"]
    assert shown[0]["chapters"] == [{"file": f"notebooks/{STEM}", "title": "01 · Seeing"}]
    assert [part["chapters"] for part in book.toc(whole, {})["parts"]] == [[{"file": "book/status"}]]
    with pytest.raises(DataError, match="does not list notebooks/03_new"):
        book.toc(whole, {"03_new": "New"})
    with pytest.raises(DataError, match="no executed chapter there"):
        book.stage(tmp_path, tmp_path / "run", tmp_path / "out")


def test_a_warning_fails_the_build_and_is_quoted(tmp_path):
    write_text(tmp_path / "intro.md", "# Title\n\n[lost](nowhere.md)")
    write_text(tmp_path / "_toc.yml", yaml.safe_dump({"format": "jb-book", "root": "intro"}))
    write_text(tmp_path / "_config.yml", json.dumps({"title": "T", "execute": {"execute_notebooks": "off"}}))
    with pytest.raises(book.BookFailed, match=r"intro\.md:3: WARNING.*nowhere"):
        book.sphinx(tmp_path, tmp_path / "out", tmp_path / "log")


@pytest.fixture
def building(project, monkeypatch):
    """The project, where a book is made without Sphinx and npm."""

    def sphinx(staged, out, log):
        write_text(out / "index.html", (staged / "notebooks" / f"{STEM}.ipynb").read_text())
        return out / "index.html"

    monkeypatch.setattr(book, "sphinx", sphinx)
    return project


@pytest.mark.parametrize("mark", ['<span class="eo-no-evidence">', book.BANNER])
def test_a_page_of_a_smoke_run_is_never_published_whatever_its_folder_says(
    building, run_dir, monkeypatch, mark
):
    for name in ("require_publishable", "require_same_sources"):
        monkeypatch.setattr(book.release, name, lambda *_: None)
    page = book.build(building, run_dir, publish=True)

    def sphinx(staged, out, log):
        write_text(out / "notebooks" / "a.html", mark)
        return out / "index.html"

    monkeypatch.setattr(book, "sphinx", sphinx)
    with pytest.raises(book.BookFailed, match="shows a smoke run, which is never published"):
        book.build(building, run_dir, publish=True)
    assert page.is_file()


@pytest.mark.parametrize("name", ["html", "staged", "new"])
def test_a_book_replaces_a_book_and_deletes_nothing_else(building, run_dir, name):
    out = building / "elsewhere" / name
    for other in {"html", "staged", "new"} - {name}:
        write_text(out.parent / other / "mine.txt", "mine")
    book.build(building, run_dir, out)
    write_text(out / "old.html", "old")
    assert book.build(building, run_dir, out) == out / "index.html"
    assert sorted(p.name for p in out.iterdir()) == ["index.html", book.MARK, "notebooks"]
    assert (out / "notebooks" / "@jupyter-widgets" / "icons.woff2").is_file(), "beside the pages with widgets"
    assert sorted(p.name for p in out.parent.iterdir()) == ["html", "new", "staged"]
    assert len(list(out.parent.glob("*/mine.txt"))) == 2
    (out / book.MARK).unlink()
    with pytest.raises(ConfigError, match="holds other things than a book made here"):
        book.build(building, run_dir, out)
    assert (out / "index.html").is_file()


def test_a_build_that_fails_keeps_the_book_before_it(building, run_dir, monkeypatch):
    page = book.build(building, run_dir)
    before = page.read_text()
    monkeypatch.setattr(book, "sphinx", lambda *_: (_ for _ in ()).throw(book.BookFailed("a warning")))
    with pytest.raises(book.BookFailed):
        book.build(building, run_dir)
    assert page.read_text() == before and [p.name for p in page.parent.parent.iterdir()] == ["html"]


def test_mended_prose_reaches_the_book_without_a_run_and_changed_code_does_not(building, run_dir):
    source = notebooks.read(run_dir / f"{STEM}.ipynb")
    source.cells = [c for c in source.cells if "injected-parameters" not in notebooks.tags(c)]
    path = building / "notebooks" / f"{STEM}.ipynb"
    write_text(path, nbformat.writes(source))
    status.update(run_dir, {}, STEM, {"sources": plan.sources_of(path.parent)[path], "text": "old"})
    write_text(path, path.read_text().replace("# Seeing", "# Seeing better"))
    assert "Seeing better" in book.build(building, run_dir).read_text()
    changed = path.read_text().replace("Seeing better", "Seeing worse").replace('"fig"', '"figure"')
    write_text(path, changed)
    assert "Seeing better" in book.build(building, run_dir).read_text()


def test_a_chapter_has_buttons_for_codespaces_and_colab_only_where_the_repository_is_named(project, run_dir):
    page, settings = project / "staged" / "notebooks" / f"{STEM}.ipynb", project / "book" / "_config.yml"
    for url in ("", "https://github.com/someone/course"):
        shutil.rmtree(project / "staged", ignore_errors=True)
        about = {**yaml.safe_load(settings.read_text()), "repository": {"url": url}}
        write_text(settings, yaml.safe_dump(about))
        book.stage(project / "book", run_dir, project / "staged")
        text = notebooks.read(page).cells[0].source
        assert ("eo-open" in text) == bool(url)
        assert "repository" not in (project / "staged" / "_config.yml").read_text()
    assert 'href="https://codespaces.new/someone/course/tree/main"' in text
    assert f"/github/someone/course/blob/main/notebooks/{STEM}.ipynb" in text and "git clone" in text
