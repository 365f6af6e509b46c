"""The course end to end at smoke, the built book as files, and the bundle."""

import html
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from smoke import PAGES, ROOT, STEMS, eo_ssl

from eo_ssl.course import notebooks, session, status, student
from eo_ssl.errors import DataError

LARGEST_PAGE = 5_000_000  # bytes of HTML, pictures and widget data included
KEPT = {".jsonl", ".npz", ".safetensors"}  # results and weights
# Tries what the first cells of every chapter and the grid of models need, in the folder of an unpacked bundle.
BEGIN_ANYWHERE = """
import os, sys
from pathlib import Path
import nbformat
from eo_ssl.course import recipes

os.chdir("notebooks")
sys.path.insert(0, "")
for path in sorted(Path().glob("*.ipynb")):
    cells = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    exec("\\n".join(cells[:2]), names := {})
    print(path.stem)
for part in ("fusion", "few-labels", "swin", "segmentation"):
    assert len(recipes.compared(names["run"], part))
print(names["run"].facts()["commit"])
"""
pytestmark = pytest.mark.course


def test_every_chapter_was_executed_and_recorded(course_run):
    assert list(status.done(course_run)) == STEMS
    assert status.read(course_run)["profile"] == "smoke"
    assert not list(course_run.glob("*.failed.ipynb")) and not list(course_run.glob(".running-*.ipynb"))


def test_a_second_run_has_nothing_to_do(course_run):
    said = eo_ssl("course", "run", "--profile", "smoke", "--run-dir", str(course_run))
    assert said.count("up to date") == len(STEMS), said


@pytest.mark.parametrize("stem", STEMS)
def test_every_cell_ran_without_error_pictures_have_alt_text_and_smoke_is_called_no_evidence(
    course_run, stem
):
    executed = notebooks.read(course_run / f"{stem}.ipynb")
    shown = json.dumps(executed)
    assert all(mark in shown for mark in ("eo-run-status", "eo-no-evidence", session.NO_EVIDENCE))
    for cell in [cell for cell in executed.cells if cell.cell_type == "code"]:
        assert cell.execution_count or not cell.source.strip()
        for output in cell.outputs:
            data = output.get("data", {})
            assert output.output_type != "error"
            assert "image/png" not in data, "pictures go through show.figure, which gives them alt text"
            for tag in re.findall(r"<img[^>]*>", data.get("text/html", "")):
                assert re.search(r'alt="[^"]{8,}"', tag), tag[:200]


@pytest.mark.parametrize("page", PAGES)
def test_every_page_of_the_contents_is_not_trivial_not_heavy_and_leads_and_loads_only_where_it_may(
    book, page
):
    path = book / f"{page}.html"
    text = path.read_text(encoding="utf-8")
    article = text[text.index("<article") : text.index("</article>")]
    words = re.sub(r"<[^>]+>", " ", re.sub(r"<(script|style).*?</\1>", " ", article, flags=re.DOTALL)).split()
    assert len(words) > (60 if page.endswith("status") else 150), len(words)
    assert path.stat().st_size < LARGEST_PAGE
    assert session.NO_EVIDENCE in text and "profile smoke" in text, "the profile stands on every page"
    for link in re.findall(r'href="([^"#?]+)', text):
        assert re.match(r"[a-z]+:", link) or (path.parent / html.unescape(link)).exists(), link
    assert re.findall(r'<(?:script|img|link|iframe)[^>]*(?:src|href)="(https?:)?//[^"]*"', text) == []


def test_the_bundle_begins_at_any_chapter_with_what_was_trained_without_network_or_git(bundle):
    def state() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in (bundle / "runs").rglob("*") if p.suffix in KEPT}

    before = state()
    nowhere = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    environment = {"PATH": str(Path(sys.executable).parent), "HOME": str(bundle), **nowhere}
    command = [sys.executable, "start.py", "-c", BEGIN_ANYWHERE]
    done = subprocess.run(command, cwd=bundle, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *begun, commit = done.stdout.split()
    assert set(STEMS) <= set(begun) and commit.startswith("v"), "no git is asked"
    assert state() == before != {}, "nothing was trained again"
    edition = "".join(path.read_text() for path in (bundle / "notebooks").glob("*.ipynb"))
    assert student.BEGIN not in edition and (bundle / "edition" / "solutions").is_dir()


def test_a_bundle_of_nothing_is_refused(tmp_path):
    pack = runpy.run_path(str(ROOT / "scripts" / "bundle.py"))["bundle"]
    with pytest.raises(DataError, match="run `make course` first"):
        pack(ROOT, tmp_path, tmp_path / "bundle.tar.gz")
