"""The explorers in a browser with no kernel: they compute what the package computes, and obey mouse and keyboard."""

import base64
import json
import re
import sys
import zlib

import numpy as np
import pandas as pd
import pytest
import torch

from chapters.ch02 import shared_ground
from chapters.ch09 import reach
from eo_ssl.data.samples import Pair
from eo_ssl.errors import ConfigError, DataError
from eo_ssl.experiments.results import read_results
from eo_ssl.losses import map_similarity
from eo_ssl.sensors import CLASS_NAMES, S2_BANDS, S2_BANDS_L2A
from eo_ssl.show import explore

RANDOM = np.random.default_rng(0)
PICTURES = RANDOM.random((12, 8, 8, 3)) * 0.2 + 0.4


def pair(seed=0, bands=S2_BANDS_L2A, side=40) -> Pair:
    random = np.random.default_rng(seed)
    s1 = random.normal(-14, 4, (2, side, side)).astype(np.float32)
    s2 = np.cumsum(random.uniform(0, 0.02, (len(bands), side, side)), axis=-1).astype(np.float32)
    return Pair(f"place {seed}", s1, s2, bands, (), None, None, None, "", "test")


class Source:
    """Four scenes of 3 × 3 patches that overlap by half; the class is the scene, and so is the look of a patch."""

    patch_size = 16

    def __init__(self):
        places = [(s, x * 80.0 + s * 1e5, -y * 80.0) for s in range(4) for y in range(3) for x in range(3)]
        self.catalog = pd.DataFrame(places, columns=["k", "x", "y"])
        self.catalog = self.catalog.assign(
            scene=self.catalog["k"].map("s{}".format), resolution=10.0, epsg=32632
        )
        self.features = RANDOM.normal(size=(36, 5)) + 9 * self.catalog[["k"]].to_numpy()

    def majority(self, rows):
        return self.catalog["k"].to_numpy()[np.asarray(rows)]

    def read(self, row):
        return {"s2": np.full((13, 16, 16), row / 36, np.float32)}


def similarity(size=6, **said):
    matrix = np.clip(np.random.default_rng(1).normal(0, 0.3, (size, size)) + np.eye(size) * 0.5, -1, 1)
    overlap = np.zeros((size, size), dtype=bool)
    overlap[1, 0] = overlap[0, 1] = True
    pictures = np.resize(PICTURES, (2 * size, 8, 8, 3))
    tables = {"before": -matrix, "after": matrix}
    return explore.similarity_explorer(tables, overlap, pictures[:size], pictures[size:], **said)


def offsets():
    large = np.random.default_rng(1).normal(size=(16, 8, 8))
    part = large[:, 1:7, 2:8] + 0.5 * RANDOM.normal(size=(16, 6, 6))
    maps = {"name": "same place", "large": large, "small": part, "truth": (1, 2)}
    return maps | {"radar": PICTURES[0], "optical": PICTURES[1]}


def embedding():
    """Points on a grid 3 × 3, left to right as numbered, the last one real; labels are the columns."""
    at = np.array([[i % 3, 2 - i // 3] for i in range(9)]) / 2
    near = np.array([[(i + 1) % 9, (i + 3) % 9] for i in range(9)])
    kinds = ["labelled scene"] * 8 + ["real"]
    items = [{"label": f"class {i % 3}", "where": f"place {i}", "kind": kind} for i, kind in enumerate(kinds)]
    groups = [{"name": "class", "labels": ["a", "b", "c"], "colours": ["#111111", "#222222", "#333333"],
               "codes": np.arange(9) % 3}]  # fmt: skip
    pictures = np.resize(PICTURES, (9, 8, 8, 3))
    return explore.embedding_explorer({"before": at[::-1], "after": at}, {"before": near, "after": near}, items, groups,
                                      pictures, pictures)  # fmt: skip


def predictions():
    scores = np.random.default_rng(0).random((8, 16, 16)) ** 8
    p = scores / scores.sum(0)
    item = {"s2": RANDOM.random((13, 16, 16)), "s2_bands": S2_BANDS, "maps": [p, p[::-1]], "note": ""}
    patches = [{**item, "name": "one", "truth": np.full((16, 16), 7)}, {**item, "name": "two", "truth": None}]
    return p, explore.prediction_explorer(["A", "B"], patches)


def measured():
    columns = ["task", "method", "label", "fraction", "mean", "low", "high", "metric", "n_labels"]
    rows = [
        ("single", "late", "Late fusion", 1.0, 0.60, 0.5, 0.7, "aa", 40.0),
        ("single", "dual-frozen", "Dual-SimCLR, frozen", 0.1, 0.65, 0.62, 0.68, "aa", 40.0),
        ("single", "dual-frozen", "Dual-SimCLR, frozen", 1.0, 0.70, 0.55, 0.75, "aa", 40.0),
        ("segment", "ensemble", "UNet + SwinUNet", 1.0, 0.3, 0.2, 0.4, "miou", np.nan),
    ]
    return pd.DataFrame(rows, columns=columns).assign(seeds=3, values=[[0.6, 0.61, 0.62]] * 4)


@pytest.fixture
def opened(opened):
    """The page of a widget, once it is drawn; every control on it has a name."""
    unnamed = (
        "e => [...e].filter((e) => !e.getAttribute('aria-label') && !(e.labels && e.labels.length)).length"
    )

    def show(widget):
        page = opened(widget)
        page.wait_for_selector("canvas, table, svg")
        assert page.locator("input, select, canvas").evaluate_all(unnamed) == 0
        assert page.locator("button:empty").count() == 0
        taken = page.locator(":is(input, select, button, [tabindex]):not([data-lm-suppress-shortcuts])")
        assert taken.count() == 0, "JupyterLab would take its keys"
        return page

    return show


def choose(page, name, value):
    page.get_by_label(name, exact=True).select_option(value)


def words(page, role="status") -> str:
    return page.locator(f"[role={role}]").inner_text().replace("−", "-")


def numbers(page) -> list[float]:
    return [float(x) for x in re.findall(r"-?\d+(?:\.\d+)?", words(page))]


def pictures_of(page) -> list[str]:
    return page.evaluate("[...document.querySelectorAll('canvas')].map((c) => c.toDataURL())")


def changed(page, action) -> list[bool]:
    before = pictures_of(page)
    action()
    return [a != b for a, b in zip(before, pictures_of(page))]


@pytest.mark.parametrize("bands", [S2_BANDS, S2_BANDS_L2A])
def test_the_band_explorer_holds_the_patch_to_one_step(bands):
    """Does what bands.js does: inflate, add up the differences, scale."""
    original = pair(0, bands)
    spec = explore.band_explorer([original], ["p"]).spec
    raw = np.frombuffer(zlib.decompress(base64.b64decode(spec["payload"])), dtype=np.uint8)
    planes = np.cumsum(raw.reshape(len(bands) + 2, 40, 40), axis=-1, dtype=np.uint8)
    low, high = (np.array(spec["places"][0][k])[:, None, None] for k in ("low", "high"))
    assert np.abs(low + planes[:-2] / 255 * (high - low) - original.s2).max() <= (high - low).max() / 255
    bottom, top = spec["db"]
    assert np.abs(bottom + planes[-2:] / 255 * (top - bottom) - original.s1).max() <= 0.11  # dB
    saved = json.loads(json.dumps(spec, sort_keys=True))  # as a notebook does
    assert saved["presets"][0][0] == "true colour"


@pytest.mark.browser
def test_every_control_of_the_band_explorer_moves_the_right_picture(opened):
    page = opened(explore.band_explorer([pair(0), pair(1)], ["first", "second"]))
    optical, radar, both = [True, False], [False, True], [True, True]
    slide = lambda name, value: page.get_by_role("slider", name=name, exact=True).fill(str(value))  # noqa: E731
    assert changed(page, lambda: choose(page, "Bands", "short-wave infrared")) == optical
    assert changed(page, lambda: choose(page, "Red", "B08")) == optical
    assert page.get_by_label("Bands", exact=True).input_value() == "own"
    assert changed(page, lambda: slide("White at percentile", 70)) == optical
    assert changed(page, lambda: slide("White at", -8)) == radar
    assert changed(page, lambda: page.get_by_label("linear power instead of decibels").check()) == radar
    assert changed(page, lambda: choose(page, "Shown", "colour")) == radar
    assert changed(page, lambda: choose(page, "Place", "1")) == both
    slide("White at", -20), slide("Black at", -5)  # black never passes white
    assert float(page.get_by_role("slider", name="White at", exact=True).input_value()) > -5


@pytest.mark.browser
def test_the_band_explorer_reads_true_values_by_keyboard_and_pointer(opened):
    page, first = opened(explore.band_explorer([pair(0)], ["p"])), pair(0)
    canvas = page.locator("canvas").first
    canvas.press("ArrowRight")
    canvas.press("Shift+ArrowUp")
    assert words(page).startswith("Row 10, column 21:")
    vv, red = (float(words(page).split(f"{name} ")[1].split(" ")[0]) for name in ("VV", "B04"))
    assert vv == pytest.approx(first.band("VV")[10, 21], abs=0.16)  # one step and the rounding of the display
    assert red == pytest.approx(first.band("B04")[10, 21], abs=0.004)
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 1, box["y"] + 1)
    assert words(page).startswith("Row 0, column 0:")


@pytest.mark.browser
def test_single_patches_leak_and_whole_scenes_do_not(opened):
    source = Source()
    page = opened(explore.leakage_explorer(source, range(36), source.features))
    leaky, count, mean, right = numbers(page)
    assert leaky == count == 9 and mean > 50 and right == 100
    page.get_by_role("radio", name="whole scenes").check()
    assert numbers(page) == [0, 9, 0, 0]  # nothing is shared, and nothing can be right
    page.get_by_role("slider").fill("0.5")
    page.get_by_role("radio", name="a side of each scene").check()
    # Five of nine patches of a scene: a whole edge, and two of the row behind it, whichever come first.
    behind = [np.isin(np.arange(9), [0, 1, 2, *pair]) for pair in ([3, 4], [3, 5], [4, 5])]
    shares = [100 * shared_ground(source.catalog[:9], in_test, 16).mean() for in_test in behind]
    leaky, count, mean, _ = numbers(page)
    assert count == 20 and 0 < leaky <= 20 and min(shares) - 1 <= mean <= max(shares) + 1
    seen = {words(page, "note")}
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp"):
        page.locator("canvas").first.press(key)
        seen.add(words(page, "note"))
    page.locator("canvas").first.hover(position={"x": 20, "y": 30})
    assert len(seen | {words(page, "note")}) > 2


def test_a_scene_is_laid_out_as_on_the_ground():
    source = Source()
    places, sides = explore.positions(source.catalog.iloc[:9], 16)
    assert places[1][1:] == (0.5, 0.0) and places[3][1:] == (0.0, 0.5) and sides == [2.0]
    picture = explore.scene_picture(source, [1, 8], [(0, 0), (1, 1)], 2)
    assert picture.shape == (200, 200, 3) and picture[150, 150].mean() > picture[50, 50].mean()
    assert (picture[150, 50] == 0.93).all()


@pytest.mark.browser
def test_the_metric_explorer_weighs_classes_and_patches(opened):
    shares = {"even": np.full(8, 1 / 8), "one class": np.eye(8)[1]}
    page = opened(explore.metric_explorer(np.array([np.nan, *[0.5] * 7]), shares))
    assert numbers(page)[:2] == [43.8, 43.8]
    page.get_by_role("slider", name="recall of Forest").fill("1")
    assert numbers(page)[0] == pytest.approx(56.2, abs=0.1)
    page.get_by_label("one class").check()
    assert numbers(page)[:2] == [50, 50]


@pytest.mark.browser
def test_the_temperature_explorer_shows_the_cross_entropy_of_its_sliders(opened):
    negatives = np.linspace(0.8, -0.6, 40)
    page = opened(explore.temperature_explorer(negatives, 0.5, 0.1, 40))
    logits = torch.tensor([0.5, *negatives]) / 0.1
    expected = torch.nn.functional.cross_entropy(logits[None], torch.tensor([0])).item()
    assert numbers(page)[:2] == [pytest.approx(expected, abs=2e-3), pytest.approx(np.log(41), abs=1e-3)]
    before = page.locator("svg").inner_html()
    page.get_by_label("temperature τ").press("ArrowLeft")
    assert page.locator("svg").inner_html() != before
    page.get_by_label("cosine of the partner").fill("-1")
    page.get_by_label("temperature τ").fill("-2.3")
    assert numbers(page)[0] > 100  # no overflow at the smallest temperature


@pytest.mark.browser
def test_the_similarity_explorer_moves_with_the_arrow_keys_and_names_false_negatives(opened):
    widget = similarity(what="share", of="losses")
    matrix = np.frombuffer(base64.b64decode(widget.spec["matrices"][1]), np.int8).reshape(6, 6) / 127
    page = opened(widget)
    assert "share 0." in words(page) and "same place" in words(page)
    assert page.get_by_role("group", name="losses").is_visible()
    page.locator("canvas").press("ArrowDown")
    assert "false negative" in words(page) and numbers(page)[0] == pytest.approx(matrix[1, 0], abs=0.01)
    page.get_by_label("before").check()
    assert numbers(page)[0] == pytest.approx(-matrix[1, 0], abs=0.01)
    page.locator("canvas").hover(position={"x": 5, "y": 395})
    assert "radar patch 6" in words(page)
    assert changed(page, lambda: page.get_by_label("outline neighbours").uncheck()) == [True]


@pytest.mark.browser
def test_the_offset_explorer_finds_the_maximum_that_the_loss_uses(opened):
    case = offsets()
    page = opened(explore.offset_explorer([case]))
    assert "cut elsewhere" in words(page)
    page.get_by_role("button").click()
    assert "This is where the crop was cut" in words(page)
    expected = map_similarity(torch.tensor(case["large"])[None], torch.tensor(case["small"])[None]).item()
    assert numbers(page)[2] == pytest.approx(expected, abs=0.005)
    canvas = page.locator("canvas").first
    canvas.press("ArrowRight")  # the edge: stays inside the larger map
    assert "offset (1, 2)" in words(page)
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 150, box["y"] + 150)
    page.mouse.down()
    page.mouse.move(box["x"] + 150 - 38, box["y"] + 150)
    page.mouse.up()
    assert "offset (1, 1)" in words(page)


@pytest.mark.browser
def test_the_embedding_explorer_says_what_each_patch_is(opened):
    page = opened(embedding())
    assert "place 8" in words(page) and "real" in words(page)
    page.locator("canvas").press("ArrowLeft")
    assert "place 7" in words(page) and "labelled scene" in words(page) and "simulated" not in words(page)
    page.locator("canvas").press("ArrowUp")
    assert "place 4" in words(page) and "1 of 2" in words(page)  # its neighbours: 5 (class 2) and 7 (class 1)
    page.locator("canvas").hover(position={"x": 16, "y": 16})
    assert "place 0" in words(page)
    page.get_by_role("radio", name="before").check()
    page.locator("canvas").hover(position={"x": 20, "y": 20})
    assert "place 8" in words(page)
    shown = page.get_by_role("img", name="Sentinel-1 picture of patch 9")
    assert shown.evaluate("e => e.style.backgroundPosition") == "100% 100%"


@pytest.mark.browser
def test_the_label_explorer_reads_off_how_many_labels_a_target_needs(opened, tmp_path, write_model):
    write_model("late", 6, 1.0)
    with pytest.raises(DataError, match="two label fractions"):
        explore.label_explorer(read_results(tmp_path / "results.jsonl"), tmp_path)
    write_model("late", 4, 0.1)
    widget = explore.label_explorer(read_results(tmp_path / "results.jsonl"), tmp_path)
    (curve,) = widget.spec["curves"]
    assert curve["name"] == "Late fusion" and curve["labels"] == [10, 100]
    page = opened(widget)
    page.get_by_role("slider").fill("0.5")
    assert "about 32% of the labels, 32 patches" in words(page)
    page.get_by_role("slider").press("End")
    assert "not reached" in words(page)
    page.get_by_label("Late fusion").uncheck()
    assert "Late fusion" not in words(page)


@pytest.mark.browser
def test_the_window_explorer_shows_what_is_within_reach(opened):
    page = opened(explore.window_explorer(RANDOM.random((64, 64, 3)), 4, 4, "here"))
    assert "after 1 block: 16 (6%)" in words(page)
    page.get_by_role("slider").fill("3")
    for column in range(8, 16):
        page.locator("canvas").press("ArrowRight")
        assert words(page).startswith(f"Row 8, column {column + 1} of 16")
        for merged, blocks in (("yes", (0, 2, "merge", 0)), ("no", (0, 2, 0))):
            page.get_by_role("radio", name=merged, exact=True).check()
            assert f"3 blocks: {reach(16, 4, blocks, (7, column)).sum()} " in words(page)
    page.get_by_label("not shifted").check()
    assert "3 blocks: 16 " in words(page)
    page.locator("canvas").hover(position={"x": 2, "y": 2})
    assert words(page).startswith("Row 1, column 1 of 16")


@pytest.mark.browser
def test_the_prediction_explorer_reads_class_and_confidence_under_the_cross(opened):
    p, widget = predictions()
    code = explore.packed(p)
    assert (code >> 5 == p.argmax(0)).all() and np.abs((code & 31) / 31 - p.max(0)).max() <= 0.5 / 31 + 1e-6
    page = opened(widget)
    page.get_by_role("radio", name="A", exact=True).check()
    page.locator("canvas").press("ArrowRight")
    sure = int(100 * round(31 * p[:, 8, 9].max()) / 31 + 0.5)
    assert words(page) == f"row 8, column 9, A: {CLASS_NAMES[p[:, 8, 9].argmax()]}, {sure}%"
    page.get_by_role("radio", name="truth").check()
    assert words(page).endswith("Water")
    page.locator("canvas").hover(position={"x": 2, "y": 380})
    assert words(page).startswith("row 15, column 0")
    choose(page, "patch", "1")
    assert page.get_by_role("radio", name="truth").count() == 0


def rows_of(page) -> list[str]:
    row = "r => `${r.cells[0].textContent} ${r.querySelector('[data-labels]').textContent}`"
    return page.locator("tbody tr").evaluate_all(f"rows => rows.map({row})")


@pytest.mark.browser
def test_the_table_of_results_sorts_and_filters(opened):
    page = opened(explore.results_table(measured(), "no evidence"))
    (best, tenth), late = (
        [f"Dual-SimCLR, frozen {share} (40)" for share in ("100%", "10%")],
        "Late fusion 100% (40)",
    )
    assert rows_of(page) == [best, tenth, late] and "no evidence" in page.locator("#w").inner_text()
    assert words(page).startswith("3 of 4 rows, by score, %, largest")
    heading = page.locator("thead th").first
    page.locator("thead button").first.focus()
    for key, order, last in (("Enter", "ascending", late), ("Space", "descending", tenth)):
        page.keyboard.press(key)
        assert heading.get_attribute("aria-sort") == order and (rows_of(page)[-1] == late) == (last == late)
    page.get_by_role("button", name="interval").click()
    assert rows_of(page)[-1] == tenth and heading.get_attribute("aria-sort") == "none"  # the narrowest
    choose(page, "start", "from scratch")
    assert rows_of(page) == [late]
    choose(page, "start", "all"), choose(page, "labels", "0.1")
    assert rows_of(page) == [tenth]
    choose(page, "task", "all"), choose(page, "labels", "all")
    assert len(rows_of(page)) == 4 and "do not compare" in words(page)
    page.get_by_label("method contains").fill("unet +")
    assert rows_of(page) == ["UNet + SwinUNet 100%"]


def test_show_imports_without_the_course_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    explore._widget.cache_clear()
    with pytest.raises(ConfigError, match=r"eo_ssl\[course\]"):
        explore.metric_explorer(np.ones(8), {"even": np.full(8, 1 / 8)})
