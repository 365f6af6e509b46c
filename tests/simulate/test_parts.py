"""The parts of the simulator: fields, hashes, rivers, speckle, the size of a scene."""

import functools
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import skew

from eo_ssl.data.measures import autocorrelation, looks
from eo_ssl.simulate import render
from eo_ssl.simulate.ground import Fields, drainage, generator
from eo_ssl.simulate.optical import _clouds
from eo_ssl.simulate.radar import speckle
from eo_ssl.simulate.world import plan


def test_fields_are_standardised_and_rougher_for_a_shorter_scale():
    fields = Fields(generator(1), 192)
    rough, smooth = fields(2, 3.2), fields(20, 3.2)
    for field in (rough, smooth):
        assert (field.mean(), field.std()) == pytest.approx((0, 1), abs=1e-4)
    assert autocorrelation(smooth, 8) > autocorrelation(rough, 8) + 0.3
    second = fields(2, 3.2)  # of the same transform
    assert abs(np.corrcoef(rough.ravel(), second.ravel())[0, 1]) < 0.1


def test_all_water_runs_to_an_outlet_and_none_is_lost():
    elevation = np.random.default_rng(0).normal(size=(24, 24)).cumsum(0).cumsum(1)
    outlets = np.zeros((24, 24), dtype=bool)
    outlets[-1, 5:9] = True
    down, area = drainage(elevation, outlets, {0: 100.0})
    cells = functools.reduce(lambda cells, _: down[cells], range(down.size), np.arange(down.size))
    assert outlets.ravel()[cells].all()
    assert area[outlets].sum() == down.size + 100


def test_a_scene_has_the_size_and_the_bands_it_promises():
    spec = next(s for s in plan("paper", 0) if s.split == "test")
    assert spec.padded % 24 == 0 and spec.padded >= spec.size + 48
    made = {name: (len(image), image.shape[1:], str(image.dtype)) for name, image in render(spec).items()}
    kinds = {"s1": (2, "float64"), "s2": (13, "uint16"), "lc": (4, "uint8"), "dfc": (1, "uint8")}  # DFC2020
    assert made == {name: (bands, (512, 512), dtype) for name, (bands, dtype) in kinds.items()}


def test_speckle_alone_is_gamma_with_five_looks_and_correlated():
    power = speckle(np.random.default_rng(0), 768)
    assert power.mean() == pytest.approx(1, abs=0.02)
    assert looks(power) == pytest.approx(5, abs=0.25)
    assert skew(power, axis=None) == pytest.approx(2 / np.sqrt(5), abs=0.08)  # gamma with L looks: 2/√L
    assert [autocorrelation(power, lag) for lag in (1, 8)] == pytest.approx([0.70, 0], abs=0.02)


@pytest.mark.parametrize("latitude, side", [(50, -1), (-30, 1)])
def test_shadows_of_clouds_fall_to_the_north_west_or_south_of_the_equator_to_the_south_west(latitude, side):
    y, x = np.indices((256, 256)) - 128.0
    blob = 9 * np.exp(-(y**2 + x**2) / 200)

    class Sky:
        n = 256

        def __call__(self, scale, power):
            return blob if scale > 14 else 0 * blob

    land = SimpleNamespace(spec=SimpleNamespace(region=SimpleNamespace(latitude=latitude)))
    change = _clouds(land, np.full((13, 256, 256), 0.3), np.random.default_rng(0), Sky())[3] - 0.3
    dark = np.clip(-change, 0, None)
    south, east = (dark * y).sum() / dark.sum(), (dark * x).sum() / dark.sum()
    assert side * south > 10 and east < -5
