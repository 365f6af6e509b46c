"""Chapter 10: what is tested by tiles and by random crops, scores of displaced maps, what is chosen to be shown."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from chapters import ch10


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


def test_the_patches_with_most_classes_are_shown():
    squares = np.arange(16, dtype=np.uint8).reshape(4, 4)
    source = SimpleNamespace(patch_size=4, mask=lambda row, *place: squares % (row + 1))
    assert ch10.choose_rows(source, [0, 5, 2], 2) == [5, 2]
