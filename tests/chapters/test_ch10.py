"""Chapter 10: what is tested by tiles and by random crops, scores of displaced maps, panels and checks."""

import numpy as np
import pytest
import torch
from torch import nn

from chapters import ch10
from eo_ssl.data.samples import Pair
from eo_ssl.evaluate.metrics import confusion_matrix, mean_iou
from eo_ssl.experiments.results import append_result, read_results
from eo_ssl.sensors import S2_BANDS


@pytest.fixture
def truth():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 8, (4, 4, 4))
    return torch.from_numpy(coarse.repeat(8, 1).repeat(8, 2)).to(torch.uint8)  # (4, 32, 32)


@pytest.mark.parametrize(("size", "crop"), [(64, 32), (128, 48), (120, 64), (32, 32)])
def test_tiles_leave_no_pixel_out_and_random_crops_have_the_same_number_of_looks(size, crop):
    tiled, random = (ch10.coverage(size, crop, rng) for rng in (None, np.random.default_rng(0)))
    assert tiled.min() >= 1 and tiled.sum() == random.sum()
    assert crop == size or random.min() == 0


def test_a_displaced_map_scores_less_the_further_it_is_and_boundaries_forgive_their_tolerance(truth):
    found = ch10.shifted(truth, (0, 1, 2, 4, 6))
    assert found.loc[0].tolist() == [1.0, 1.0, 1.0]
    assert (found["mIoU"].diff().dropna() < 0).all() and (found["overall accuracy"].diff().dropna() < 0).all()
    assert found.loc[2, "boundary F1"] > 0.9 > found.loc[4, "boundary F1"]
    holes = truth.clone()
    holes[:, ::3] = 255
    assert ch10.shifted(holes, (0,)).loc[0, "overall accuracy"] == 1.0


def test_the_score_of_random_crops_depends_on_the_draw_and_whole_patches_leave_no_draw(truth):
    found = torch.roll(truth, 3, dims=1)
    assert np.ptp(ch10.crop_scores(found, truth, 16, 20)) > 0
    whole = ch10.crop_scores(found, truth, 32, 3)
    assert np.allclose(whole, mean_iou(confusion_matrix(found, truth)[None])[0])


def test_the_panel_without_truth_says_what_it_shows_and_gives_the_labels():
    maps = {"unet": np.zeros((1, 32, 32), int), "ensemble": np.full((1, 32, 32), 7)}
    alt = ch10.real_panel([pair()], maps, "real").eo_alt
    assert "real patches" in alt and "without a truth map" in alt and "Pastures" in alt
    assert "UNet Forest 100%" in alt and "UNet + SwinUNet Water 100%" in alt


def pair(country: str = "Ireland", *classes: int) -> Pair:
    s1, s2 = np.full((2, 32, 32), -12, np.float32), np.full((13, 32, 32), 0.2, np.float32)
    eight = np.isin(np.arange(8), classes)
    return Pair("a", s1, s2, S2_BANDS, ("Pastures",), eight, None, None, country, "x")


def test_the_table_of_batches_ends_with_the_pooled_score_whatever_the_order():
    counts = np.zeros((8, 8, 8), dtype=int)
    for i in range(8):
        counts[i, i % 2, 0] = 10  # class 0 always right, class 1 never
    table = ch10.batch_table(counts, (2,))
    assert table.loc["batches of 2"].tolist() == [4, 4, 0.5, 0.5]
    assert table.loc["pooled over the set"].tolist() == [1, 1, 0.5, 0.5]
    uneven = ch10.batch_table(counts[[0, 1, 3, 5]], (2,))["mean of the rest"]
    assert uneven["batches of 2"] != uneven["pooled over the set"]


def test_two_copies_agree_everywhere_and_unlabelled_pixels_do_not_count():
    one = torch.rand(2, 8, 4, 4, generator=torch.Generator().manual_seed(0)).softmax(1)
    truth = one.argmax(1)
    truth[0, 0] = 255
    agree, table = ch10.agreement({"a": one, "b": one.clone()}, truth)
    assert agree == 1.0 and table["all pixels"].tolist() == [1.0] * 3
    assert table["where they disagree"].isna().all()


def test_weights_that_doubled_moved_by_their_own_length():
    before, after = nn.Linear(3, 3), nn.Linear(3, 3)
    after.load_state_dict({k: 2 * v for k, v in before.state_dict().items()})
    assert ch10.moved([before], [before]) == 0
    assert ch10.moved([before], [after]) == pytest.approx(1)


class Source:
    patch_size = 4

    def mask(self, row, top, left, size):
        return np.full((4, 4), row % 8, np.uint8)

    def read(self, row):
        return {"s1": np.zeros((2, 4, 4)), "s2": np.zeros((13, 4, 4))}


def test_the_panel_shows_each_model_and_counts_its_errors(tmp_path):
    (tmp_path / "counts").mkdir()
    for method in ch10.PANEL:
        key = f"segment {method} f=1 s=0"
        maps = {f"map_{row}": np.full((4, 4), row, np.uint8) for row in (0, 1)}
        np.savez(tmp_path / "counts" / f"{key.replace(' ', '_')}.npz", **maps)
        line = {"key": key, "method": method, "task": "segment", "fraction": 1.0, "seed": 0, "test_reads": 1}
        append_result(tmp_path / "results.jsonl", {**line, "test": {"miou": 0.5}})
    fig = ch10.qualitative(Source(), tmp_path, read_results(tmp_path / "results.jsonl"))
    assert len(fig.axes) == 2 * 8 and "pixels right: UNet 100%" in fig.eo_alt


def test_the_panel_prefers_patches_that_show_more_classes():
    class Mixed(Source):
        def mask(self, row, top, left, size):
            return np.arange(16, dtype=np.uint8).reshape(4, 4) % (row + 1)

    assert ch10.choose_rows(Mixed(), [0, 5, 2], 2) == [5, 2]
