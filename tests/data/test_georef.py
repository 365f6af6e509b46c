"""Spatial blocks, small ones whole and large ones cut; and what headers say of files that do not belong together."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eo_ssl.data.georef import contradiction, spatial_blocks
from eo_ssl.data.geotiff import Header


def area(n, x0=500_000.0, y0=5_000_000.0, epsg=32632, resolution=10.0):
    """A square area of n × n touching patches of 128 px."""
    row, col = np.divmod(np.arange(n * n), n)
    place = {"x": x0 + col * resolution * 128, "y": y0 - row * resolution * 128}
    return pd.DataFrame(place | {"epsg": epsg, "resolution": resolution, "group": np.arange(n * n)})


def test_an_area_of_one_block_is_one_block_wherever_it_lies_and_degrees_are_no_metres():
    for offset in (0.0, 777.0, 2_560.0):
        assert len(set(spatial_blocks(area(4, x0=500_000 + offset), 128))) == 1
    assert 9 <= len(set(spatial_blocks(area(12, 8.0, 47.0, 4326, 1e-4), 128))) <= 16


@pytest.mark.parametrize(("metres", "count"), [(1_280.0, 12), (5_120.0, 3), (100_000.0, 1)])
def test_a_large_area_is_cut_into_squares_of_equal_size(metres, count):
    names, counts = np.unique(spatial_blocks(area(12), 128, metres), return_counts=True)
    assert len(names) == count**2 and set(counts) == {(12 // count) ** 2}


def test_patches_without_a_position_keep_their_overlap_group():
    table = area(2).assign(group=["a", "b", "b", "c"])
    table.loc[1:, "x"] = np.nan
    blocks = spatial_blocks(table, 128)
    assert blocks[1] == blocks[2] != blocks[3] and blocks[0] not in blocks[1:]


@settings(deadline=None, max_examples=30)
@given(st.permutations(range(16)))
def test_patches_in_another_crs_or_far_away_are_other_blocks_in_any_order(order):
    places = [area(2), area(2, x0=700_000), area(2, epsg=32633), area(2, epsg=32634)]
    table = pd.concat(places, ignore_index=True).iloc[order]
    blocks = pd.Series(spatial_blocks(table, 128)).groupby(np.array(order) // 4)
    assert (blocks.nunique() == 1).all() and blocks.first().nunique() == 4


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
