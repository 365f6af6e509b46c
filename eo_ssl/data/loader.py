"""Batches in an order that depends on seed and epoch alone, prefetched by threads, shared by ranks."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from torch import Tensor

from eo_ssl.errors import ConfigError


class Loader:
    """Iterates over ready batches of a `PatchDataset`; see `make_loader`."""

    def __init__(
        self, dataset: Any, batch_size: int, shuffle: bool, drop_last: bool, seed: int, workers: int,
        rank: int, world_size: int,
    ) -> None:  # fmt: skip
        if batch_size < 1 or workers < 0 or not 0 <= rank < world_size:
            raise ConfigError(
                f"batch_size {batch_size}, workers {workers}, rank {rank} of {world_size}: not possible"
            )
        self.dataset, self.batch_size, self.shuffle, self.drop_last = dataset, batch_size, shuffle, drop_last
        self.seed, self.workers, self.rank, self.world_size, self.epoch = seed, workers, rank, world_size, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order and the random crops of an epoch."""
        self.epoch = epoch
        self.dataset.set_epoch(epoch)

    def __len__(self) -> int:
        step, n = self.batch_size * self.world_size, len(self.dataset)
        return n // step if self.drop_last else -(-n // step)

    def batches(self) -> list[list[int]]:
        """Indices of each batch of this rank, in order."""
        n = len(self.dataset)
        order = (
            np.random.default_rng([self.seed, self.epoch, 10]).permutation(n)
            if self.shuffle
            else np.arange(n)
        )
        step = self.batch_size * self.world_size
        chunks = [order[i * step : (i + 1) * step] for i in range(len(self))]
        shares = [np.array_split(c, self.world_size)[self.rank] for c in chunks]
        return [share.tolist() for share in shares if len(share)]

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        batches = self.batches()
        if self.workers == 0:
            yield from map(self.dataset.__getitems__, batches)
            return
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="loader")
        try:
            waiting = deque(pool.submit(self.dataset.__getitems__, b) for b in batches[: 2 * self.workers])
            for following in batches[2 * self.workers :]:
                batch = waiting.popleft().result()
                waiting.append(pool.submit(self.dataset.__getitems__, following))
                yield batch
                del batch
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def make_loader(
    dataset: Any,
    batch_size: int,
    shuffle: bool,
    drop_last: bool = False,
    seed: int = 0,
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> Loader:
    """A loader whose order is a pure function of (seed, epoch); call `set_epoch(e)` before each epoch.

    `batch_size` is per rank. Of each global batch of batch_size · world_size crops, rank r takes the r-th
    contiguous part, so that the ranks together see the batches one process with the larger batch would.
    `workers` threads prefetch (reading and converting release the interpreter lock, and nothing is copied
    between processes); with 0 the caller reads. Raises `ConfigError` for impossible numbers.
    """
    return Loader(dataset, batch_size, shuffle, drop_last, seed, workers, rank, world_size)
