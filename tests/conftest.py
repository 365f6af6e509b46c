"""Shared by all tests: one browser for all of a worker's tests; the worker that runs the course starts with it."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # helpers of several folders of tests

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the course and the book first; with several workers the rest runs beside them."""
    items.sort(key=lambda item: item.get_closest_marker("course") is None)


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
