"""Figures of chapter 07 say what they show; its explorer shows the patch under the pointer and its neighbours."""

import numpy as np
import pandas as pd
import pytest

from eo_ssl.errors import ConfigError
from eo_ssl.evaluate.intervals import Interval
from eo_ssl.show import embedding, explore as widgets_embedding


def widget_of(count=9):
    """Points on a grid 3 × 3: left to right as numbered, the last one real; labels are the columns."""
    at = np.array([[i % 3, 2 - i // 3] for i in range(count)]) / 2
    near = np.array([[(i + 1) % count, (i + 3) % count] for i in range(count)])
    items = [{"label": f"class {i % 3}", "where": f"place {i}", "real": i == count - 1} for i in range(count)]
    groups = [{"name": "class", "labels": ["a", "b", "c"], "colours": ["#111111", "#222222", "#333333"],
               "codes": np.arange(count) % 3}]  # fmt: skip
    pictures = [np.full((8, 8, 3), i / count) for i in range(count)]
    planes = {"before": at[::-1].copy(), "after": at}
    return widgets_embedding.embedding_explorer(
        planes, {"before": near, "after": near}, items, groups, pictures, pictures
    )


@pytest.fixture
def page(opened):
    return opened(widget_of())


@pytest.mark.browser
def test_the_explorer_opens_with_a_real_patch_and_moves_with_the_arrow_keys(page):
    words = page.locator("[role=status]")
    assert "place 8" in words.inner_text() and "real" in words.inner_text()
    page.locator("canvas").press("ArrowLeft")
    assert "place 7" in words.inner_text() and "simulated" in words.inner_text()
    page.locator("canvas").press("ArrowUp")
    assert "place 4" in words.inner_text() and "class 1" in words.inner_text()
    assert "1 of 2" in words.inner_text()  # its neighbours are 5 (class 2) and 7 (class 1)


@pytest.mark.browser
def test_the_patch_under_the_pointer_is_shown(page):
    box = page.locator("canvas").bounding_box()
    page.mouse.move(box["x"] + 16, box["y"] + 16)
    assert "place 0" in page.locator("[role=status]").inner_text()
    page.get_by_role("radio", name="before").check()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    assert "place 8" in page.locator("[role=status]").inner_text()
    shown = page.get_by_role("img", name="Sentinel-1 picture of patch 9")
    assert shown.evaluate("e => e.style.backgroundPosition") == "100% 100%"


def test_different_counts_and_too_many_patches_are_refused():
    with pytest.raises(ConfigError, match="too many"):
        widget_of(501)
    one = np.zeros((3, 2))
    with pytest.raises(ConfigError, match="same 3 patches"):
        widgets_embedding.embedding_explorer(
            {"a": one}, {"a": np.zeros((2, 1))}, [{}] * 3, [], [one] * 3, [one] * 3
        )


def test_patches_without_a_single_class_have_a_colour_of_their_own():
    group = embedding.class_group(np.array([0, 255]))
    assert group["labels"][group["codes"][1]] == embedding.NO_CLASS and len(group["colours"]) == 9


def test_sentences_say_what_the_interval_says():
    clear, unclear = Interval(0.1, 0.02, 0.2), Interval(0.1, -0.02, 0.2)
    assert "**Dual-SimCLR is ahead of untrained**" in embedding.ahead(
        "Dual-SimCLR", "untrained", clear, "kNN", True
    )
    said = embedding.ahead("MMA", "untrained", Interval(-0.1, -0.2, -0.02), "kNN", True)
    assert "**untrained is ahead of MMA**" in said and "+10.0 points, 95% interval +2.0 to +20.0" in said
    said = embedding.ahead("Dual-SimCLR", "MMA", unclear, "kNN", False)
    assert "cannot be told apart" in said and said.startswith("*Smoke run") and "−2.0 to +20.0" in said


def test_the_branches_are_compared_with_the_untrained_pair():
    said = embedding.branches(pd.Series({"untrained": 0.2, "MMA": 0.5}), True)
    assert "raised it on simulated patches" in said and "MMA to 0.50" in said
    low = embedding.branches(pd.Series({"untrained": -0.03, "MMA": -0.04}), True)
    assert "next to nothing in common (−0.03)" in low and "did not raise it" in low


def test_figures_bring_alt_text_with_their_numbers():
    plane, real = np.random.default_rng(0).random((6, 2)), np.arange(6) > 3
    assert (
        "2 of them are real"
        in embedding.planes({"a": plane, "b": plane}, embedding.class_group(np.arange(6)), real).eo_alt
    )
    assert len(embedding.place_group(["x", "y", "x"])["labels"]) == 2
    columns = [f"{way}_recall@{k}" for way in ("s1_to_s2", "s2_to_s1") for k in (1, 5)]
    table = pd.DataFrame(
        [[0.4, 0.8, 0.3, 0.7], [0.1, 0.5, 0.1, 0.5]], index=["MMA", "guessing"], columns=columns
    )
    assert "held out, MMA: 40% at 1, 80% at 5" in embedding.recall_curves({"held out": table}, (1, 5)).eo_alt
    picture = np.zeros((4, 4, 3))
    found = embedding.gallery(
        [picture] * 2, [[picture] * 3] * 2, [[False, True, False], [False] * 3], [["q", "a", "b", "c"]] * 2
    )
    assert "among them 1 times" in found.eo_alt
    scores = pd.DataFrame({"a": [0.5, 0.7], "b": [0.6, 0.4]})
    assert "best on A has 70.0% there and 40.0% on B" in embedding.selection(scores).eo_alt
