"""Batches are passed on as they are, counted, and waiting for them is told from working with them."""

from collections.abc import Iterator

import pytest
import torch
from toy_labels import ToyLabels

from eo_ssl.train import feed
from eo_ssl.train.labelled import squares as gathered, load_patches

CPU = torch.device("cpu")


class Clock:
    """Time that passes only when it is told to."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(feed, "time", clock)
    return clock


def loader(clock: Clock, seconds: float) -> Iterator[dict[str, torch.Tensor]]:
    """Three batches that take so long to load."""
    for number in range(3):
        clock.now += seconds
        yield {"index": torch.full((4,), number)}


def test_batches_come_in_order_and_are_counted(clock: Clock) -> None:
    one = feed.Feed(loader(clock, 2.0), CPU)
    assert [int(batch["index"][0]) for batch in one] == [0, 1, 2]
    assert one.pairs == 12 and one.summary() == {"pairs_per_s": 2.0, "waiting": 1.0}


def test_waiting_is_the_share_of_the_time_without_data(clock: Clock) -> None:
    one = feed.Feed(loader(clock, 1.0), CPU)
    for _ in one:
        clock.now += 3.0  # an update
    assert one.summary() == {"pairs_per_s": 1.0, "waiting": 0.25}


def test_an_empty_pass_has_nothing_to_say() -> None:
    assert feed.Feed([], CPU).summary() == {}


def test_squares_gathered_at_once_are_those_cut_one_by_one() -> None:
    patches = load_patches(ToyLabels(gaps=True), range(24))
    rows, tops, lefts = torch.tensor([3, 0, 3, 17]), torch.tensor([0, 5, 8, 2]), torch.tensor([8, 0, 3, 1])
    cut = patches.cut(rows, tops, lefts, 8)
    for name, dtype in (("s1", torch.float32), ("s2", torch.float32), ("mask", torch.int64)):
        found = gathered(getattr(patches, name), rows, tops, lefts, 8).to(dtype)
        assert torch.equal(found.nan_to_num(9), cut[name].nan_to_num(9)) and found.is_contiguous()
