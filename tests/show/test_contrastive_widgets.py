"""The explorers of chapters 04 to 06 in a browser with no kernel: they compute what the package computes."""

import re

import numpy as np
import pytest
import torch

from eo_ssl.errors import ConfigError
from eo_ssl.losses import map_similarity
from eo_ssl.show import widgets_contrastive as widgets


def words(page) -> str:
    return page.locator("[role=status]").inner_text().replace("−", "-")


def numbers(text: str) -> list[float]:
    return [float(x) for x in re.findall(r"-?\d+(?:\.\d+)?", text)]


@pytest.mark.browser
def test_the_temperature_explorer_shows_the_cross_entropy_of_its_sliders(opened):
    negatives = np.linspace(0.8, -0.6, 40)
    page = opened(widgets.temperature_explorer(negatives, 0.5, temperature=0.1, count=40))
    logits = torch.tensor([0.5, *negatives]) / 0.1
    expected = torch.nn.functional.cross_entropy(logits[None], torch.tensor([0])).item()
    assert numbers(words(page))[0] == pytest.approx(expected, abs=2e-3)
    assert numbers(words(page))[1] == pytest.approx(np.log(41), abs=1e-3)
    before = page.locator("svg").inner_html()
    page.get_by_label("temperature τ").press("ArrowLeft")
    assert page.locator("svg").inner_html() != before


@pytest.mark.browser
def test_the_temperature_explorer_survives_the_smallest_temperature(opened):
    page = opened(widgets.temperature_explorer(np.linspace(1, -1, 256), -1.0))
    page.get_by_label("temperature τ").fill("-2.3")
    page.get_by_label("number of negatives").fill("256")
    loss = numbers(words(page))[0]
    assert np.isfinite(loss) and loss > 100


@pytest.fixture
def similarity():
    rng = np.random.default_rng(0)
    matrix = np.clip(rng.normal(0, 0.3, (6, 6)) + np.eye(6) * 0.5, -1, 1)
    overlap = np.zeros((6, 6), dtype=bool)
    overlap[1, 0] = overlap[0, 1] = True
    pictures = rng.random((12, 8, 8, 3))
    return matrix, widgets.similarity_explorer(
        {"before": -matrix, "after": matrix}, overlap, pictures[:6], pictures[6:]
    )


@pytest.mark.browser
def test_the_similarity_explorer_moves_with_the_arrow_keys_and_names_false_negatives(opened, similarity):
    matrix, widget = similarity
    page = opened(widget)
    assert "same place" in words(page)
    page.locator("canvas").press("ArrowDown")
    assert "false negative" in words(page)
    assert numbers(words(page))[0] == pytest.approx(matrix[1, 0], abs=0.01)
    page.get_by_label("before").check()
    assert numbers(words(page))[0] == pytest.approx(-matrix[1, 0], abs=0.01)


@pytest.mark.browser
def test_the_offset_explorer_finds_the_maximum_that_the_loss_uses(opened):
    rng = np.random.default_rng(1)
    large, picture = rng.normal(size=(16, 8, 8)), rng.random((32, 32, 3))
    small = large[:, 1:7, 2:8] + 0.5 * rng.normal(size=(16, 6, 6))
    case = {"large": large, "small": small, "radar": picture, "optical": picture}
    page = opened(widgets.offset_explorer([{"name": "same place", "truth": (1, 2), **case}]))
    assert "cut elsewhere" in words(page)
    page.get_by_role("button").click()
    assert "This is where the crop was cut" in words(page)
    expected = map_similarity(torch.tensor(large)[None], torch.tensor(small)[None]).item()
    assert numbers(words(page))[2] == pytest.approx(expected, abs=0.005)
    page.locator("canvas").first.press("ArrowRight")  # the edge: stays inside the larger map
    assert "offset (1, 2)" in words(page)


def test_matrices_of_the_wrong_size_are_refused(similarity):
    with pytest.raises(ConfigError, match="'before' must be 6 × 6"):
        widgets.similarity_explorer({"before": np.eye(5)}, np.eye(6, dtype=bool), [], [])


def test_cases_with_different_map_sizes_are_refused():
    maps, picture = np.ones((2, 4, 4)), np.ones((4, 4, 3))
    case = {"name": "a", "large": maps, "radar": picture, "optical": picture}
    with pytest.raises(ConfigError, match="same map sizes"):
        widgets.offset_explorer([{**case, "small": maps[:, :3, :3]}, {**case, "small": maps[:, :2, :2]}])


def test_state_of_a_large_explorer_stays_small(page_size):
    rng = np.random.default_rng(0)
    matrix, pictures = rng.random((48, 48)), rng.random((48, 64, 64, 3)) * 0.2 + 0.4
    widget = widgets.similarity_explorer({"a": matrix, "b": matrix}, matrix > 2, pictures, pictures)
    assert page_size(widget) < 600_000
