"""Chapter 10: what is tested by tiles and by random crops, scores of displaced maps, figures and the explorer."""

import base64

import numpy as np
import pytest
import torch

from chapters import ch10
from eo_ssl.course.checks import ExerciseFailed
from eo_ssl.course.lessons import pixels
from eo_ssl.data.pair import Pair
from eo_ssl.errors import ConfigError
from eo_ssl.evaluate.metrics import mean_iou
from eo_ssl.sensors import S2_BANDS
from eo_ssl.show import segmentation
from eo_ssl.show import widgets_segmentation as widgets


@pytest.fixture
def truth():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 8, (4, 4, 4))
    return torch.from_numpy(coarse.repeat(8, 1).repeat(8, 2)).to(torch.uint8)  # (4, 32, 32)


@pytest.mark.parametrize(("size", "crop"), [(64, 32), (128, 48), (120, 64), (32, 32)])
def test_tiles_leave_no_pixel_out_and_random_crops_have_the_same_number_of_looks(size, crop):
    tiled, random = (
        pixels.coverage(size, crop),
        pixels.coverage(size, crop, np.random.default_rng(0)),
    )
    assert tiled.min() >= 1 and tiled.sum() == random.sum()
    assert crop == size or random.min() == 0


def test_a_displaced_map_scores_less_the_further_it_is_and_boundaries_forgive_their_tolerance(truth):
    found = pixels.shifted(truth, (0, 1, 2, 4, 6))
    assert found.loc[0].tolist() == [1.0, 1.0, 1.0]
    assert (found["mIoU"].diff().dropna() < 0).all() and (found["overall accuracy"].diff().dropna() < 0).all()
    assert found.loc[2, "boundary F1"] > 0.9 > found.loc[4, "boundary F1"]


def test_unlabelled_pixels_never_count_in_a_displaced_map(truth):
    holes = truth.clone()
    holes[:, ::3] = 255
    assert pixels.shifted(holes, (0,)).loc[0, "overall accuracy"] == 1.0


def test_the_score_of_random_crops_depends_on_the_draw_and_whole_patches_leave_no_draw(truth):
    found = torch.roll(truth, 3, dims=1)
    assert np.ptp(pixels.crop_scores(found, truth, 16, 20)) > 0
    whole = pixels.crop_scores(found, truth, 32, 3)
    assert np.allclose(whole, mean_iou(pixels.map_confusion(found, truth).sum(0)[None])[0])


def test_batch_means_depend_on_the_order_and_the_pooled_one_does_not():
    counts = np.zeros((8, 8, 8), dtype=int)
    for i in range(8):
        counts[i, i % 2, 0] = 10  # class 0 always right, class 1 never
    mixed, ordered = counts, counts[np.argsort(np.arange(8) % 2, kind="stable")]
    assert pixels.batch_means(mixed, 8) == (1, 1, 0.5) == pixels.batch_means(ordered, 8)
    uneven = counts[[0, 1, 3, 5]]
    assert pixels.batch_means(uneven, 2)[2] != pixels.batch_means(uneven, 4)[2]
    assert pixels.batch_means(counts, 2)[:2] == (4, 4)


def test_the_figures_say_what_they_show():
    views = {"tiles": pixels.coverage(64, 32), "random": pixels.coverage(64, 32, np.random.default_rng(1))}
    assert "tiles: 0% of the pixels never" in segmentation.coverage_maps(views).eo_alt
    assert "96 channels at 56 by 56" in segmentation.architecture((96, 192, 384), (4, 8, 16), 224).eo_alt
    assert (
        "at 2 pixels" in segmentation.shift_lines(pixels.shifted(torch.zeros(1, 8, 8).int(), (0, 2))).eo_alt
    )


@pytest.mark.parametrize(("real", "word"), [(True, "real patches"), (False, "simulated patches")])
def test_the_panel_without_truth_says_real_or_simulated_and_gives_the_labels(real, word):
    maps = {"unet": np.zeros((1, 32, 32), int), "ensemble": np.full((1, 32, 32), 7)}
    alt = segmentation.real_panel([pair()], maps, real).eo_alt
    assert word in alt and "without a truth map" in alt and "Pastures" in alt
    assert "UNet Forest 100%" in alt and "UNet + SwinUNet Water 100%" in alt


def pair() -> Pair:
    rng = np.random.default_rng(0)
    s1, s2 = rng.normal(-12, 2, (2, 32, 32)), rng.random((13, 32, 32)) * 0.3
    names = ("Pastures",)
    return Pair("a", s1.astype("f4"), s2.astype("f4"), S2_BANDS, names, None, None, None, "Ireland", "x")


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda x: x.reshape(len(x), -1, 2 * x.shape[2], 2 * x.shape[3]), "permute"),
        (lambda x: torch.nn.functional.pixel_shuffle(x, 2), "pixel shuffle"),
        (lambda x: x[:, :2].repeat_interleave(2, 2).repeat_interleave(2, 3), "exactly once"),
    ],
)
def test_known_mistakes_in_patch_expand_are_explained(answer, hint):
    with pytest.raises(ExerciseFailed, match=hint):
        ch10.check_patch_expand(answer)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda c: np.mean(np.diag(c) / np.maximum(c.sum(1), 1)), "average accuracy"),
        (lambda c: np.trace(c) / c.sum(), "overall accuracy"),
        (lambda c: np.trace(c) / (2 * c.sum() - np.trace(c)), "one ratio"),
        (lambda c: np.diag(c) / (c.sum(0) + c.sum(1) - np.diag(c)), "number for each class"),
    ],
)
def test_another_measure_is_not_taken_for_miou(answer, hint):
    with pytest.raises(ExerciseFailed, match=hint):
        ch10.check_mean_iou(answer)


def probability() -> np.ndarray:
    rng = np.random.default_rng(0)
    raw = rng.random((8, 16, 16)) ** 4
    return raw / raw.sum(0)


def test_a_byte_holds_class_and_confidence():
    p = probability()
    code = np.frombuffer(base64.b64decode(widgets.packed(p)), np.uint8).reshape(16, 16)
    assert (code >> 5 == p.argmax(0)).all()
    assert np.abs((code & 31) / 31 - p.max(0)).max() <= 0.5 / 31 + 1e-6


def explorer():
    p, rng = probability(), np.random.default_rng(1)
    item = {"s2": rng.random((13, 16, 16)).astype("f4"), "s2_bands": S2_BANDS, "maps": [p, p[::-1]]}
    first = {**item, "name": "one", "note": "truth is known", "truth": np.full((16, 16), 7)}
    return p, widgets.prediction_explorer(
        ["A", "B"], [first, {**item, "name": "two", "note": "none", "truth": None}]
    )


def test_every_patch_needs_a_map_of_every_model():
    with pytest.raises(ConfigError, match="one map per model"):
        widgets.prediction_explorer(["A"], [{"maps": []}])


def test_patches_wider_than_the_page_allows_are_shown_by_their_middle():
    assert widgets._middle(np.zeros((8, 256, 256))).shape == (8, 128, 128)


@pytest.mark.browser
def test_the_explorer_reads_class_and_confidence_under_the_cross(opened):
    p, widget = explorer()
    page = opened(widget)
    said = page.locator("[role=status]")
    page.get_by_role("radio", name="A", exact=True).check()
    page.locator("canvas").press("ArrowRight")
    sure, best = p[:, 8, 9].max(), p[:, 8, 9].argmax()
    assert said.inner_text() == (
        f"row 8, column 9, A: {widget.names[best]}, {int(100 * round(31 * sure) / 31 + 0.5)}%"
    )
    page.get_by_role("radio", name="truth").check()
    assert said.inner_text().endswith("Water")
    page.get_by_label("patch", exact=True).select_option("1")
    assert page.get_by_role("radio", name="truth").count() == 0
    assert "truth" not in said.inner_text()
    page.get_by_label("opacity of the map").fill("0")
