"""Spatial blocks: small areas are one block, large ones are cut, and nothing far apart is drawn together."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eo_ssl.data.georef import spatial_blocks


def area(n, x0=500_000.0, y0=5_000_000.0, epsg=32632, resolution=10.0, patch=128):
    """A square area of n × n touching patches."""
    step = resolution * patch
    row, col = np.divmod(np.arange(n * n), n)
    return pd.DataFrame(
        {"x": x0 + col * step, "y": y0 - row * step, "epsg": epsg, "resolution": resolution, "group": np.arange(n * n)}
    )  # fmt: skip


def test_an_area_of_one_block_is_one_block_wherever_it_lies():
    for offset in (0.0, 777.0, 2_560.0):
        assert len(set(spatial_blocks(area(4, x0=500_000 + offset), 128))) == 1


def test_a_large_area_is_cut_into_squares_of_equal_size():
    names, counts = np.unique(spatial_blocks(area(12), 128), return_counts=True)
    assert len(names) == 9 and set(counts) == {16}


def test_touching_patches_in_another_crs_or_far_away_are_other_blocks():
    both = pd.concat([area(2), area(2, x0=600_000), area(2, epsg=32633)], ignore_index=True)
    blocks = spatial_blocks(both, 128)
    assert len(set(blocks)) == 3 and len(set(blocks[:4])) == 1


def test_degrees_are_not_taken_for_metres():
    names = spatial_blocks(area(12, 8.0, 47.0, 4326, 1e-4), 128)
    assert 9 <= len(set(names)) <= 16


def test_patches_without_a_position_keep_their_overlap_group():
    table = area(2)
    table.loc[1:, "x"] = np.nan
    table["group"] = ["a", "b", "b", "c"]
    blocks = spatial_blocks(table, 128)
    assert blocks[1] == blocks[2] != blocks[3] and blocks[0] not in blocks[1:]


@given(st.permutations(range(16)))
def test_the_order_of_the_rows_does_not_matter(order):
    table = pd.concat(
        [area(2), area(2, x0=700_000), area(2, epsg=32633), area(2, epsg=32634)], ignore_index=True
    )
    at = list(order)
    one, other = spatial_blocks(table, 128)[at], spatial_blocks(table.iloc[at], 128)
    same = lambda names: (names[:, None] == names[None]).tolist()  # noqa: E731
    assert same(one) == same(other)


@pytest.mark.parametrize("metres", [1_280.0, 2_560.0, 100_000.0])
def test_larger_blocks_are_fewer(metres):
    assert len(set(spatial_blocks(area(8), 128, metres))) == max(1, round(8 * 1280 / metres)) ** 2
