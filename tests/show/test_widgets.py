"""The band explorer: what the browser unpacks is what the patch holds, and it moves without a kernel."""

import base64
import functools
import http.server
import json
import shutil
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest

from eo_ssl.data.samples import Pair
from eo_ssl.errors import ConfigError
from eo_ssl.sensors import S2_BANDS, S2_BANDS_L2A
from eo_ssl.show import widgets


def pair(seed: int = 0, bands=S2_BANDS_L2A, side: int = 40) -> Pair:
    random = np.random.default_rng(seed)
    s1 = random.normal(-14, 4, (2, side, side)).astype(np.float32)
    s2 = np.cumsum(random.uniform(0, 0.02, (len(bands), side, side)), axis=-1).astype(np.float32)
    return Pair(f"place {seed}", s1, s2, bands, (), None, None, None, "", "test")


def unpack(widget: widgets.BandExplorer) -> list[np.ndarray]:
    """What bands.js does: inflate, add up the differences, scale."""
    raw = np.frombuffer(zlib.decompress(base64.b64decode(widget.payload)), dtype=np.uint8)
    count, found, at = len(widget.spec["bands"]) + 2, [], 0
    for place in widget.spec["places"]:
        shape = (count, place["height"], place["width"])
        planes = np.cumsum(raw[at : at + np.prod(shape)].reshape(shape), axis=-1, dtype=np.uint8)
        found.append(planes)
        at += int(np.prod(shape))
    assert at == raw.size
    return found


@pytest.mark.parametrize("bands", [S2_BANDS, S2_BANDS_L2A])
def test_the_payload_holds_the_patch_to_one_step(bands):
    pairs = [pair(0, bands), pair(1, bands)]
    widget = widgets.band_explorer(pairs)
    for planes, place, original in zip(unpack(widget), widget.spec["places"], pairs):
        low, high = (np.array(place[k])[:, None, None] for k in ("low", "high"))
        reflectance = low + planes[:-2] / 255 * (high - low)
        assert np.abs(reflectance - original.s2).max() <= ((high - low).max() / 255)
        bottom, top = widget.spec["db"]
        assert np.abs(bottom + planes[-2:] / 255 * (top - bottom) - original.s1).max() <= 0.11  # dB


def test_presets_keep_their_order_when_a_notebook_sorts_its_keys():
    spec = json.loads(json.dumps(widgets.band_explorer([pair()]).spec, sort_keys=True))
    assert spec["presets"][0][0] == "true colour"


def test_real_size_patches_make_a_page_of_some_hundred_kilobytes():
    assert len(widgets.band_explorer([pair(k, side=120) for k in range(3)]).payload) < 900_000


def test_mixed_bands_none_and_too_many_are_refused(monkeypatch):
    for pairs in ([], [pair(0, S2_BANDS), pair(0, S2_BANDS_L2A)]):
        with pytest.raises(ConfigError, match="same Sentinel-2 bands"):
            widgets.band_explorer(pairs)
    monkeypatch.setattr(widgets, "_LARGEST", 10_000)
    with pytest.raises(ConfigError, match="show fewer"):
        widgets.band_explorer([pair()])


PAGE = """<!doctype html><html lang="en"><head><title>explorer</title></head><body><main id="here"></main>
<script type="module">
import widget from "./bands.js";
const state = await (await fetch("state.json")).json();
await widget.render({ model: { get: (key) => state[key] }, el: document.getElementById("here") });
document.body.dataset.ready = "yes";
</script></body></html>"""


@pytest.fixture
def address(tmp_path):
    widget = widgets.band_explorer([pair(0), pair(1)], ["first", "second"])
    shutil.copy(Path(widgets.__file__).parent / "esm" / "bands.js", tmp_path)
    (tmp_path / "index.html").write_text(PAGE)
    (tmp_path / "state.json").write_text(json.dumps({"spec": widget.spec, "payload": widget.payload}))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/index.html"
    server.shutdown()


@pytest.fixture
def page(address, browser):
    page = browser.new_page()
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.goto(address)
    page.wait_for_selector("body[data-ready=yes]", timeout=60_000)
    yield page
    page.close()
    assert page.problems == []


def pictures(page) -> list[str]:
    return page.evaluate("[...document.querySelectorAll('canvas')].map((c) => c.toDataURL())")


def changed(page, action) -> list[bool]:
    before = pictures(page)
    action()
    return [a != b for a, b in zip(before, pictures(page))]


@pytest.mark.browser
def test_every_control_moves_the_right_picture(page):
    optical, radar, both = [True, False], [False, True], [True, True]
    choose = lambda name, value: page.get_by_label(name, exact=True).select_option(value)  # noqa: E731
    slide = lambda name, value: page.get_by_role("slider", name=name, exact=True).fill(str(value))  # noqa: E731
    assert changed(page, lambda: choose("Bands", "short-wave infrared")) == optical
    assert changed(page, lambda: choose("Red", "B08")) == optical
    assert page.get_by_label("Bands", exact=True).input_value() == "own"
    assert changed(page, lambda: slide("White at percentile", 70)) == optical
    assert changed(page, lambda: slide("White at", -8)) == radar
    assert changed(page, lambda: page.get_by_label("linear power instead of decibels").check()) == radar
    assert changed(page, lambda: choose("Shown", "colour")) == radar
    assert changed(page, lambda: choose("Place", "1")) == both


@pytest.mark.browser
def test_the_read_out_follows_keyboard_and_pointer_with_the_true_values(page):
    said = page.locator("[aria-live=polite]")
    canvas = page.locator("canvas").first
    canvas.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    assert said.text_content().startswith("Row 10, column 21:")
    first = pair(0)
    vv = float(said.text_content().split("VV ")[1].split(" dB")[0].replace("−", "-"))
    assert abs(vv - first.band("VV")[10, 21]) < 0.16  # one step and the rounding of the display
    red = float(said.text_content().split("B04 ")[1].split(" ")[0])
    assert abs(red - first.band("B04")[10, 21]) < 0.004
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 1, box["y"] + 1)
    assert said.text_content().startswith("Row 0, column 0:")


@pytest.mark.browser
def test_black_never_passes_white(page):
    page.get_by_role("slider", name="White at", exact=True).fill("-20")
    page.get_by_role("slider", name="Black at", exact=True).fill("-5")
    assert float(page.get_by_role("slider", name="White at", exact=True).input_value()) > -5


@pytest.mark.browser
def test_every_control_has_a_name(page):
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input, select, canvas')].filter("
        "(e) => !e.getAttribute('aria-label') && !(e.labels && e.labels.length)).length"
    )
    assert unnamed == 0
