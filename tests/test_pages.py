"""Every page of the built book as a reader's browser sees it, with no network."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from smoke import PAGES, STEMS

from eo_ssl.course import session, vendor
from eo_ssl.errors import DataError

CHAPTERS = [f"notebooks/{stem}" for stem in STEMS if "01" <= stem < "a"]  # with exercises and explorers
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
AXE = {
    "name": "axe-core",
    "version": "4.14.1",
    "integrity": "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
}
COLOURS = {
    "runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
}  # a theme changes no more
# Preloading fetches style sheets, which a file may not; the rule on screen orientation alone would ask for it.
FOUND = """async (only) => (await axe.run(document, {resultTypes: ["violations"], preload: false, ...only})).violations
    .filter(v => ["serious", "critical"].includes(v.impact))
    .map(v => `${v.id}: ${v.nodes.length} × ${v.nodes[0].html.slice(0, 150)}`)"""
# What takes the keyboard and does not show it.
UNSEEN = """all => all.filter(e => e.checkVisibility()).filter(e => {
    e.focus({focusVisible: true});
    const style = getComputedStyle(e);
    return document.activeElement !== e || style.outlineStyle === "none" && style.boxShadow === "none";
}).map(e => e.outerHTML.slice(0, 100))"""
# What a label above a heading leaves, where it could stop the slides: above the title.
LABEL = """document.addEventListener("DOMContentLoaded",
    () => document.querySelector("article section > h1").before(document.createElement("span")))"""
# Slides without one title, or with more than one cell.
CROWDED = """all => all.filter(s => s.querySelectorAll(":scope > :is(h1, h2, h3)").length !== 1
    || s.querySelectorAll(".cell").length > 1).map(s => s.outerHTML.slice(0, 100))"""
KEYED = f"{WIDGET} :is({CONTROLS}, button, [tabindex='0']), .eo-quiz summary, div.cell summary"
pytestmark = [pytest.mark.course, pytest.mark.browser]
chapters = pytest.mark.parametrize("shown", CHAPTERS, indirect=True)


@pytest.fixture
def reader(browser: Any) -> Iterator[Any]:
    """A new page that is offline, and keeps what goes wrong on it in `page.troubles`."""
    yield from offline(browser)


def offline(browser: Any) -> Iterator[Any]:
    view = {"width": 1280, "height": 900}
    context = browser.new_context(viewport=view, offline=True, reduced_motion="reduce")
    page = context.new_page()
    page.troubles = []
    page.on("console", lambda m: page.troubles.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: page.troubles.append(str(error)))
    page.on("requestfailed", lambda request: page.troubles.append(f"failed: {request.url}"))
    page.on("request", lambda r: r.url.startswith(LOCAL) or page.troubles.append(f"other host: {r.url}"))
    yield page
    context.close()


@pytest.fixture(scope="module", params=PAGES)
def shown(request: pytest.FixtureRequest, browser: Any, book: Path) -> Iterator[Any]:
    """One page of the book after the other, opened once for all tests."""
    for page in offline(browser):
        page.place = (book / f"{request.param}.html").as_uri()
        open_page(page, page.place)
        yield page


def open_page(page: Any, place: str) -> None:
    page.goto(place)
    page.wait_for_load_state("load")
    if page.locator("div.math, span.math").count():
        page.wait_for_selector("mjx-container", state="attached", timeout=60_000)
    if page.locator("script[type='application/vnd.jupyter.widget-view+json']").count():
        page.wait_for_selector(WIDGET, state="attached", timeout=60_000)
    page.wait_for_timeout(100)


def dress(page: Any, theme: str) -> str:
    """Choose a theme; returns the colour behind the text."""
    page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    page.wait_for_timeout(100)  # no transition: motion is reduced
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_the_browser_finds_no_error_no_failed_request_and_no_picture_without_alt_text(shown):
    shown.mouse.wheel(0, 100_000)  # whatever loads late, loads now
    shown.wait_for_timeout(100)
    assert shown.troubles == []
    bad = shown.eval_on_selector_all(
        "img", "all => all.filter(i => !i.alt || !i.complete || !i.naturalWidth).map(i => i.src)"
    )
    assert [source[:100] for source in bad] == []


@pytest.mark.parametrize("shown", PAGES[:1], indirect=True)
def test_the_intro_has_a_picture_the_banner_is_seen_and_the_dark_theme_can_be_chosen(shown):
    assert shown.locator(".eo-cover img").count() == 1
    assert shown.get_by_text(session.NO_EVIDENCE).first.is_visible()
    assert dress(shown, "dark") != dress(shown, "light")


def test_a_page_keeps_nobody_out_in_light_or_dark_and_shows_where_the_keyboard_is(shown, axe):
    shown.evaluate(axe)
    for theme, only in (("dark", COLOURS), ("light", {})):
        dress(shown, theme)
        assert shown.evaluate(FOUND, only) == [], theme
        assert shown.eval_on_selector_all(KEYED, UNSEEN) == [], theme


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


@chapters
def test_the_explorer_moves_without_a_kernel(shown):
    shown.wait_for_selector(f"{WIDGET} :is({CONTROLS})", state="attached", timeout=60_000)
    widgets = shown.locator(WIDGET)
    assert any(moves(shown, widgets.nth(i)) for i in range(widgets.count())), "no control changes a picture"
    assert shown.troubles == []


def moves(reader: Any, widget: Any) -> bool:
    """Try each slider, menu and button of a widget; True if what the widget draws changes."""
    widget.scroll_into_view_if_needed()
    controls = widget.locator(CONTROLS)
    for index in range(controls.count()):
        before = drawn(widget)
        for end in (0, 1):
            controls.nth(index).evaluate(SET, end)
            reader.wait_for_timeout(100)
            if drawn(widget) != before:
                return True
    return False


def drawn(widget: Any) -> str:
    """What the widget shows, apart from its controls: pixels of its canvases and its vector drawings."""
    return widget.evaluate(
        "w => [...w.querySelectorAll('canvas')].map(c => c.toDataURL()).join()"
        " + [...w.querySelectorAll('svg')].map(s => s.outerHTML).join()"
    )


@chapters
def test_solutions_are_folded_and_open_with_a_click(shown):
    cells = shown.locator("div.cell.tag_exercise")
    assert cells.count() >= 2
    for index in range(cells.count()):
        summary = cells.nth(index).locator("summary").first
        code = cells.nth(index).locator("div.cell_input pre").first
        assert not code.is_visible() and "solution" in summary.inner_text().lower()
    summary.click()
    assert code.is_visible()


@chapters
def test_a_chapter_is_slides_too_with_one_thing_each_no_solution_and_keys_that_explorers_keep(shown, axe):
    figures = shown.locator("article .cell_output .eo-figure").count()
    shown.add_init_script(LABEL)
    open_page(shown, f"{shown.place}?slides")
    shown.wait_for_selector("body[data-slides]", state="attached", timeout=60_000)
    slides = shown.locator(".slides > section > section")
    assert slides.count() >= 15 and shown.locator(".slides .tag_exercise, .slides details.hide").count() == 0
    assert shown.locator(".slides .eo-figure").count() == figures
    assert slides.evaluate_all(CROWDED) == []
    shown.keyboard.press("ArrowRight")
    assert shown.evaluate("Reveal.getIndices().h") == 1
    widget = shown.locator(f".slides {WIDGET}").first
    widget.evaluate("w => { const at = Reveal.getIndices(w.closest('section')); Reveal.slide(at.h, at.v); }")
    shown.evaluate(axe)
    assert shown.evaluate(FOUND, {}) == []
    before = shown.evaluate("Reveal.getState()")
    widget.locator(CONTROLS).first.press("ArrowRight")
    assert shown.evaluate("Reveal.getState()") == before
    assert moves(shown, widget)
    assert shown.troubles == []


def test_the_first_page_of_the_bundle_leads_to_its_book(reader, bundle):
    reader.goto((bundle / "index.html").as_uri())
    reader.wait_for_url("**/html/book/intro.html")
    assert reader.locator("h1").count() and reader.troubles == []
