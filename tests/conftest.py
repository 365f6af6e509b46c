"""Shared by all tests: one browser a worker, an explorer in a page with no kernel, results to draw."""

import gc
import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

gc.disable()  # until all tests are collected: of what they import nothing is garbage
# jsonschema, which nbformat brings, would build a grammar of addresses with this: five seconds here. It goes without.
sys.modules.setdefault("rfc3987_syntax", None)
from smoke import ROOT, eo_ssl, once  # noqa: E402

from eo_ssl.errors import DataError  # noqa: E402

# Files whose tests take half a minute and more, the longest first.
LONG = ("test_book", "test_workflows", "test_rehearsal", "test_grid", "test_simulate", "test_kill")
PAGES = "test_pages"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PAGE = """<!doctype html><body><div id="w"></div><script type="module">
const state = {state}, source = {source};
const module = await import(URL.createObjectURL(new Blob([source], {{type: "text/javascript"}})));
module.default.render({{model: {{get: (key) => state[key]}}, el: document.getElementById("w")}});
document.body.dataset.ready = "1";
</script></body>"""

settings.register_profile("shared", deadline=None)  # another worker may have the cores
settings.load_profile("shared")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first, and last what all workers can share: the pages of the book."""
    place = {name: number for number, name in enumerate(LONG, start=-len(LONG))}
    items.sort(key=lambda item: place.get(item.path.stem, item.path.stem == PAGES))


def pytest_collection_finish() -> None:
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A worker gets the tests of a whole file, in this order; of the book, those of one page."""
    from xdist.scheduler import LoadFileScheduling

    class ByFileOrPage(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            page = nodeid.partition("[")[2] if f"{PAGES}.py" in nodeid else ""
            return page or super()._split_scope(nodeid)

    config.option.loadscopereorder = False
    return ByFileOrPage(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked `gpu` without one, and `gpu(2)` without two."""
    if marker := item.get_closest_marker("gpu"):
        from torch.cuda import device_count

        if device_count() < (needed := (*marker.args, 1)[0]):
            pytest.skip(f"needs {needed} GPU(s)")


@pytest.fixture(autouse=True)
def no_open_figures() -> Iterator[None]:
    """Close what a test has drawn, so that tests that count open figures do not see each other's."""
    yield
    if "matplotlib.pyplot" in sys.modules:  # importing it here would slow down every other test
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what all workers use."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def simulated(shared: Path) -> Path:
    """The simulated data set of smoke; do not change it."""
    from eo_ssl.simulate import simulate

    out = shared / "simulated"
    return once(out, shared, lambda: simulate(out, "smoke", seed=0, workers=1))


@pytest.fixture(scope="session")
def course_run(shared: Path) -> Path:
    """The run folder of the whole course at smoke (EO_SSL_TEST_RUN keeps it between test runs)."""
    from eo_ssl.data.fetch import fetch

    out = Path(os.environ.get("EO_SSL_TEST_RUN") or shared / "smoke")

    def execute() -> str:
        with suppress(DataError):  # the chapters say so and go on with simulated patches
            fetch()
        return eo_ssl("course", "run", "--profile", "smoke", "--run-dir", str(out), "--keep-going")

    return once(out, shared, execute)


@pytest.fixture(scope="session")
def book(course_run: Path, shared: Path) -> Path:
    """The folder of the built book."""
    build = ("course", "book", "--profile", "smoke", "--run-dir", str(course_run), "--out")
    return once(shared / "html", shared, lambda: eo_ssl(*build, str(shared / "html")))


@pytest.fixture(scope="session")
def bundle(course_run: Path, book: Path, shared: Path) -> Path:
    """The unpacked bundle of the run."""
    out = shared / "bundle"

    def pack() -> None:
        out.mkdir()
        make = runpy.run_path(str(ROOT / "scripts" / "bundle.py"))["bundle"]
        packed = make(ROOT, course_run, out / "b.tar.gz", book)
        subprocess.run(["tar", "-xmzf", packed], cwd=out, check=True)  # as copies do that keep no times
        for card in out.glob("eo_ssl-smoke/cache/simulated/*/dataset.json"):
            os.utime(card, (1, 1))

    return once(out, shared, pack) / "eo_ssl-smoke"


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium; without one the tests skip, unless EO_SSL_REQUIRE_BROWSER=1.

    One for the whole session: Playwright's synchronous interface cannot be started a second time beside itself.
    """
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        reason = "no Chromium found: install chromium to test pages and explorers"
        pytest.fail(reason) if os.environ.get("EO_SSL_REQUIRE_BROWSER") == "1" else pytest.skip(reason)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def page_of(widget: Any) -> str:
    """A page with this widget alone, its state frozen as in the built book."""
    import anywidget

    own = set(widget.trait_names(sync=True)) - set(anywidget.AnyWidget().trait_names(sync=True))
    state = {name: getattr(widget, name) for name in own}
    return PAGE.format(state=json.dumps(state), source=json.dumps(str(widget._esm)))


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[[Any], Any]]:
    """`opened(widget)` is a page of the browser that shows it; fails at the end if one reported an error."""
    pages, errors = [], []

    def open_page(widget: Any) -> Any:
        page = browser.new_page(viewport={"width": 820, "height": 900}, reduced_motion="reduce")
        pages.append(page)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.set_content(page_of(widget))
        page.wait_for_selector("body[data-ready]", timeout=10_000)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert errors == []


@pytest.fixture
def write_model(tmp_path: Path) -> Callable[..., None]:
    """`write_model("late", 7)`: three seeds of a model that has 7 in ten of two classes right, in `tmp_path`."""

    from eo_ssl.experiments.results import append_result

    def write(
        method: str, right: int, fraction: float = 1.0, patches: int = 40, task: str = "single"
    ) -> None:
        (tmp_path / "counts").mkdir(exist_ok=True)
        rows = np.arange(patches)
        for seed in range(3):
            key = f"{task} {method} f={fraction:g} s={seed}"
            truth, good = rows % 2, (rows // 2 + seed) % 10 < right
            counts = np.zeros((patches, 8, 8), np.int64)
            counts[rows, truth, np.where(good, truth, 1 - truth)] = 1
            file = tmp_path / "counts" / f"{key.replace(' ', '_')}.npz"
            np.savez(file, counts=counts, rows=rows, group=rows)
            line = {"key": key, "method": method, "task": task, "fraction": fraction, "seed": seed}
            line |= {"test_reads": 1, "n_labels": round(100 * fraction), "seconds": 1.0}
            line["test"] = {"aa": right / 10, "oa": right / 10, "miou": right / 20, "f1_macro": right / 10}
            line["test"]["per_class"] = [right / 10] * 2 + [None] * 6
            append_result(tmp_path / "results.jsonl", line)

    return write
