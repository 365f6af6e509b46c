"""Spatial blocks, small ones whole and large ones cut; and what headers say of files that do not belong together."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eo_ssl.data.georef import contradiction, spatial_blocks
from eo_ssl.data.geotiff import Header


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


@settings(deadline=None, max_examples=30)
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


HERE = Header(32632, 5e5, 5e6, 10.0, 16, 16)
NOWHERE = Header(0, np.nan, np.nan, np.nan, 16, 16)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (HERE, ""),
        (NOWHERE, ""),
        (Header(0, np.nan, np.nan, np.nan, 0, 0), ""),  # cannot be read: said elsewhere
        (HERE._replace(x=5e5 + 0.5), ""),
        (HERE._replace(x=5e5 + 10), "same place"),
        (HERE._replace(y=4e6), "same place"),
        (HERE._replace(epsg=32633), "same place"),
        (HERE._replace(resolution=20.0), "same place"),
        (HERE._replace(width=8, height=8), "sizes differ: s1 16 × 16"),
    ],
    ids=str,
)
def test_files_of_a_patch_must_agree_in_place_and_size(other, says):
    for pair in ({"s1": HERE, "s2": other}, {"s1": HERE, "lc": NOWHERE, "s2": other}):
        assert (says in contradiction(pair)) if says else not contradiction(pair)


def test_patches_are_square_and_as_large_as_the_others():
    oblong = HERE._replace(width=48, height=32)
    assert contradiction({"s1": oblong, "s2": oblong}) == "48 × 32 pixels; patches are square"
    assert contradiction({"s1": HERE}, 32) == "16 px wide, most patches 32"
