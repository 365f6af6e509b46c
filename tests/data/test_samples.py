"""The readers of the small real data, on miniature copies of their layout; the real ones behind `network`."""

import json
from datetime import date
from pathlib import Path

import fake_patches as fake
import lmdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import save

from eo_ssl.data import fetch, measures, samples
from eo_ssl.data.dataset import open_source
from eo_ssl.data.statistics import Statistics, band_sums
from eo_ssl.errors import DataError
from eo_ssl.sensors import CLASS_NAMES, S2_BANDS, S2_BANDS_L2A, level_change
from eo_ssl.simulate import render
from eo_ssl.simulate.world import plan

IMAGE = "S2A_MSIL2A_20170613T101031"  # what the pairs of both editions of BigEarthNet were cut from


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EO_SSL_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    folder = tmp_path / "samples"
    folder.mkdir()
    return folder


def native(name: str, value: int, side: int = 120) -> np.ndarray:
    n = side * 10 // fake.RESOLUTION[name]
    return np.full((n, n), value, dtype=np.uint16)


def write_v1(cache: Path) -> Path:
    root = cache / fetch.ARCHIVES["bigearthnet"].folder
    for i, name in enumerate(f"{IMAGE}_{k}_48" for k in range(2)):
        radar = root / "BigEarthNet-S1-Example" / f"S1A_IW_GRDH_1SDV_20170613T165043_33UUP_{i}_48"
        for band, value in (("VV", -10.0 - i), ("VH", -17.0)):
            fake.write(radar / f"{radar.name}_{band}.tif", np.full((1, 120, 120), value, np.float32))
        labels = {"labels": ["Vineyards", "Airports", "Sea and ocean"], "corresponding_s2_patch": name}
        (radar / f"{radar.name}_labels_metadata.json").write_text(json.dumps(labels))
        for k, band in enumerate(S2_BANDS_L2A):
            path = root / "BigEarthNet-S2-Example" / name / f"{name}_{band}.tif"
            fake.write(path, native(band, 1000 + 100 * k)[None], pixel=fake.RESOLUTION[band])
    return root


def test_georeferenced_pairs_are_read_in_the_units_of_the_contract(cache):
    write_v1(cache)
    _, pair = samples.bigearthnet_pairs()
    assert pair.s1.shape == (2, 120, 120) and pair.s1.dtype == np.float32
    assert pair.s2.shape == (12, 120, 120) and pair.s2.dtype == np.float32
    assert (pair.s2_bands, pair.level) == (S2_BANDS_L2A, "L2A")
    assert float(pair.band("VV")[0, 0]) == -11 and float(pair.band("VH")[5, 5]) == -17
    for k, band in enumerate(S2_BANDS_L2A):  # by name: reflectance = DN / 10,000
        np.testing.assert_allclose(pair.band(band), 0.1 + 0.01 * k, rtol=1e-6)
    assert pair.labels == ("Permanent crops", "Marine waters")
    assert dict(zip(CLASS_NAMES, pair.eight))["Croplands"] == 1 and pair.eight.sum() == 2
    assert (pair.date, pair.s1_date) == (date(2017, 6, 13), date(2017, 6, 13))
    assert pair.image == IMAGE
    with pytest.raises(DataError, match=r"no band B10; the bands are B01"):
        pair.band("B10")


def test_what_is_damaged_or_missing_is_named_with_the_way_out(cache):
    root = write_v1(cache)
    for pattern, damage, said in (
        ("*_VV.tif", lambda whole: b"not a tif", r"_VV\.tif: cannot be read .*eo-ssl data fetch"),
        ("*_VH.tif", lambda whole: whole[:100], r"_VH\.tif: cannot be read .*eo-ssl data fetch"),
        ("*_B8A.tif", None, r"_B8A\.tif: cannot be read .*eo-ssl data fetch"),
        ("S1A*.json", lambda whole: b"{}", r"cannot be read \('corresponding_s2_patch'.*eo-ssl data fetch"),
        ("S1A*.json", lambda whole: b"not json", "not valid JSON .* delete it"),
    ):
        path = next(root.rglob(pattern))
        whole = path.read_bytes()
        path.write_bytes(damage(whole)) if damage else path.unlink()
        with pytest.raises(DataError, match=said) as caught:
            samples.bigearthnet_pairs()
        assert "\n" not in str(caught.value)
        path.write_bytes(whole)


def write_v2(cache: Path) -> Path:
    root = cache / fetch.ARCHIVES["benv2"].folder / samples.BENV2
    root.mkdir(parents=True)
    rows = []
    store = lmdb.open(str(root / "BigEarthNet-V2-LMDB"), map_size=1 << 24)
    with store, store.begin(write=True) as put:
        for i in range(2):
            s1 = f"S1B_IW_GRDH_1SDV_20170612T165809_33UUP_26_{i}"
            s2 = f"{IMAGE}_N9999_R022_T33UUP_26_{i}"
            radar = {b: np.full((120, 120), v, "f4") for b, v in (("VH", -16), ("VV", -9))}
            put.put(s1.encode(), save(radar))
            put.put(s2.encode(), save({b: native(b, 500 + k) for k, b in enumerate(S2_BANDS_L2A)}))
            flags = {"contains_seasonal_snow": i == 0, "contains_cloud_or_shadow": i == 1}
            rows.append({"patch_id": s2, "s1_name": s1, "country": "Austria", "labels": ["Pastures"]} | flags)
    pd.DataFrame(rows).to_parquet(root / "metadata.parquet")
    return root


def test_safetensors_pairs_are_read_by_band_name(cache):
    write_v2(cache)
    snowy, cloudy = samples.benv2_pairs()
    assert float(snowy.band("VV")[0, 0]) == -9 and float(snowy.band("VH")[0, 0]) == -16
    np.testing.assert_allclose(
        [cloudy.band(b).mean() for b in S2_BANDS_L2A], [0.05 + 1e-4 * k for k in range(12)], rtol=1e-5
    )
    assert (snowy.snow, snowy.cloud, cloudy.snow, cloudy.cloud) == (True, False, False, True)
    assert snowy.eight[CLASS_NAMES.index("Grassland")] == 1
    assert (cloudy.date, cloudy.s1_date) == (date(2017, 6, 13), date(2017, 6, 12))
    assert cloudy.image == IMAGE  # though the second edition writes more between it and the place


def test_a_damaged_table_or_store_is_named_with_the_way_out(cache):
    path = write_v2(cache) / "metadata.parquet"
    table = pd.read_parquet(path)
    for damaged in ({"s1_name": "S1B_none"}, {"patch_id": "no date"}, None):
        path.write_bytes(b"PAR1 no") if damaged is None else table.assign(**damaged).to_parquet(path)
        with pytest.raises(DataError, match=r"BENv2: cannot be read \(.*eo-ssl data fetch"):
            samples.benv2_pairs()


def test_the_scene_keeps_every_band_in_its_true_place(cache):
    """East is a ramp in each band; after resampling all 13 ramps must agree pixel by pixel."""
    root = cache / fetch.ARCHIVES["l1c"].folder / samples.SCENE
    # Coarse grids start further out.
    corners = {10: (1010.0, 5000.0), 20: (1000.0, 5000.0), 60: (980.0, 5020.0)}
    for name in S2_BANDS:
        step = fake.RESOLUTION[name]
        x = corners[step][0] + (np.arange(600 // step + 4) + 0.5) * step
        band = np.tile(x, (600 // step + 4, 1)).astype(np.uint16)
        fake.write(root / f"s2_{name}.jp2", band[None], 32633, *corners[step], step)
    inner = samples.l1c_scene()[:, 10:50, 10:50] * 1e4
    np.testing.assert_allclose(inner, np.broadcast_to(inner[1], inner.shape), atol=0.6)  # DN are rounded


coarse = hnp.arrays(
    np.float32, st.tuples(st.integers(2, 8), st.integers(2, 8)), elements=st.floats(0, 1, width=32)
)


@settings(max_examples=60)
@given(coarse, st.sampled_from([2, 3, 6]))
def test_resampling_stays_between_the_measured_values_and_does_not_shift(band, factor):
    shape = (band.shape[0] * factor, band.shape[1] * factor)
    fine, mirrored = (samples.to_grid(b, shape, 1 / factor) for b in (band, band[::-1, ::-1]))
    assert fine.min() >= band.min() - 1e-6 and fine.max() <= band.max() + 1e-6
    # Mirrored before or after: no half pixel.
    np.testing.assert_allclose(fine[::-1, ::-1], mirrored, atol=1e-5)


def test_without_samples_the_stand_ins_come_with_the_reason(cache, monkeypatch):
    monkeypatch.setattr(samples, "simulated_pairs", lambda source, count: [source] * count)
    pairs, note = samples.pairs_or_simulated(lambda: "the simulated set")
    assert set(pairs) == {"the simulated set"} and "not here" in note and "offline" in note


def test_stand_ins_leave_out_patches_without_enough_data(tmp_path):
    """On real data a patch that was drawn may be mostly empty: the next one takes its place."""
    patches = fake.sen12ms(numbers=(1, 2, 3))
    root = fake.make(tmp_path / "data", patches)
    for patch in patches[:2]:
        fake.put(root, patch, "s1", fake.images(patch)["s1"] * np.nan)
    found = samples.simulated_pairs(open_source(root), 3)
    assert len(found) == 1 and np.isfinite(found[0].s1).all() and found[0].s2_bands == S2_BANDS
    assert found[0].image == found[0].name
    (root / "dataset.json").write_text('{"level": "L2A"}')
    assert (found[0].level, samples.simulated_pairs(open_source(root), 1)[0].level) == ("L1C", "L2A")


def test_uniform_windows_find_the_even_field_and_do_not_look_at_the_radar():
    random = np.random.default_rng(2)
    s2 = random.uniform(0.1, 0.6, (12, 60, 60)).astype(np.float32)
    s2[:, 20:40, 30:50] = 0.3
    pair = samples.Pair("p", random.normal(size=(2, 60, 60)), s2, S2_BANDS_L2A, (), None, None, None, "", "")
    (_, rows, columns), *_ = measures.uniform_windows([pair], size=16, count=1)
    assert 20 <= rows.start <= 24 and 30 <= columns.start <= 34


@pytest.mark.skipif(fetch.available()["benv2"] != "ready", reason="the real patches are not in the cache")
def test_real_pairs_taken_to_the_sensor_lie_among_the_simulated_ones_in_the_bands_that_see_the_air():
    scenes = [render(spec) for spec in plan("smoke", 0)[:4]]
    known = Statistics.from_sums(sum(band_sums(scene["s1"], scene["s2"] / 1e4) for scene in scenes))
    clear = [pair for pair in samples.benv2_pairs() if not (pair.cloud or pair.snow)]
    through, path = level_change("L2A", known.level)
    for band in ("B01", "B09"):
        i = S2_BANDS.index(band)
        ground = np.mean([pair.band(band).mean() for pair in clear])
        as_it_is, at_the_top = (
            (x - known.s2_mean[i]) / known.s2_std[i] for x in (ground, ground * through[i] + path[i])
        )
        assert abs(at_the_top) < 2 < abs(as_it_is)


@pytest.mark.network
def test_the_real_archives_arrive_and_read():
    pairs = samples.pairs()
    assert len({p.name for p in pairs}) == 30
    for pair in pairs:
        assert pair.s1.shape == (2, 120, 120) and pair.s2.shape == (12, 120, 120)
        assert np.isfinite(pair.s1).all() and np.isfinite(pair.s2).all()
        assert -25 < pair.band("VH").mean() < pair.band("VV").mean() < 0 and pair.labels and pair.country
    assert sum(p.cloud for p in pairs) == 3 and sum(p.snow for p in pairs) == 3
    scene = samples.l1c_scene()
    assert scene.shape == (13, 1947, 1933) and scene[10].mean() < 0.01
