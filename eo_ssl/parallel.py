"""Many things at once: pure functions handed to a `concurrent.futures.Executor`, here or on a Dask cluster.

Simulating, packing and the grid of experiments all work this way: the function gets one task and returns its
result, and the coordinating process alone writes what came back.

    with executor(workers=4) as pool:
        for task, done in unordered(square, tasks, pool):
            print(task, done.result())
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from eo_ssl.errors import ConfigError

POLL_SECONDS = 0.2


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def executor(
    workers: int = 0,
    scheduler: str = "",
    initializer: Callable[..., None] | None = None,
    initargs: tuple = (),
) -> Iterator[Executor | None]:
    """A pool of `workers` processes (0: one per core), or a Dask cluster where `scheduler` names its address.

    One worker needs no pool: None, and `unordered` then calls the function in this process. `initializer` runs
    first in each process of a local pool. Raises `ConfigError` where Dask or its scheduler cannot be had.
    """
    if scheduler:
        with _cluster(scheduler) as client, client.get_executor(pure=False) as pool:
            yield pool
        return
    workers = workers or cores()
    if workers == 1:
        yield None
        return
    # Spawned, not forked: the parent may hold threads of GDAL or torch.
    start = (os.getpid(), initializer, initargs)
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin, initargs=start) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def unordered(
    function: Callable[[Any], Any], tasks: Iterable[Any], pool: Executor | None = None
) -> Iterator[tuple[Any, Future]]:
    """Each task with its finished future, in the order in which they finish; without a pool one by one, here."""
    if pool is None:
        for task in tasks:
            future: Future = Future()
            try:
                future.set_result(function(task))
            except Exception as error:
                future.set_exception(error)
            yield task, future
        return
    futures = {pool.submit(function, task): task for task in tasks}
    try:
        for future in as_completed(futures):
            yield futures[future], future
    finally:
        for future in futures:
            future.cancel()


def _cluster(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError("working on a cluster needs dask: pip install 'eo_ssl[cluster]'") from error
    try:
        return Client(address, timeout="30s")
    except (OSError, ValueError) as error:
        raise ConfigError(f"no dask scheduler answers at {address} ({error})") from error


def _begin(parent: int, initializer: Callable[..., None] | None, initargs: tuple) -> None:
    """First thing in a worker: end with the parent, however it goes; a killed one cannot tell its workers."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    if initializer:
        initializer(*initargs)
