"""The simulated world against the measured one: levels, texture, speckle, and how hard it is; and the measures."""

import numpy as np
import pandas as pd
import pytest

from chapters import a1
from eo_ssl.sensors import CLASS_NAMES, DFC10_TO_EIGHT, S2_BANDS, band_index
from eo_ssl.simulate import render
from eo_ssl.simulate.world import Profile, plan

# All regions of the labelled splits, with patches as large as those of the laptop profile.
WORLD = Profile("fidelity", 128, (0, 18, 21), (1, 2, 2))


def _patches():
    for spec in plan(WORLD, 0):
        images = render(spec)
        s2 = images["s2"].astype(np.float32) / 1e4
        label = DFC10_TO_EIGHT[images["dfc"][0]]
        for k in range(spec.grid**2):
            row, col = divmod(k, spec.grid)
            y, x = row * spec.stride, col * spec.stride
            at = slice(y, y + spec.patch), slice(x, x + spec.patch)
            yield a1.Patch(images["s1"][:, *at], s2[:, *at], label[at], spec.region.name, spec.split)


@pytest.fixture(scope="module")
def world():
    return a1.survey(_patches())


@pytest.mark.parametrize("code", range(8), ids=CLASS_NAMES)
def test_backscatter_and_reflectance_of_a_class_are_near_the_reference(world, code):
    s1, s2, regions = a1.class_means(world)
    assert regions[code] >= 6
    difference = s1[code] - a1.S1_REFERENCE[CLASS_NAMES[code]]
    assert np.abs(difference).max() <= a1.S1_TOLERANCE
    bands = band_index(a1.COMPARED_BANDS)
    ratio = s2[code][bands] / a1.S2_REFERENCE[CLASS_NAMES[code]][bands]
    assert np.abs(ratio - 1).max() <= a1.S2_TOLERANCE


def test_water_vapour_and_cirrus_bands_are_dark(world):
    _, s2, _ = a1.class_means(world)
    assert (s2[:, S2_BANDS.index("B10")] < 0.004).all()
    assert (s2[:, S2_BANDS.index("B09")] < 0.6 * s2[:, S2_BANDS.index("B8A")]).all()


def test_texture_of_land_matches_bigearthnet(world):
    measured, real = a1.median_texture(world["texture"].dropna()), a1.TEXTURE_REFERENCE
    for name in ("vv", "b08"):
        gaps = np.array(getattr(measured, name)) - np.array(getattr(real, name))
        assert np.nanmax(np.abs(gaps)) <= a1.TEXTURE_TOLERANCE
    for value, (low, high) in ((measured.vv_vh, a1.VV_VH_RANGE), (measured.vh_ndvi, a1.VH_NDVI_RANGE)):
        assert low <= value <= high


def test_speckle_on_water_has_the_looks_and_the_correlation_of_real_images(world):
    speckles = [*world["speckle"].explode().dropna()]
    assert len(speckles) > 100
    for value, (low, high) in zip(np.median(speckles, axis=0), (a1.LOOKS_RANGE, a1.SPECKLE_RANGE)):
        assert low <= value <= high


def test_a_shallow_baseline_is_neither_lost_nor_done_across_regions(world):
    train, test = a1.table(world, "train"), a1.table(world, "test")
    across_regions = a1.across(*train, *test)
    assert 0.45 <= across_regions <= 0.70
    assert a1.within(*test) >= across_regions + 0.08


def test_classes_mix_some_are_rare_and_the_shares_of_the_splits_differ(world):
    shares, splits = np.stack(world["shares"].to_list()), world["split"].to_numpy()
    assert 1.6 <= (shares >= 0.1).sum(axis=1).mean() <= 2.8 and np.median(shares.max(axis=1)) > 0.55
    train, test = shares[splits == "train"].mean(axis=0), shares[splits == "test"].mean(axis=0)
    wetland, barren = CLASS_NAMES.index("Wetlands"), CLASS_NAMES.index("Barren")
    assert test[wetland] < 0.05 and test[barren] < 0.08
    assert train[wetland] > 2 * test[wetland]
    assert np.abs(train - test).sum() > 0.15


def _uniform(label: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    s2 = np.full((13, *label.shape), level, dtype=np.float32)
    s2[S2_BANDS.index("B10")] = 0.001
    return np.full((2, *label.shape), -10.0, dtype=np.float32), s2


def test_class_sums_leave_out_borders_and_cirrus():
    label = np.zeros((40, 40), dtype=np.uint8)
    label[:, 20:] = 4
    s1, s2 = _uniform(label, 0.2)
    s2[:, :, 18:22] = 9.0  # mixed pixels at the border
    s2[:, :5] = 0.7
    s2[S2_BANDS.index("B10"), :5] = 0.02  # a cloud
    sums = a1.class_sums(s1, s2, label)
    for code in (0, 4):
        assert sums[code, 4] / sums[code, 0] == pytest.approx(0.2)
        assert 0 < sums[code, 0] < 20 * 35


def test_every_region_counts_once_in_the_class_means():
    label = np.zeros((40, 40), dtype=np.uint8)
    regions = [a1.class_sums(*_uniform(label, level), label) for level in (0.1, 0.3)]
    world = pd.DataFrame({"region": [*"aaab"], "sums": [regions[0]] * 3 + [regions[1]]})
    _, s2, number = a1.class_means(world)
    assert s2[0, 1] == pytest.approx(0.2)
    assert number.tolist() == [2, 0, 0, 0, 0, 0, 0, 0]
    assert np.isnan(s2[1]).all()


def _patch(code: int, split: str, seed: int = 0) -> a1.Patch:
    rng = np.random.default_rng(seed)
    s1, s2 = rng.normal(size=(2, 40, 40)), rng.random((13, 40, 40))
    s2[S2_BANDS.index("B10")] = 0.001  # no cloud
    return a1.Patch(s1, s2, np.full((40, 40), code), "R", split)


def test_a_pixel_without_data_and_a_patch_without_class_do_not_count():
    """Real data have both; every measure must stay finite, and no class is not Forest."""
    whole, holed = _patch(7, "test"), _patch(7, "test")
    for image in (holed.s1, holed.s2):
        image[:, 3, 20] = np.nan
    world = a1.survey([whole, holed, _patch(255, "test"), _patch(3, "train")])
    x, y = a1.table(world, "test")
    assert y.tolist() == [7, 7] and np.isfinite(x).all() and a1.table(world, "train")[1].tolist() == [3]
    np.testing.assert_allclose(x[0], x[1], atol=0.02)
    s1, s2, _ = a1.class_means(world)
    assert np.isfinite(s1[3]).all() and np.isfinite(s2[3]).all()
    assert np.isfinite(a1.median_texture(world["texture"].dropna()).vv).all()
    assert world["speckle"].str.len().tolist() == [1, 0, 0, 0]
    a1.across(*a1.table(world, "train", "test"), x, y)
