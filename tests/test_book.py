"""The course end to end at smoke, and the built book as a reader's browser sees it, with no network."""

import html
import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from eo_ssl.course import notebooks, session, status, student, vendor
from eo_ssl.data import fetch as sample_archives
from eo_ssl.errors import DataError

ROOT = Path(__file__).parents[1]
STEMS = [path.stem for path in notebooks.sources(ROOT / "notebooks")]
CHAPTERS = [stem for stem in STEMS if "01" <= stem < "a"]  # with exercises and explorers
TOC = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
PAGES = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]
LARGEST_PAGE = 5_000_000  # bytes of HTML, pictures and widget data included
KEPT = {".jsonl", ".npz", ".safetensors"}  # results and weights
LOCAL = ("file:", "data:", "blob:", "about:")
WIDGET = ".cell_output .widget-subarea"
CONTROLS = "input[type=range], select, input[type=radio], input[type=checkbox]"
# Sets a control to one end of what it offers, as a reader would.
SET = """(c, end) => {
    if (c.type === "radio" || c.type === "checkbox") return c.click();
    if (c.tagName === "SELECT") c.selectedIndex = end ? c.options.length - 1 : 0;
    else c.value = end ? c.max : c.min;
    for (const name of ["input", "change"]) c.dispatchEvent(new Event(name, {bubbles: true}));
}"""
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
# What a label above a heading leaves, where it could stop the slides: above the title.
LABEL = """document.addEventListener("DOMContentLoaded",
    () => document.querySelector("article section > h1").before(document.createElement("span")))"""
AXE = {
    "name": "axe-core",
    "version": "4.14.1",
    "integrity": "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
}
FOUND = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations
    .filter(v => ["serious", "critical"].includes(v.impact))
    .map(v => `${v.id}: ${v.nodes.length} × ${v.nodes[0].html.slice(0, 150)}`)"""
# What takes the keyboard and does not show it.
UNSEEN = """all => all.filter(e => e.checkVisibility()).filter(e => {
    e.focus({focusVisible: true});
    const style = getComputedStyle(e);
    return document.activeElement !== e || style.outlineStyle === "none" && style.boxShadow === "none";
}).map(e => e.outerHTML.slice(0, 100))"""
pytestmark = pytest.mark.course


def eo_ssl(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "eo_ssl.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of the whole course at smoke (EO_SSL_TEST_RUN keeps it between test runs)."""
    try:
        sample_archives.fetch()
    except DataError as error:  # the chapters say so and go on with simulated patches
        print(error)
    folder = Path(os.environ.get("EO_SSL_TEST_RUN") or tmp_path_factory.mktemp("course") / "smoke")
    done = eo_ssl("course", "run", "--profile", "smoke", "--run-dir", str(folder), "--keep-going")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def book(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built book."""
    out = tmp_path_factory.mktemp("book") / "html"
    done = eo_ssl("course", "book", "--profile", "smoke", "--run-dir", str(run_dir), "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(out / "index.html") in done.stdout
    return out


def test_every_chapter_was_executed_and_recorded(run_dir):
    assert list(status.done(run_dir)) == STEMS
    assert status.read(run_dir)["profile"] == "smoke"
    assert not list(run_dir.glob("*.failed.ipynb")) and not list(run_dir.glob(".running-*.ipynb"))


def test_a_second_run_has_nothing_to_do(run_dir):
    done = eo_ssl("course", "run", "--profile", "smoke", "--run-dir", str(run_dir))
    assert done.returncode == 0 and done.stderr.count("up to date") == len(STEMS), done.stderr


@pytest.mark.parametrize("stem", STEMS)
def test_every_cell_ran_without_error_pictures_have_alt_text_and_smoke_is_called_no_evidence(run_dir, stem):
    executed = notebooks.read(run_dir / f"{stem}.ipynb")
    shown = json.dumps(executed)
    assert "eo-run-status" in shown and session.NO_EVIDENCE in shown
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


@pytest.fixture
def reader(browser: Any) -> Iterator[Any]:
    """A new page that is offline, and keeps what goes wrong on it in `page.troubles`."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    page = context.new_page()
    page.troubles = []
    page.on("console", lambda m: page.troubles.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: page.troubles.append(str(error)))
    page.on("requestfailed", lambda request: page.troubles.append(f"failed: {request.url}"))
    page.on("request", lambda r: r.url.startswith(LOCAL) or page.troubles.append(f"other host: {r.url}"))
    yield page
    context.close()


def open_page(reader: Any, book: Path, page: str, query: str = "") -> None:
    reader.goto((book / f"{page}.html").as_uri() + query)
    reader.wait_for_load_state("load")
    if reader.locator("div.math, span.math").count():
        reader.wait_for_selector("mjx-container", state="attached", timeout=60_000)
    if reader.locator("script[type='application/vnd.jupyter.widget-view+json']").count():
        reader.wait_for_selector(WIDGET, state="attached", timeout=60_000)
    reader.wait_for_timeout(300)


@pytest.mark.browser
@pytest.mark.parametrize("page", PAGES)
def test_the_browser_finds_no_error_no_failed_request_and_no_picture_without_alt_text(reader, book, page):
    open_page(reader, book, page)
    reader.mouse.wheel(0, 100_000)  # whatever loads late, loads now
    reader.wait_for_timeout(300)
    assert reader.troubles == []
    bad = reader.eval_on_selector_all(
        "img", "all => all.filter(i => !i.alt || !i.complete || !i.naturalWidth).map(i => i.src)"
    )
    assert [source[:100] for source in bad] == []


@pytest.mark.browser
def test_the_intro_has_a_picture_the_banner_is_seen_and_the_dark_theme_can_be_chosen(reader, book):
    open_page(reader, book, "book/intro")
    assert reader.locator(".eo-cover img").count() == 1
    assert reader.get_by_text(session.NO_EVIDENCE).first.is_visible()
    light = reader.evaluate("getComputedStyle(document.body).backgroundColor")
    reader.evaluate("document.documentElement.dataset.theme = 'dark'")
    reader.wait_for_timeout(400)
    assert reader.evaluate("getComputedStyle(document.body).backgroundColor") != light


@pytest.mark.browser
@pytest.mark.parametrize("stem", CHAPTERS)
def test_the_explorer_moves_without_a_kernel(reader, book, stem):
    open_page(reader, book, f"notebooks/{stem}")
    reader.wait_for_selector(f"{WIDGET} :is({CONTROLS})", state="attached", timeout=60_000)
    widgets = reader.locator(WIDGET)
    assert any(moves(reader, widgets.nth(i)) for i in range(widgets.count())), "no control changes a picture"
    assert reader.troubles == []


def moves(reader: Any, widget: Any) -> bool:
    """Try each slider, menu and button of a widget; True if what the widget draws changes."""
    widget.scroll_into_view_if_needed()
    controls = widget.locator(CONTROLS)
    for index in range(controls.count()):
        before = drawn(widget)
        for end in (0, 1):
            controls.nth(index).evaluate(SET, end)
            reader.wait_for_timeout(250)
            if drawn(widget) != before:
                return True
    return False


def drawn(widget: Any) -> str:
    """What the widget shows, apart from its controls: pixels of its canvases and its vector drawings."""
    return widget.evaluate(
        "w => [...w.querySelectorAll('canvas')].map(c => c.toDataURL()).join()"
        " + [...w.querySelectorAll('svg')].map(s => s.outerHTML).join()"
    )


@pytest.mark.browser
@pytest.mark.parametrize("stem", CHAPTERS)
def test_solutions_are_folded_and_open_with_a_click(reader, book, stem):
    open_page(reader, book, f"notebooks/{stem}")
    cells = reader.locator("div.cell.tag_exercise")
    assert cells.count() >= 2
    for index in range(cells.count()):
        summary = cells.nth(index).locator("summary").first
        code = cells.nth(index).locator("div.cell_input pre").first
        assert not code.is_visible() and "solution" in summary.inner_text().lower()
    summary.click()
    assert code.is_visible()


@pytest.mark.browser
@pytest.mark.parametrize("page", PAGES)
def test_a_page_keeps_nobody_out_in_light_or_dark_and_shows_where_the_keyboard_is(reader, book, page, axe):
    open_page(reader, book, page)
    reader.evaluate(axe)
    for theme in ("light", "dark"):
        reader.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        reader.wait_for_timeout(400)
        assert reader.evaluate(FOUND) == [], theme
        keyed = f"{WIDGET} :is({CONTROLS}, button, [tabindex='0']), .eo-quiz summary, div.cell summary"
        assert reader.eval_on_selector_all(keyed, UNSEEN) == [], theme


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script of axe-core; skips where npm or the network lack."""
    try:
        archive = vendor.fetch(AXE)
    except DataError as error:
        pytest.skip(str(error))
    out = tmp_path_factory.mktemp("axe")
    vendor.unpack(archive, {"axe.min.js": "axe.min.js"}, out)
    return (out / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.browser
@pytest.mark.parametrize("stem", CHAPTERS)
def test_a_chapter_is_slides_too_with_one_thing_each_no_solution_and_keys_that_explorers_keep(
    reader, book, stem
):
    reader.add_init_script(LABEL)
    open_page(reader, book, f"notebooks/{stem}")
    figures = reader.locator("article .cell_output .eo-figure").count()
    open_page(reader, book, f"notebooks/{stem}", "?slides")
    reader.wait_for_selector("body[data-slides]", state="attached", timeout=60_000)
    slides = reader.locator(".slides > section > section")
    assert slides.count() >= 15 and reader.locator(".slides .tag_exercise, .slides details.hide").count() == 0
    assert reader.locator(".slides .eo-figure").count() == figures
    for slide in slides.all():
        assert slide.locator("> :is(h1, h2, h3)").count() == 1 and slide.locator(".cell").count() <= 1
    reader.keyboard.press("ArrowRight")
    assert reader.evaluate("Reveal.getIndices().h") == 1
    widget = reader.locator(f".slides {WIDGET}").first
    widget.evaluate("w => { const at = Reveal.getIndices(w.closest('section')); Reveal.slide(at.h, at.v); }")
    before = reader.evaluate("Reveal.getState()")
    widget.locator(CONTROLS).first.press("ArrowRight")
    assert reader.evaluate("Reveal.getState()") == before
    assert moves(reader, widget)
    assert reader.troubles == []


@pytest.fixture(scope="session")
def bundle(run_dir: Path, book: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked bundle of the run."""
    out = tmp_path_factory.mktemp("bundle")
    packed = runpy.run_path(str(ROOT / "scripts" / "bundle.py"))["bundle"](
        ROOT, run_dir, out / "b.tar.gz", book
    )
    subprocess.run(["tar", "-xmzf", packed], cwd=out, check=True)  # as copies do that keep no times
    for card in out.glob("eo_ssl-smoke/cache/simulated/*/dataset.json"):
        os.utime(card, (1, 1))
    return out / "eo_ssl-smoke"


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


def test_a_bundle_of_nothing_is_refused_in_one_line(tmp_path):
    command = [sys.executable, "scripts/bundle.py", "--profile", "smoke", "--run-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "run `make course` first" in done.stderr


@pytest.mark.browser
def test_the_first_page_of_the_bundle_leads_to_its_book(reader, bundle):
    reader.goto((bundle / "index.html").as_uri())
    reader.wait_for_url("**/html/book/intro.html")
    assert reader.locator("h1").count() and reader.troubles == []
