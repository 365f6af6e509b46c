"""Shared by all tests: one browser a worker, an explorer in a page with no kernel, results to draw."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # helpers of several folders of tests

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PAGE = """<!doctype html><body><div id="w"></div><script type="module">
const state = {state}, source = {source};
const module = await import(URL.createObjectURL(new Blob([source], {{type: "text/javascript"}})));
module.default.render({{model: {{get: (key) => state[key]}}, el: document.getElementById("w")}});
document.body.dataset.ready = "1";
</script></body>"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the course and the book first; with several workers the rest runs beside them."""
    items.sort(key=lambda item: item.get_closest_marker("course") is None)


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
            line["test"] = {"aa": right / 10, "miou": right / 20}
            append_result(tmp_path / "results.jsonl", line)

    return write
