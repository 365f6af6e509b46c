"""The parts of the simulator: fields, hashes, rivers, measures, the survey."""

import numpy as np
import pytest

from chapters.a1 import autocorrelation, class_means, class_sums, speckle
from eo_ssl.simulate.noise import Fields, generator, hash01
from eo_ssl.simulate.world import plan
from eo_ssl.simulate.ground import drainage
from eo_ssl.simulate.scene import render
from eo_ssl.simulate.survey import Patch, survey
from eo_ssl.sensors import S2_BANDS


def test_fields_are_standardised_and_rougher_for_a_shorter_scale():
    fields = Fields(generator(1), 192)
    rough, smooth = fields(2, 3.2), fields(20, 3.2)
    for field in (rough, smooth):
        assert field.mean() == pytest.approx(0, abs=1e-4)
        assert field.std() == pytest.approx(1, abs=1e-4)
    assert autocorrelation(smooth, 8) > autocorrelation(rough, 8) + 0.3


def test_two_fields_of_one_transform_are_independent():
    fields = Fields(generator(2), 256)
    assert abs(np.corrcoef(fields(4, 3.0).ravel(), fields(4, 3.0).ravel())[0, 1]) < 0.1


def test_hashes_are_uniform_repeatable_and_change_with_every_key():
    x = hash01(np.arange(20_000), 7)
    assert np.histogram(x, bins=10, range=(0, 1))[0] / 2000 == pytest.approx(1, abs=0.1)
    assert np.array_equal(x, hash01(np.arange(20_000), 7))
    assert abs(np.corrcoef(x, hash01(np.arange(20_000), 8))[0, 1]) < 0.03
    assert abs(np.corrcoef(x[1:], x[:-1])[0, 1]) < 0.03


def test_all_water_runs_to_an_outlet_and_none_is_lost():
    elevation = np.random.default_rng(0).normal(size=(24, 24)).cumsum(0).cumsum(1)
    outlets = np.zeros((24, 24), dtype=bool)
    outlets[-1, 5:9] = True
    down, area = drainage(elevation, outlets, {0: 100.0})
    cells = np.arange(down.size)
    for _ in range(down.size):
        cells = down[cells]
    assert outlets.ravel()[cells].all()
    assert area[outlets].sum() == down.size + 100


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
    sums = class_sums(s1, s2, label)
    for code in (0, 4):
        assert sums.s2[code, 1] / sums.count[code] == pytest.approx(0.2)
        assert 0 < sums.count[code] < 20 * 35


def test_every_region_counts_once_in_the_class_means():
    label = np.zeros((40, 40), dtype=np.uint8)
    regions = [class_sums(*_uniform(label, level), label) for level in (0.1, 0.3)]
    pooled = [regions[0] + regions[0] + regions[0], regions[1]]
    _, s2, number = class_means(pooled)
    assert s2[0, 1] == pytest.approx(0.2)
    assert number.tolist() == [2, 0, 0, 0, 0, 0, 0, 0]
    assert np.isnan(s2[1]).all()


def test_speckle_is_measured_on_open_water_only():
    label = np.full((64, 64), 7, dtype=np.uint8)
    label[:, 33:36] = 0
    vv = np.random.default_rng(0).normal(-18, 1, (64, 64))
    assert len(speckle(vv, label)) == 0
    label[:, 33:36] = 7
    label[:, 60:] = 0
    assert len(speckle(vv, label)) == 2


def test_a_survey_keeps_the_splits_apart():
    rng = np.random.default_rng(0)
    patches = [
        Patch(rng.normal(size=(2, 40, 40)), rng.random((13, 40, 40)), np.full((40, 40), k), "R", split)
        for k, split in ((0, "train"), (4, "test"), (5, "test"))
    ]
    world = survey(patches)
    assert world.table("train")[1].tolist() == [0]
    assert world.table("test")[1].tolist() == [4, 5]
    assert world.table("train", "test")[0].shape == (3, 30)


def test_a_scene_has_the_size_and_the_bands_it_promises():
    spec = next(s for s in plan("paper", 0) if s.split == "test")
    assert spec.padded % 24 == 0 and spec.padded >= spec.size + 48
    _, images = render(spec)
    assert {k: (v.shape, str(v.dtype)) for k, v in images.items()} == {
        "s1": ((2, 512, 512), "float64"),  # as in DFC2020; float32 in SEN12MS
        "s2": ((13, 512, 512), "uint16"),
        "lc": ((4, 512, 512), "uint8"),
        "dfc": ((1, 512, 512), "uint8"),
    }
