"""What the pages of a book say about the run behind them, and what is never published."""

import pytest

from eo_ssl.course import book, book as staging, status
from eo_ssl.errors import ConfigError
from eo_ssl.files import write_text


@pytest.fixture
def run_dir(tmp_path):
    folder = tmp_path / "run"
    facts = {"profile": "laptop", "device": "GPU <X>", "commit": "abc", "data": "simulated", "evidence": True}
    for stem, day in (("01_a", "2026-01-03"), ("02_b", "2026-01-02")):
        write_text(folder / f"{stem}.ipynb", "")
        status.update(folder, facts, stem, {"state": "done", "executed": f"{day}T03:04:05"})
    return folder


@pytest.fixture
def html(tmp_path, run_dir):
    """A built book of one page, and a page without an article that only leads there."""
    folder = tmp_path / "html"
    page = f"<body><article>Text</article>{staging.footer(run_dir)}</body>"
    write_text(folder / "book" / "intro.html", page)
    write_text(folder / "index.html", "<meta http-equiv='Refresh'>")
    return folder


def test_the_foot_of_every_page_names_profile_device_data_commit_and_date(run_dir):
    line = "Executed with profile laptop · GPU &lt;X&gt; · simulated · commit abc · 2026-01-03"
    assert line in staging.footer(run_dir)


def test_a_page_that_does_not_say_how_it_was_made_fails_the_build(html, run_dir):
    book.check_pages(html, run_dir)
    write_text(html / "notebooks" / "01_a.html", "<article>Text</article>")
    with pytest.raises(book.BookFailed, match=r"notebooks/01_a.html does not say by which run"):
        book.check_pages(html, run_dir)


@pytest.mark.parametrize("mark", ['<span class="eo-no-evidence">', book.BANNER])
def test_a_page_of_a_smoke_run_is_built_for_tests_and_never_published(html, run_dir, mark):
    page = html / "book" / "intro.html"
    book.check_pages(html, run_dir, publish=True)
    write_text(page, page.read_text() + mark)
    book.check_pages(html, run_dir)
    with pytest.raises(book.BookFailed, match="shows a smoke run, which is never published"):
        book.check_pages(html, run_dir, publish=True)


def test_publishing_is_refused_before_anything_is_built(run_dir, tmp_path):
    status.update(run_dir, {"profile": "smoke", "evidence": False}, "01_a", {})
    with pytest.raises(ConfigError, match="no evidence and never a result"):
        book.build(tmp_path, run_dir, publish=True)
    assert not (tmp_path / "book").exists()
