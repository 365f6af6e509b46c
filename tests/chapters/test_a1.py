"""The simulated world against the measured one: levels, texture, speckle, and how hard it is.

Reference values and tolerances: `eo_ssl.simulate.reference`.
"""

import numpy as np
import pytest

from eo_ssl.simulate import reference
from eo_ssl.simulate.difficulty import across, within
from chapters.a1 import autocorrelation, looks
from eo_ssl.simulate.world import Profile, plan
from eo_ssl.simulate.radar import speckle
from eo_ssl.simulate.scene import render
from eo_ssl.simulate.survey import Patch, Survey, survey
from eo_ssl.sensors import CLASS_NAMES, DFC10_TO_EIGHT, S2_BANDS, band_index, remap, to_db

# All regions of the labelled splits, with patches as large as those of the laptop profile.
WORLD = Profile("fidelity", 128, (0, 36, 42), (1, 3, 3))


def _patches():
    for spec in plan(WORLD, 0):
        _, images = render(spec)
        s2 = images["s2"].astype(np.float32) / 1e4
        label = remap(images["dfc"][0], DFC10_TO_EIGHT)
        for k in range(spec.grid**2):
            row, col = divmod(k, spec.grid)
            y, x = row * spec.stride, col * spec.stride
            at = slice(y, y + spec.patch), slice(x, x + spec.patch)
            yield Patch(images["s1"][:, *at], s2[:, *at], label[at], spec.region.name, spec.split)


@pytest.fixture(scope="module")
def world() -> Survey:
    return survey(_patches())


@pytest.mark.parametrize("code", range(8), ids=CLASS_NAMES)
def test_backscatter_of_a_class_is_near_the_reference(world, code):
    s1, _, regions = world.means
    assert regions[code] >= 6
    difference = s1[code] - reference.S1_REFERENCE[CLASS_NAMES[code]]
    assert np.abs(difference).max() <= reference.S1_TOLERANCE


@pytest.mark.parametrize("code", range(8), ids=CLASS_NAMES)
def test_reflectance_of_a_class_is_near_the_reference_in_every_band(world, code):
    _, s2, _ = world.means
    bands = band_index(reference.COMPARED_BANDS)
    ratio = s2[code][bands] / reference.S2_REFERENCE[CLASS_NAMES[code]][bands]
    assert np.abs(ratio - 1).max() <= reference.S2_TOLERANCE


def test_water_vapour_and_cirrus_bands_are_dark(world):
    _, s2, _ = world.means
    assert (s2[:, S2_BANDS.index("B10")] < 0.004).all()
    assert (s2[:, S2_BANDS.index("B09")] < 0.6 * s2[:, S2_BANDS.index("B8A")]).all()


def test_texture_of_land_matches_bigearthnet(world):
    measured, real = world.texture, reference.TEXTURE_REFERENCE
    for name in ("vv", "b08"):
        gaps = np.array(getattr(measured, name)) - np.array(getattr(real, name))
        assert np.nanmax(np.abs(gaps)) <= reference.TEXTURE_TOLERANCE
    low, high = reference.VV_VH_RANGE
    assert low <= measured.vv_vh <= high
    low, high = reference.VH_NDVI_RANGE
    assert low <= measured.vh_ndvi <= high


def test_speckle_on_water_has_the_looks_and_the_correlation_of_real_images(world):
    number, correlation = world.speckle
    assert len(world.speckles) > 300
    assert reference.LOOKS_RANGE[0] <= number <= reference.LOOKS_RANGE[1]
    assert reference.SPECKLE_RANGE[0] <= correlation <= reference.SPECKLE_RANGE[1]


def test_speckle_alone_is_gamma_with_five_looks_and_correlated():
    power = speckle(np.random.default_rng(0), 768)
    assert power.mean() == pytest.approx(1, abs=0.02)
    assert looks(to_db(power)) == pytest.approx(5, abs=0.25)
    # Gamma with L looks: skewness 2/√L.
    skewness = np.mean((power - 1) ** 3) / np.mean((power - 1) ** 2) ** 1.5
    assert skewness == pytest.approx(2 / np.sqrt(5), abs=0.08)
    assert autocorrelation(power, 1) == pytest.approx(0.70, abs=0.02)
    assert autocorrelation(power, 8) == pytest.approx(0, abs=0.02)


def test_a_shallow_baseline_is_neither_lost_nor_done_across_regions(world):
    across_regions = across(*world.table("train"), *world.table("test"))
    assert 0.45 <= across_regions <= 0.70
    assert within(*world.table("test")) >= across_regions + 0.08


def test_mixtures_are_common_and_one_class_often_dominates(world):
    shares = np.array(world.shares)
    assert 1.6 <= (shares >= 0.1).sum(axis=1).mean() <= 2.8
    assert np.median(shares.max(axis=1)) > 0.55


def test_rare_classes_are_rare_and_the_shares_of_the_splits_differ(world):
    shares, splits = np.array(world.shares), np.array(world.splits)
    train, test = shares[splits == "train"].mean(axis=0), shares[splits == "test"].mean(axis=0)
    wetland, barren = CLASS_NAMES.index("Wetlands"), CLASS_NAMES.index("Barren")
    assert test[wetland] < 0.05 and test[barren] < 0.08
    assert train[wetland] > 2 * test[wetland]
    assert np.abs(train - test).sum() > 0.15
