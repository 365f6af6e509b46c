"""What training reads, from GeoTIFF files and from a store alike: units, holes, labels, statistics, splits."""

import json

import fake_patches as fake
import numpy as np
import pytest
import torch

from eo_ssl.data import catalog, geotiff
from eo_ssl.data.dataset import PatchDataset, open_source
from eo_ssl.data.source import to_reflectance
from eo_ssl.data.store import pack
from eo_ssl.data.transforms import Normalise, Statistics
from eo_ssl.errors import DataError

both_ways = pytest.mark.parametrize("packed", [False, True])
TWO_SCENES = fake.two_scenes()


def assert_true_statistics(source):
    """Those of all pixels of the patches that pretraining uses."""
    stats = source.stats("pretrain").to_dict()
    used = [patch for row in source.rows("pretrain") if (patch := source.read(row))["valid"].mean() >= 0.9]
    for key in ("s1", "s2"):
        pixels = np.stack([patch[key] for patch in used]).astype(np.float64)  # (N, bands, H, W)
        np.testing.assert_allclose(stats[f"{key}_mean"], np.nanmean(pixels, (0, 2, 3)), rtol=2e-4)
        np.testing.assert_allclose(stats[f"{key}_std"], np.nanstd(pixels, (0, 2, 3)), rtol=2e-4)


def test_the_majority_class_is_that_of_the_whole_patch(source):
    data = PatchDataset(source, range(36), 16, labels=True)
    np.testing.assert_array_equal(source.majority(range(36)), data.__getitems__(range(36))["label"].numpy())


@both_ways
def test_invalid_pixels_are_marked_filled_and_not_counted(holes, packed):
    source = open_source(holes, packed=packed)
    data = PatchDataset(source, [0, 1, 3], 16)
    batch = data.__getitems__(range(3))
    assert (~batch["valid"]).nonzero().tolist() == [[0, 8, 8], [1, 0, 0]]
    assert batch["s1"].isnan().nonzero().tolist() == [[0, 1, 8, 8]]
    assert batch["s2"].isnan().nonzero().tolist() == [[1, band, 0, 0] for band in range(13)]
    filled = Normalise(source.stats("pretrain"))(batch)
    assert torch.isfinite(filled["s1"]).all() and filled["s1"][0, 1, 8, 8] == 0
    assert "valid" not in data.__getitems__([2])  # a batch without holes carries no mask
    assert source.left_out == {"ROIs1158_spring_8_p3": "75% valid"}
    assert_true_statistics(source)


def test_a_patch_with_holes_is_read_once_a_crop(holes, monkeypatch):
    source = open_source(holes)
    read = []
    for name in ("read_s1", "read_s2"):
        original = getattr(geotiff, name)
        monkeypatch.setattr(geotiff, name, lambda path, *a, f=original: read.append(path) or f(path, *a))
    data = PatchDataset(source, range(3), 8)
    for epoch in (0, 1):
        data.set_epoch(epoch)
        data.__getitems__(range(3))
    assert len(read) == 12


def test_a_bad_patch_is_left_out_wherever_it_is_cropped_and_reported_once(holes):
    source = open_source(holes)
    data = PatchDataset(source, [2] * 20, 4)  # a quarter of it is NaN, most crops are not
    assert len(data.__getitems__(range(20))["index"]) == 0
    assert source.left_out == {"ROIs1158_spring_8_p3": "75% valid"}
    assert "left out: ROIs1158_spring_8_p3: 75% valid" in source.report()
    assert "4 pretrain\nnote: pretraining hold-out: whole scenes" in source.report()


def test_a_pair_from_two_places_is_left_out_with_the_reason_everywhere(tmp_path):
    root = fake.make(tmp_path / "data", TWO_SCENES)
    odd = TWO_SCENES[0]
    fake.put(root, odd, "s1", fake.images(odd)["s1"], x=odd.x + 1e5)
    source = open_source(root)
    assert list(source.left_out) == ["ROIs1158_spring_8_p30"]
    assert "do not show the same place" in source.left_out["ROIs1158_spring_8_p30"]
    assert source.catalog["split"][0] == "" and "same place" in source.report()
    assert "ROIs1158_spring_8_p30" not in set(open_source(pack(root, tmp_path / "store")).catalog["id"])


@both_ways
def test_files_changed_in_place_are_never_read_through_a_stale_cache(tmp_path, packed):
    patches = fake.sen12ms()
    root = fake.make(tmp_path, patches)
    stats = open_source(root, packed=packed).stats("pretrain")
    for patch in patches:
        fake.put(root, patch, "s1", fake.images(patch)["s1"] - 7)
    after = open_source(root, packed=packed)
    np.testing.assert_allclose(after.stats("pretrain").s1_mean, np.array(stats.s1_mean) - 7, atol=0.01)
    np.testing.assert_allclose(after.read(0)["s1"], fake.images(patches[0])["s1"] - 7, atol=0.0026)


@both_ways
@pytest.mark.parametrize(
    ("offset", "lower"),
    [(1000, 8), ({"ROIs1158_spring_8": 1000}, 4), ({"ROIs1158_spring_8_p30": 1000}, 1)],
    ids=["all", "scene", "patch"],
)
def test_the_offset_of_the_card_moves_pixels_and_statistics_alike(tmp_path, packed, offset, lower):
    root = fake.make(tmp_path, TWO_SCENES)
    (root / "dataset.json").write_text(json.dumps({"s2_offset": offset}))
    source = open_source(root, packed=packed)
    for row, patch in enumerate(TWO_SCENES):
        expected = fake.images(patch)["s2"] / 1e4 - (0.1 if row < lower else 0)
        np.testing.assert_allclose(source.read(row)["s2"], expected, atol=1e-6)
    assert_true_statistics(source)


@both_ways
def test_the_holdout_of_the_card_decides_what_is_held_out(tmp_path, packed):
    root = fake.make(tmp_path, TWO_SCENES)
    for held in "89":
        (root / "held.txt").write_text(f"ROIs1158_spring/s1_{held}\n")
        (root / "dataset.json").write_text('{"holdout": "held.txt"}')
        source = open_source(root, packed=packed)
        assert set(source.catalog["scene"][source.rows("pretrain_val")]) == {f"ROIs1158_spring_{held}"}
    (root / "dataset.json").unlink()
    assert "whole scenes" in " ".join(open_source(root, packed=packed).notes)


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path, monkeypatch):
    root = fake.make(tmp_path / "data", fake.sen12ms())
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EO_SSL_CACHE", str(tmp_path / "file"))
    assert open_source(root).stats("pretrain").s1_mean[0] < 0


def test_statistics_come_from_training_rows_only_and_survive_json(source):
    for split in ("val", "test", "pretrain_val"):
        with pytest.raises(DataError, match="only training data"):
            source.stats(split)
    assert_true_statistics(source)
    stats = source.stats("train")
    assert Statistics.from_dict(stats.to_dict()) == stats
    for wrong, says in (
        ({"extra": []}, "unknown fields"),
        ({"s1_std": [1.0, 0.0]}, "positive"),
        ({"level": "L0"}, "L0"),
    ):
        with pytest.raises(DataError, match=says):
            Statistics.from_dict(stats.to_dict() | wrong)


@both_ways
def test_a_set_of_another_product_level_is_converted_for_the_statistics_of_an_encoder(tmp_path, packed):
    known = open_source(fake.make(tmp_path / "a", fake.sen12ms())).stats("pretrain")
    root = fake.make(tmp_path / "b", fake.sen12ms())
    (root / "dataset.json").write_text('{"level": "L2A"}')
    source = open_source(root, packed=packed)
    assert (known.level, source.level, source.stats("pretrain").level) == ("L1C", "L2A", "L2A")
    read = PatchDataset(source, [0], 16, "centre").__getitems__([0])
    fused = PatchDataset(source, [0], 16, "centre", statistics=known).__getitems__([0])["s2"]
    torch.testing.assert_close(fused, Normalise(known, "L2A")(read)["s2"], atol=1e-4, rtol=1e-4)
    red = (read["s2"][0, 3] * 0.92 + 0.026 - known.s2_mean[3]) / known.s2_std[3]
    torch.testing.assert_close(fused[0, 3], red, atol=1e-4, rtol=1e-4)
    assert not fused[0, 10].any()  # B10: the training mean
    old = {key: value for key, value in known.to_dict().items() if key != "level"}
    assert Statistics.from_dict(old) == known


def test_a_labelled_set_never_falls_back_to_coarse_labels_unnoticed(tmp_path):
    root = fake.make(tmp_path, fake.layout_a())
    first = catalog.find(root).iloc[0]
    (root / first["dfc"]).unlink()
    source = open_source(root)
    assert source.left_out == {first["id"]: "no dfc file"} and source.catalog["split"][0] == ""


def test_a_band_that_is_missing_has_no_offset():
    one, numbers = np.ones((13, 1, 1), np.float32), np.full((13, 2, 2), 1500, np.uint16)
    there = to_reflectance(numbers, 1000, one, 0 * one)
    np.testing.assert_allclose(there, 0.05, atol=1e-6)
    numbers[10] = 0
    found = to_reflectance(numbers, 1000, one, 0 * one)
    assert not found[10].any() and np.array_equal(np.delete(found, 10, 0), np.delete(there, 10, 0))
