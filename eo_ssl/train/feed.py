"""Batches on their way to the device, and how long the device stood idle for them.

On a GPU the loader's threads copy each batch into page-locked memory, from where it crosses to the device
beside the computation. Waiting is measured on the device itself: between the moment it has done all the work
it was given and the moment the next batch is there.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

Batch = dict[str, Tensor]


class Pinned:
    """A data set whose batches lie in page-locked memory; the copy is made by the loader's threads."""

    def __init__(self, dataset: Any, device: torch.device) -> None:
        self.dataset, self.device = dataset, device

    def __len__(self) -> int:
        return len(self.dataset)

    def set_epoch(self, epoch: int) -> None:
        """Choose the random crops of an epoch."""
        self.dataset.set_epoch(epoch)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        with torch.cuda.device(self.device):  # of this rank: a new thread would take the first GPU
            return {name: value.pin_memory() for name, value in self.dataset.__getitems__(indices).items()}


class Feed:
    """One pass over a loader: its batches on the device, counted and timed."""

    def __init__(self, loader: Any, device: torch.device) -> None:
        self.loader, self.device, self.pairs = loader, device, 0
        self.waits: list[tuple[Any, Any]] = []
        self.side = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __iter__(self) -> Iterator[Batch]:
        batches = iter(self.loader)
        while True:
            asked = self._mark()
            batch = next(batches, None)
            if batch is None:
                return
            batch = self._moved(batch)
            self.waits.append((asked, self._mark()))
            self.pairs += len(batch["index"])
            yield batch
            del batch  # its memory may be used again while the next one is fetched

    def _moved(self, batch: Batch) -> Batch:
        """The batch on the device; a GPU copies it on a stream of its own while it still computes."""
        if self.side is None:
            return batch
        with torch.cuda.stream(self.side):
            moved = {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}
        work = torch.cuda.current_stream(self.device)
        work.wait_stream(self.side)
        for value in moved.values():
            value.record_stream(work)  # not to be freed before the work on it is done
        return moved

    def _mark(self) -> Any:
        if self.side is None:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def _between(self, start: Any, end: Any) -> float:
        return end - start if self.side is None else start.elapsed_time(end) / 1000

    def summary(self) -> dict[str, float]:
        """Pairs per second, and the share of the time in which the device waited for data; at the end."""
        end = self._mark()
        if self.side is not None:
            torch.cuda.synchronize(self.device)
        if not self.waits:
            return {}
        total = max(self._between(self.waits[0][0], end), 1e-9)
        return {
            "pairs_per_s": self.pairs / total,
            "waiting": sum(self._between(*wait) for wait in self.waits) / total,
        }
