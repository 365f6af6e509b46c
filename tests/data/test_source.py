import json

import fake_patches as fake
import numpy as np
import pytest
import torch

from eo_ssl.data import catalog, geotiff
from eo_ssl.data.dataset import PatchDataset, open_source
from eo_ssl.data.store import pack
from eo_ssl.data.transforms import Normalise, Statistics
from eo_ssl.errors import DataError


def test_labels_are_those_of_the_crop(source):
    data = PatchDataset(source, source.rows("train", "val"), 8, labels=True)
    for i in range(len(data)):
        sample = data[i]
        share = torch.stack([(sample["mask"] == k).float().mean() for k in range(8)])
        assert sample["label"] == share.argmax()
        assert (sample["multilabel"] == (share >= 0.1)).all()


@pytest.mark.parametrize(("pixels", "counts"), [(1, False), (25, False), (26, True)])
def test_a_class_counts_from_ten_percent_of_the_crop_on(tmp_path, pixels, counts):
    patches = fake.layout_a(each=1)
    root = fake.make(tmp_path, patches)
    codes = np.full((1, 16, 16), 10, np.uint8)
    codes.reshape(-1)[:pixels] = 7  # of 256: 25 are 9.8 %, 26 are 10.2 %
    fake.write(root / patches[0].pattern.format("dfc"), codes, patches[0].epsg, patches[0].x, patches[0].y)
    sample = PatchDataset(open_source(root), [0], 16, labels=True)[0]
    assert sample["label"] == 7 and bool(sample["multilabel"][5]) is counts


def test_ignored_pixels_have_no_class(tmp_path):
    patches = fake.layout_a()
    root = fake.make(tmp_path, patches)
    codes = np.full((1, 16, 16), 3, np.uint8)  # savanna: not among the eight
    fake.write(root / patches[0].pattern.format("dfc"), codes, patches[0].epsg, patches[0].x, patches[0].y)
    source = open_source(root)
    sample = PatchDataset(source, [0], 16, labels=True)[0]
    assert sample["label"] == 255 and not sample["multilabel"].any() and (sample["mask"] == 255).all()
    assert source.majority([0])[0] == 255


def test_fine_labels_are_taken_where_there_are_some_and_coarse_ones_on_request(source):
    row = int(source.rows("train")[0])
    fine = PatchDataset(source, [row], 16, labels=True)[0]["mask"]
    coarse = PatchDataset(source, [row], 16, labels=True, coarse=True)[0]["mask"]
    assert (fine == coarse).all()  # the fake sets agree; both maps are there
    pretrain = PatchDataset(source, [int(source.rows("pretrain")[0])], 16, labels=True)[0]
    assert (pretrain["mask"] < 8).all()


def test_the_majority_class_is_that_of_the_whole_patch(source):
    data = PatchDataset(source, range(36), 16, labels=True)
    np.testing.assert_array_equal(source.majority(range(36)), data.__getitems__(range(36))["label"].numpy())


@pytest.mark.parametrize("packed", [False, True])
def test_invalid_pixels_are_marked_and_filled_and_bad_patches_left_out_alone(holes, packed):
    source = open_source(holes, packed=packed)
    data = PatchDataset(source, range(4), 16)
    batch = data.__getitems__(range(4))
    ids = source.catalog["id"].to_numpy()[batch["index"].numpy()].tolist()
    bad = "ROIs1158_spring_8_p3"
    assert bad in source.left_out
    if not packed:  # a store knows before reading, so that its rows never hold the patch
        assert bad not in ids and len(ids) == 3
    else:
        assert bad not in source.catalog["id"][source.catalog["split"] != ""].tolist()
    first, second = ids.index("ROIs1158_spring_8_p1"), ids.index("ROIs1158_spring_8_p2")
    assert torch.isnan(batch["s1"][first]).sum() == 1 and not batch["valid"][first, 8, 8]
    assert torch.isnan(batch["s2"][second]).sum() == 13 and not batch["valid"][second, 0, 0]
    assert not torch.isnan(batch["s2"][first]).any() and not torch.isnan(batch["s1"][second]).any()
    filled = Normalise(source.stats("pretrain"))(batch)
    assert torch.isfinite(filled["s1"]).all() and filled["s1"][first, 1, 8, 8] == 0


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


def test_a_pair_from_two_places_is_left_out_with_the_reason_everywhere(tmp_path):
    root = fake.make(tmp_path / "data", fake.sen12ms() + fake.sen12ms(scene=9, epsg=32633))
    odd = fake.sen12ms()[0]
    fake.write(root / odd.pattern.format("s1"), fake.images(odd)["s1"], odd.epsg, odd.x + 1e5, odd.y)
    source = open_source(root)
    assert list(source.left_out) == ["ROIs1158_spring_8_p30"]
    assert "do not show the same place" in source.left_out["ROIs1158_spring_8_p30"]
    assert source.catalog["split"][0] == "" and "same place" in source.report()
    assert "ROIs1158_spring_8_p30" not in set(open_source(pack(root, tmp_path / "store")).catalog["id"])


@pytest.mark.parametrize("packed", [False, True])
def test_notes_of_the_splits_are_in_the_report(tmp_path, packed):
    source = open_source(fake.make(tmp_path, fake.layout_b() + fake.sen12ms()), packed=packed)
    assert "not the papers' split" in source.report() and "4 pretrain" in source.report()


@pytest.mark.parametrize("packed", [False, True])
def test_files_changed_in_place_are_never_read_through_a_stale_cache(tmp_path, packed):
    patches = fake.sen12ms()
    root = fake.make(tmp_path, patches)
    before = open_source(root, packed=packed)
    stats = before.stats("pretrain")
    for p in patches:
        darker = fake.images(p)["s1"] - 7
        fake.write(root / p.pattern.format("s1"), darker, p.epsg, p.x, p.y)
    after = open_source(root, packed=packed)
    np.testing.assert_allclose(after.stats("pretrain").s1_mean, np.array(stats.s1_mean) - 7, atol=0.01)
    np.testing.assert_allclose(after.read(0)["s1"], fake.images(patches[0])["s1"] - 7, atol=0.0026)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("by", [None, "scene", "patch"])
def test_the_offset_moves_pixels_and_statistics_alike(tmp_path, packed, by):
    root = fake.make(tmp_path, fake.sen12ms() + fake.sen12ms(scene=9, epsg=32633))
    key = {None: 1000, "scene": {"ROIs1158_spring_8": 1000}, "patch": {"ROIs1158_spring_8_p30": 1000}}[by]
    (root / "dataset.json").write_text(json.dumps({"s2_offset": key}))
    source = open_source(root, packed=packed)
    lower = {None: 4, "scene": 4, "patch": 1}[by]
    for row, patch in enumerate(fake.sen12ms()):
        expected = fake.images(patch)["s2"] / 1e4 - (0.1 if row < lower else 0)
        np.testing.assert_allclose(source.read(row)["s2"], expected, atol=1e-6)
    images = [source.read(int(row))["s2"] for row in source.rows("pretrain")]
    mean = np.concatenate([i.reshape(13, -1) for i in images], 1).astype(float).mean(1)
    np.testing.assert_allclose(source.stats("pretrain").s2_mean, mean, rtol=1e-4)


def test_a_store_opened_with_another_offset_shifts_its_statistics_too(tmp_path):
    store = pack(fake.make(tmp_path / "data", fake.sen12ms()), tmp_path / "store")
    source = open_source(store, s2_offset=1000)
    images = np.concatenate([source.read(int(r))["s2"].reshape(13, -1) for r in source.rows("pretrain")], 1)
    stats = source.stats("pretrain")
    np.testing.assert_allclose(stats.s2_mean, images.astype(float).mean(1), atol=1e-6)
    np.testing.assert_allclose(stats.s2_std, images.astype(float).std(1), atol=1e-5)


@pytest.mark.parametrize("packed", [False, True])
def test_the_holdout_of_the_card_decides(tmp_path, packed):
    root = fake.make(tmp_path, fake.sen12ms() + fake.sen12ms(scene=63, epsg=32633))
    (root / "held.txt").write_text("ROIs1158_spring/s1_63\n")
    (root / "other.txt").write_text("ROIs1158_spring_8\n")
    other = open_source(root, packed=packed, holdout=root / "other.txt")
    assert set(other.catalog["scene"][other.rows("pretrain_val")]) == {"ROIs1158_spring_8"}
    (root / "dataset.json").write_text('{"holdout": "held.txt"}')
    source = open_source(root, packed=packed)
    assert set(source.catalog["scene"][source.rows("pretrain_val")]) == {"ROIs1158_spring_63"}
    (root / "dataset.json").unlink()
    assert "whole scenes" in " ".join(open_source(root, packed=packed).notes)


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path, monkeypatch):
    root = fake.make(tmp_path / "data", fake.sen12ms())
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EO_SSL_CACHE", str(tmp_path / "file"))
    assert open_source(root).stats("pretrain").s1_mean[0] < 0


@pytest.mark.parametrize("packed", [False, True])
def test_batches_without_holes_carry_no_mask(holes, packed):
    data = PatchDataset(open_source(holes, packed=packed), [3], 16)
    assert "valid" not in data.__getitems__([0])


@pytest.mark.parametrize("packed", [False, True])
def test_statistics_ignore_invalid_pixels(holes, packed):
    source = open_source(holes, packed=packed)
    used = [source.read(int(row)) for row in source.rows("pretrain")]
    used = [u for u in used if u["valid"].mean() >= 0.9]
    for key in ("s1", "s2"):
        pixels = np.concatenate([u[key].reshape(len(u[key]), -1) for u in used], axis=1).astype(np.float64)
        stats = source.stats("pretrain").to_dict()
        np.testing.assert_allclose(stats[f"{key}_mean"], np.nanmean(pixels, 1), rtol=2e-4)
        np.testing.assert_allclose(stats[f"{key}_std"], np.nanstd(pixels, 1), rtol=2e-4)


def test_statistics_come_from_training_rows_only(source):
    for split in ("val", "test", "pretrain_val"):
        with pytest.raises(DataError, match="only training data"):
            source.stats(split)
    rows = source.rows("train")
    pixels = np.concatenate([source.read(int(r))["s2"].reshape(13, -1) for r in rows], axis=1)
    np.testing.assert_allclose(source.stats("train").s2_mean, pixels.astype(np.float64).mean(1), rtol=1e-5)


@pytest.mark.parametrize("packed", [False, True])
def test_the_offset_is_removed_when_told(tmp_path, packed):
    root = fake.make(tmp_path, fake.sen12ms())
    plain = open_source(root, packed=packed).read(0)["s2"]
    shifted = open_source(root, packed=packed, s2_offset=1000).read(0)["s2"]
    np.testing.assert_allclose(plain - shifted, 0.1, atol=1e-6)


def test_the_offset_of_the_data_set_card_is_used(tmp_path):
    root = fake.make(tmp_path, fake.sen12ms())
    plain = open_source(root).read(0)["s2"]
    (root / "dataset.json").write_text('{"name": "mine", "s2_offset": 1000}')
    np.testing.assert_allclose(plain - open_source(root).read(0)["s2"], 0.1, atol=1e-6)


def test_the_known_broken_patch_never_gets_a_split(tmp_path):
    root = fake.make(tmp_path, fake.sen12ms("ROIs1868_summer", 146, numbers=(201, 202, 203)))
    source = open_source(root)
    assert "ROIs1868_summer_146_p202" in source.left_out
    assert "ROIs1868_summer_146_p202" not in set(source.catalog["id"][source.rows("pretrain")])


@pytest.mark.parametrize("packed", [False, True])
def test_a_labelled_set_never_falls_back_to_coarse_labels_unnoticed(tmp_path, packed):
    root = fake.make(tmp_path, fake.layout_a())
    first = catalog.find(root).iloc[0]
    (root / first["dfc"]).unlink()
    source = open_source(root, packed=packed)
    assert source.left_out == {first["id"]: "no dfc file"} and source.catalog["split"][0] == ""


def test_statistics_survive_json_and_refuse_nonsense(source):
    stats = source.stats("pretrain")
    assert Statistics.from_dict(stats.to_dict()) == stats
    with pytest.raises(DataError, match="unknown fields"):
        Statistics.from_dict({**stats.to_dict(), "extra": []})
    with pytest.raises(DataError, match="positive"):
        Statistics.from_dict({**stats.to_dict(), "s1_std": [1.0, 0.0]})


def test_the_catalog_of_a_source_keeps_the_rows_of_find(world, source):
    assert source.catalog["id"].tolist() == catalog.find(world)["id"].tolist()
