import pickle

import fake_patches as fake
import numpy as np
import pytest
import torch

from eo_ssl.data import catalog, dataset, geotiff, pack
from eo_ssl.data.dataset import PatchDataset, make_loader, open_source
from eo_ssl.data.transforms import Normalise, Statistics
from eo_ssl.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return fake.world(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def store(root, tmp_path_factory):
    return pack.pack(root, tmp_path_factory.mktemp("store"))


@pytest.fixture(params=["geotiff", "store"])
def source(request, root, store):
    return open_source(store if request.param == "store" else root)


@pytest.fixture
def holes(tmp_path):
    """A root of one scene where patch 0 has one invalid radar pixel, patch 1 no optical data in a corner
    and patch 2 is a quarter NaN."""
    patches = fake.sen12ms(numbers=(1, 2, 3, 4))
    root = fake.make(tmp_path / "data", patches)
    s1 = [fake.images(p)["s1"] for p in patches]
    s1[0][1, 8, 8] = np.nan
    s1[2][:, :4] = np.nan
    for p, data in zip(patches, s1):
        fake.write(root / p.pattern.format("s1"), data, p.epsg, p.x, p.y)
    s2 = fake.images(patches[1])["s2"]
    s2[:, 0, 0] = 0
    fake.write(root / patches[1].pattern.format("s2"), s2, patches[1].epsg, patches[1].x, patches[1].y)
    return root


def test_a_sample_has_the_shapes_types_and_units_of_the_contract(source):
    data = PatchDataset(source, source.rows("train"), 8, labels=True)
    sample = data[1]
    shapes = {key: (tuple(value.shape), value.dtype) for key, value in sample.items()}
    assert shapes == {
        "s1": ((2, 8, 8), torch.float32), "s2": ((13, 8, 8), torch.float32), "mask": ((8, 8), torch.int64),
        "label": ((), torch.int64), "multilabel": ((8,), torch.float32), "index": ((), torch.int64),
        "group": ((), torch.int64),
    }  # fmt: skip
    assert -40 < sample["s1"].mean() < 0 and 0 < sample["s2"].mean() < 1


def test_a_batch_is_its_samples_stacked(source):
    data = PatchDataset(source, range(len(source.catalog)), 8, labels=True)
    batch = data.__getitems__([4, 0, 20])
    for k, i in enumerate((4, 0, 20)):
        for key, value in data[i].items():
            torch.testing.assert_close(batch[key][k], value, rtol=0, atol=0)


def test_crops_are_the_pixels_of_the_file(source, root):
    data = PatchDataset(source, range(len(source.catalog)), 8)
    for i in (0, 7, 30):
        row, top, left = data.place(i)
        patch = source.catalog.iloc[row]
        numbers, _ = geotiff.read_s2(root / patch["s2"])
        expected = numbers[:, top : top + 8, left : left + 8] / 1e4
        np.testing.assert_allclose(data[i]["s2"].numpy(), expected, rtol=1e-6)
        db = geotiff.read_s1(root / patch["s1"])[:, top : top + 8, left : left + 8]
        np.testing.assert_allclose(data[i]["s1"].numpy(), db, atol=0.0026)


def test_files_and_store_give_the_same_batches(root, store):
    one, two = (PatchDataset(open_source(path), range(36), 8, labels=True) for path in (root, store))
    a, b = one.__getitems__(range(36)), two.__getitems__(range(36))
    for key in a:
        torch.testing.assert_close(a[key], b[key], rtol=0, atol=0.0026 if key == "s1" else 0)


def test_random_crops_depend_on_seed_epoch_and_index_alone(source):
    def places(seed, epoch):
        data = PatchDataset(source, range(36), 8, seed=seed)
        data.set_epoch(epoch)
        return [data.place(i) for i in range(36)]

    assert places(0, 0) == places(0, 0)
    assert len({tuple(places(s, e)) for s, e in ((0, 0), (0, 1), (1, 0), (1, 1))}) == 4
    many = np.array([p for e in range(40) for p in places(0, e)])[:, 1:]
    assert many.min() == 0 and many.max() == 8  # every offset that fits occurs, and about equally often
    assert np.bincount(many[:, 0], minlength=9).min() > 0.7 * len(many) / 9


def test_the_same_row_twice_gives_two_crops(source):
    data = PatchDataset(source, [3] * 20, 4)
    assert len({data.place(i) for i in range(20)}) > 5


def test_centre_crops_are_in_the_centre(source):
    assert PatchDataset(source, [2], 6, "centre").place(0) == (2, 5, 5)


@pytest.mark.parametrize("crop", [16, 8, 6, 5])
def test_tiles_cover_every_pixel_of_every_patch(source, crop):
    data = PatchDataset(source, [1, 4], crop, "tile")
    seen = {1: np.zeros((16, 16), int), 4: np.zeros((16, 16), int)}
    for i in range(len(data)):
        row, top, left = data.place(i)
        seen[row][top : top + crop, left : left + crop] += 1
    assert all(count.min() >= 1 for count in seen.values())
    assert crop not in (16, 8) or all(count.max() == 1 for count in seen.values())


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


def test_reading_standardised_equals_reading_then_normalising(source):
    stats = source.stats("pretrain")
    plain = Normalise(stats)(PatchDataset(source, range(36), 8).__getitems__(range(36)))
    fused = PatchDataset(source, range(36), 8, statistics=stats).__getitems__(range(36))
    for key in ("s1", "s2"):
        torch.testing.assert_close(fused[key], plain[key], rtol=1e-5, atol=2e-5)


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


def test_batches_that_are_kept_are_never_written_over(source):
    data = PatchDataset(source, range(36), 8)
    kept = [data.__getitems__([i])["s2"] for i in range(36)]
    views = [data.__getitems__([i])["s1"][0, 1] for i in range(36)]
    for i in range(36):
        torch.testing.assert_close(kept[i][0], data[i]["s2"], rtol=0, atol=0)
        torch.testing.assert_close(views[i], data[i]["s1"][1], rtol=0, atol=0)


def test_memory_of_dropped_batches_is_used_again(source):
    data = PatchDataset(source, range(36), 8)
    addresses = set()
    for i in range(20):
        batch = data.__getitems__([i, i + 1])
        addresses.add(batch["s2"].data_ptr())
        del batch
    assert len(addresses) <= 2


def test_sources_and_data_sets_can_be_sent_to_other_processes(source):
    data = PatchDataset(source, range(36), 8, labels=True)
    data[0]
    again = pickle.loads(pickle.dumps(data))
    for key, value in data[5].items():
        torch.testing.assert_close(again[5][key], value, rtol=0, atol=0)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_order_depends_on_seed_and_epoch_alone(source, workers):
    def order(seed, epoch):
        loader = make_loader(PatchDataset(source, range(36), 8), 5, True, seed=seed, workers=workers)
        loader.set_epoch(epoch)
        return torch.cat([batch["index"] for batch in loader]).tolist()

    assert order(0, 0) == order(0, 0) and sorted(order(0, 0)) == list(range(36))
    assert len({tuple(order(*k)) for k in ((0, 0), (0, 1), (1, 0))}) == 3


def test_threads_give_the_same_batches_as_none(source):
    loaders = [make_loader(PatchDataset(source, range(36), 8), 7, True, workers=w) for w in (0, 3)]
    for a, b in zip(*loaders, strict=True):
        for key in a:
            torch.testing.assert_close(a[key], b[key], rtol=0, atol=0)


def test_ranks_together_see_the_batches_of_one_process(source):
    data = PatchDataset(source, range(32), 8)
    whole = [b["index"] for b in make_loader(data, 8, True, drop_last=True)]
    ranks = [
        [b["index"] for b in make_loader(data, 4, True, drop_last=True, rank=r, world_size=2)] for r in (0, 1)
    ]
    for one, a, b in zip(whole, *ranks, strict=True):
        assert torch.equal(one, torch.cat([a, b]))


@pytest.mark.parametrize(("drop_last", "sizes"), [(True, [10, 10, 10]), (False, [10, 10, 10, 6])])
def test_the_last_batch_is_kept_or_dropped(source, drop_last, sizes):
    loader = make_loader(PatchDataset(source, range(36), 8), 10, False, drop_last=drop_last)
    assert [len(b["index"]) for b in loader] == sizes and len(loader) == len(sizes)


def test_a_loader_left_early_stops_its_threads(source):
    import threading

    before = threading.active_count()
    iterator = iter(make_loader(PatchDataset(source, range(36), 8), 4, False, workers=2))
    next(iterator)
    iterator.close()
    assert threading.active_count() == before


def test_an_error_in_a_thread_reaches_the_caller(tmp_path):
    root = fake.make(tmp_path, fake.sen12ms())
    source = open_source(root)
    (root / source.catalog["s2"][2]).write_bytes(b"gone")
    loader = make_loader(PatchDataset(source, range(4), 8), 1, False, workers=2)
    with pytest.raises(DataError, match="s2_8_p32"):
        list(loader)


@pytest.mark.parametrize(
    "arguments",
    [{"crop": 17}, {"crop": 0}, {"crop": 8, "mode": "corner"}, {"crop": 8, "rows": [99]}],
    ids=str,
)
def test_impossible_requests_are_refused(source, arguments):
    with pytest.raises(ConfigError):
        PatchDataset(source, **{"rows": [0], **arguments})


def test_an_index_beyond_the_end_is_an_index_error(source):
    with pytest.raises(IndexError):
        PatchDataset(source, [0], 8)[1]


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


def test_the_catalog_of_a_source_keeps_the_rows_of_find(root, source):
    assert source.catalog["id"].tolist() == catalog.find(root)["id"].tolist()
    assert dataset.open_source is open_source
