import pickle
import threading

import fake_patches as fake
import numpy as np
import pytest
import torch

from eo_ssl.data import geotiff
from eo_ssl.data.catalog import find
from eo_ssl.data.dataset import Loader, PatchDataset, crop_labels, open_source
from eo_ssl.data.transforms import Normalise
from eo_ssl.errors import ConfigError, DataError
from eo_ssl.sensors import DFC10_TO_EIGHT, IGBP_TO_EIGHT


def test_a_sample_has_the_shapes_types_and_units_of_the_contract(source):
    data = PatchDataset(source, source.rows("train"), 8, labels=True)
    sample = data[1]
    shapes = {key: (tuple(value.shape), value.dtype) for key, value in sample.items()}
    assert shapes == {
        "s1": ((2, 8, 8), torch.float32), "s2": ((13, 8, 8), torch.float32), "mask": ((8, 8), torch.int64),
        "label": ((), torch.int64), "multilabel": ((8,), torch.float32), "index": ((), torch.int64),
    }  # fmt: skip
    share = torch.stack([(sample["mask"] == k).float().mean() for k in range(8)])
    assert sample["label"] == share.argmax() and (sample["multilabel"] == (share >= 0.1)).all()


def test_a_class_counts_from_ten_percent_of_the_crop_on_and_ignored_pixels_have_none():
    mask = torch.full((4, 16, 16), 7)
    for k, pixels in enumerate((1, 25, 26)):  # of 256: 25 are 9.8 %, 26 are 10.2 %
        mask[k].view(-1)[:pixels] = 5
    mask[3] = 255
    label, multilabel = crop_labels(mask)
    assert label.tolist() == [7, 7, 7, 255] and not multilabel[3].any()
    assert multilabel[:3, 5].tolist() == [0, 0, 1] and multilabel[:3, 7].all()


def test_a_batch_is_its_samples_stacked_also_in_another_process(source):
    data = PatchDataset(source, range(len(source.catalog)), 8, labels=True)
    batch = data.__getitems__([4, 0, 20])
    for other in (data, pickle.loads(pickle.dumps(data))):
        for k, i in enumerate((4, 0, 20)):
            for key, value in other[i].items():
                torch.testing.assert_close(batch[key][k], value, rtol=0, atol=0)
    with pytest.raises(IndexError):
        data[36]


def test_crops_are_the_pixels_and_labels_of_the_files(source, world):
    data = PatchDataset(source, range(len(source.catalog)), 8)
    assert source.catalog["id"].tolist() == find(world)["id"].tolist()
    for i, patch in enumerate(source.catalog.to_dict("records")):
        row, top, left = data.place(i)
        window = (..., slice(top, top + 8), slice(left, left + 8))
        numbers, _ = geotiff.read_s2(world / patch["s2"])
        np.testing.assert_allclose(data[i]["s2"], numbers[window] / 1e4, rtol=1e-6)
        db = geotiff.read_s1(world / patch["s1"])
        np.testing.assert_allclose(data[i]["s1"], db[window], atol=0.0026)
        coarse = IGBP_TO_EIGHT[geotiff.read_labels(world / patch["lc"])]
        fine = DFC10_TO_EIGHT[geotiff.read_labels(world / patch["dfc"])] if patch["dfc"] else coarse
        np.testing.assert_array_equal(source.mask(row, top, left, 8), fine[window])
        np.testing.assert_array_equal(source.mask(row, top, left, 8, coarse=True), coarse[window])


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
    assert len({PatchDataset(source, [3] * 20, 4).place(i) for i in range(20)}) > 5
    assert PatchDataset(source, [2], 6, "centre").place(0) == (2, 5, 5)


def test_reading_standardised_equals_reading_then_normalising(source):
    stats = source.stats("pretrain")
    plain = Normalise(stats)(PatchDataset(source, range(36), 8).__getitems__(range(36)))
    fused = PatchDataset(source, range(36), 8, statistics=stats).__getitems__(range(36))
    for key in ("s1", "s2"):
        torch.testing.assert_close(fused[key], plain[key], rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("arguments", [{"crop": 17}, {"crop": 0}, {"crop": 8, "mode": "corner"}], ids=str)
def test_impossible_requests_are_refused(source, arguments):
    with pytest.raises(ConfigError):
        PatchDataset(source, [0], **arguments)


def test_order_and_batches_depend_on_seed_and_epoch_alone_and_not_on_threads(source):
    def read(seed, epoch, workers=0):
        loader = Loader(PatchDataset(source, range(36), 8), 5, True, seed=seed, workers=workers)
        loader.set_epoch(epoch)
        batches = list(loader)
        return {key: torch.cat([batch[key] for batch in batches]) for key in ("index", "s1", "s2")}

    first, again = read(0, 0), read(0, 0, workers=3)
    assert all(torch.equal(first[key], again[key]) for key in first)
    orders = [first["index"].tolist(), *(read(*k)["index"].tolist() for k in ((0, 1), (1, 0)))]
    assert sorted(orders[0]) == list(range(36)) and len({tuple(order) for order in orders}) == 3


@pytest.mark.parametrize("drop_last", [True, False])
def test_ranks_together_see_the_batches_of_one_process(source, drop_last):
    data = PatchDataset(source, range(36), 8)
    whole, *ranks = (
        [batch["index"] for batch in Loader(data, size, True, drop_last, rank=rank, world_size=world)]
        for size, rank, world in ((8, 0, 1), (4, 0, 2), (4, 1, 2))
    )
    assert [len(index) for index in whole] == [8, 8, 8, 8] + [4] * (not drop_last)
    for one, a, b in zip(whole, *ranks, strict=True):
        assert torch.equal(one, torch.cat([a, b]))


def test_a_loader_left_early_stops_its_threads(source):
    before = threading.active_count()
    iterator = iter(Loader(PatchDataset(source, range(36), 8), 4, False, workers=2))
    next(iterator)
    iterator.close()
    assert threading.active_count() == before


def test_an_error_in_a_thread_reaches_the_caller(tmp_path):
    root = fake.make(tmp_path, fake.sen12ms())
    source = open_source(root)
    (root / source.catalog["s2"][2]).write_bytes(b"gone")
    loader = Loader(PatchDataset(source, range(4), 8), 1, False, workers=2)
    with pytest.raises(DataError, match="s2_8_p32"):
        list(loader)
