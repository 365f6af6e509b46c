"""The tables of sensors.py: complete, consistent, and readable for colour-blind eyes."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

from eo_ssl import sensors
from eo_ssl.errors import DataError


def test_surface_reflectance_goes_through_clear_air_and_back():
    ground = np.random.default_rng(0).uniform(0, 0.6, (13, 50)).astype(np.float32)
    up, down = sensors.level_change("L2A", "L1C"), sensors.level_change("L1C", "L2A")
    top = ground * up[0][:, None] + up[1][:, None]
    assert np.isnan(top).all(1).tolist() == [name == "B10" for name in sensors.S2_BANDS]
    there = np.isfinite(top)
    np.testing.assert_allclose((top * down[0][:, None] + down[1][:, None])[there], ground[there], atol=1e-5)
    for level in sensors.LEVELS:
        assert [set(part.tolist()) for part in sensors.level_change(level, level)] == [{1.0}, {0.0}]
    with pytest.raises(DataError, match="level 'L1B'; choose L1C or L2A"):
        sensors.level_change("L1B", "L2A")


@pytest.mark.parametrize(
    "names",
    [
        "B1 B2 B3 B4 B5 B6 B7 B8 B8A B9 B10 B11 B12",  # as Earth Engine writes them
        "b01 b02 b03 b04 b05 b06 b07 b08 b8a b09 b10 b11 b12",
        "coastal blue green red rededge1 rededge2 rededge3 nir nir08 nir09 cirrus swir16 swir22",  # STAC
    ],
)
def test_bands_are_known_in_every_spelling(names):
    assert tuple(map(sensors.s2_band, names.split())) == sensors.S2_BANDS
    assert [sensors.s2_band(n) for n in ("Band 1", "B13", "B8B", "", "1", "NDVI")] == [""] * 6
    with pytest.raises(DataError, match="B10"):
        sensors.band_index("B10", sensors.S2_BANDS_L2A)


@pytest.mark.parametrize("text", ["latest", "N04", "N04001"])
def test_a_text_that_is_no_baseline_is_refused(text):
    with pytest.raises(ValueError, match="processing baseline"):
        sensors.baseline_offset(text)


@given(st.floats(min_value=-45, max_value=30))
def test_db_and_linear_are_inverse_and_twice_the_power_is_three_decibels(db):
    assert sensors.to_db(sensors.to_linear(db)) == pytest.approx(db, abs=1e-9)
    assert sensors.to_db(2 * sensors.to_linear(db)) == pytest.approx(db + 3.0103, abs=1e-4)


# Machado et al. (2009), severity 1.0, on linear RGB.
VISION = {
    "normal": "1 0 0, 0 1 0, 0 0 1",
    "protanopia": "0.152286 1.052583 -0.204868, 0.114503 0.786281 0.099216, -0.003882 -0.048116 1.051998",
    "deuteranopia": "0.367322 0.860646 -0.227968, 0.280085 0.672501 0.047413, -0.011820 0.042940 0.968881",
    "tritanopia": "1.255528 -0.076749 -0.178779, -0.078411 0.930809 0.147602, 0.004733 0.691367 0.303900",
}


def to_lab(colour: str, vision: np.ndarray) -> np.ndarray:
    srgb = np.array(to_rgb(colour))
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(vision @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ linear / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", VISION)
def test_class_colours_stay_apart_for_every_kind_of_colour_vision(vision):
    seen = np.array([row.split() for row in VISION[vision].split(",")], float)
    lab = {c.name: to_lab(c.colour, seen) for c in sensors.CLASSES}
    closest = min((np.linalg.norm(lab[a] - lab[b]), a, b) for a, b in combinations(lab, 2))
    assert closest[0] > 10, closest
