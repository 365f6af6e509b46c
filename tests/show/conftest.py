"""Shared by the tests of figures and explorers: an explorer in a browser with no kernel, and results to draw."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import pytest

from eo_ssl.evaluate.results import append_result

PAGE = """<!doctype html><body><div id="w"></div><script type="module">
const state = {state}, source = {source};
const module = await import(URL.createObjectURL(new Blob([source], {{type: "text/javascript"}})));
module.default.render({{model: {{get: (key) => state[key]}}, el: document.getElementById("w")}});
document.body.dataset.ready = "1";
</script></body>"""


def page_of(widget: anywidget.AnyWidget) -> str:
    """A page with this widget alone, its state frozen as in the built book."""
    own = set(widget.trait_names(sync=True)) - set(anywidget.AnyWidget().trait_names(sync=True))
    state = {name: getattr(widget, name) for name in own}
    return PAGE.format(state=json.dumps(state), source=json.dumps(str(widget._esm)))


@pytest.fixture
def page_size() -> Callable[[anywidget.AnyWidget], int]:
    """Characters of the page that holds a widget."""
    return lambda widget: len(page_of(widget))


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[[anywidget.AnyWidget], Any]]:
    """`opened(widget)` is a page of the browser that shows it; fails at the end if one reported an error."""
    pages, errors = [], []

    def open_page(widget: anywidget.AnyWidget) -> Any:
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

    def write(
        method: str, right: int, fraction: float = 1.0, patches: int = 40, task: str = "single"
    ) -> None:
        (tmp_path / "counts").mkdir(exist_ok=True)
        for seed in range(3):
            key = f"{task} {method} f={fraction:g} s={seed}"
            counts = np.zeros((patches, 8, 8), np.int64)
            for i in range(patches):
                truth, good = i % 2, (i // 2 + seed) % 10 < right
                counts[i, truth, truth if good else 1 - truth] = 1
            file = tmp_path / "counts" / f"{key.replace(' ', '_')}.npz"
            np.savez(file, counts=counts, rows=np.arange(patches), group=np.arange(patches))
            line = {"key": key, "method": method, "task": task, "fraction": fraction, "seed": seed}
            line |= {"test_reads": 1, "n_labels": round(100 * fraction), "seconds": 1.0}
            append_result(
                tmp_path / "results.jsonl", {**line, "test": {"aa": right / 10, "miou": right / 20}}
            )

    return write
