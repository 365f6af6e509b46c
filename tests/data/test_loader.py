import fake_patches as fake
import pytest
import torch

from eo_ssl.data.dataset import PatchDataset, Loader as make_loader, open_source
from eo_ssl.errors import DataError


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
