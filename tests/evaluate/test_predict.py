"""Tiles cover every pixel, labels belong to their tile, overlapping predictions are averaged."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eo_ssl.evaluate.predict import corners, predict_maps, predict_tiles, tiles
from eo_ssl.train.labelled import Patches


def patches(n=3, size=12):
    generator = torch.Generator().manual_seed(0)
    mask = torch.randint(0, 8, (n, size, size), generator=generator, dtype=torch.uint8)
    s2 = torch.rand(n, 13, size, size, generator=generator).half()
    return Patches(None, mask, list(range(n)), np.arange(n), torch.cat([s2[:, :2], s2], 1))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40))
def test_tiles_cover_the_patch_and_stay_inside(size, tile):
    if tile > size:
        with pytest.raises(ValueError, match="larger than the patch"):
            corners(size, tile)
        return
    covered = np.zeros(size, int)
    for start in corners(size, tile):
        assert 0 <= start <= size - tile
        covered[start : start + tile] += 1
    assert covered.min() >= 1 and len(corners(size, tile)) == -(-size // tile)


def test_a_limit_takes_other_corners_of_the_next_patch_and_never_one_twice():
    where = tiles(4, 8, 4, limit=1)
    assert len({tuple(row[1:].tolist()) for row in where}) == 4
    assert len({tuple(row.tolist()) for row in tiles(5, 8, 4, limit=3)}) == 15
    assert torch.equal(tiles(2, 8, 4, limit=9), tiles(2, 8, 4, limit=4))


def oracle(batch):
    """Logits that say what the mask is: of the crop's majority, or of every pixel."""
    return torch.nn.functional.one_hot(batch["label"], 8).float()


def test_each_tile_is_judged_by_its_own_label():
    found = predict_tiles(oracle, patches(), 4, batch_size=5)
    assert len(found.logits) == 3 * 9 and torch.equal(found.logits.argmax(1), found.label)
    assert found.patch.bincount().tolist() == [9, 9, 9]


def pixel_oracle(batch):
    return 30.0 * torch.nn.functional.one_hot(batch["mask"], 8).movedim(-1, 1).float()


@pytest.mark.parametrize("tile", [12, 6, 5])
def test_maps_are_stitched_back_in_place(tile):
    data = patches()
    for row, log_probability, truth in predict_maps(pixel_oracle, data, tile, batch_size=4):
        assert torch.equal(log_probability.argmax(0), data.mask[row].long())
        assert torch.equal(truth, data.mask[row].long())


def test_overlaps_are_averaged_as_probabilities():
    calls = []

    def alternating(batch):  # the first tile is sure of class 0, the others of class 1
        logits = torch.full((len(batch["mask"]), 8, 8, 8), -40.0)
        for i in range(len(logits)):
            logits[i, 0 if not calls else 1] = 40.0
            calls.append(i)
        return logits

    (_, log_probability, _), *_ = predict_maps(alternating, patches(1), 8)
    centre = log_probability.exp()[:, 5, 5]  # under all four tiles
    assert centre[0] == pytest.approx(0.25, abs=1e-3) and centre[1] == pytest.approx(0.75, abs=1e-3)


def test_pixels_outside_the_tiles_looked_at_count_as_unlabelled():
    for _, _, truth in predict_maps(pixel_oracle, patches(), 6, limit=1):
        assert (truth != 255).sum() == 36
