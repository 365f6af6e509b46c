"""Many things at once: pure functions handed to a `concurrent.futures.Executor`, here or on a Dask cluster.

with executor(workers=4) as pool:
    for task, done in unordered(square, tasks, pool):
        print(task, done.result())
"""

import ctypes
import gc
import math
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager, suppress
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from eo_ssl.errors import ConfigError, EOError

FULL_USE = 0.85  # more threads must save at least this share of the time to be worth their cores
PATIENCE = 1.0  # seconds after which the threads are measured no further


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def affordable(each: float, most: float = math.inf) -> int:
    """Processes that fit into memory, of which `each` takes so many bytes.

    What is free now and `most` bytes, whichever is less, must hold them; 0 where not even one fits.
    """
    import psutil

    return max(0, int(min(psutil.virtual_memory().available, most) // each))


def fitting_threads() -> int:
    """The threads of PyTorch that suit this moment: a few convolutions on one core, half, all but one, all cores.

    Threads wait for each other after every operation: as soon as another program keeps one core busy, all wait for the
    slowest, and a convolution on two threads takes up to ten times as long as on one. No rule tells when that happens.
    """
    import torch
    from torch.utils.benchmark import Timer

    net = torch.nn.Sequential(*(torch.nn.Conv2d(32, 32, 3, padding=1) for _ in range(4)))
    work, names = "net(x).square().mean().backward()", {"net": net, "x": torch.randn(16, 32, 32, 32)}
    numbers = {max(n, 1) for n in (1, cores() // 2, cores() - 1, cores())}
    rounds: list[dict[int, float]] = []
    begun = time.monotonic()
    # In turn, so that a passing disturbance meets all of them.
    while not rounds or (len(rounds) < 5 and time.monotonic() - begun < PATIENCE):
        rounds.append({n: Timer(work, globals=names, num_threads=n).timeit(1).mean for n in numbers})
    return choose({n: statistics.median(seconds[n] for seconds in rounds) for n in numbers})


def choose(seconds: dict[int, float]) -> int:
    """The fewest threads that are about as fast as any, given the time of the same work on each number of them.

    >>> choose({1: 1.0, 2: 0.55}), choose({1: 0.11, 2: 1.2})
    (2, 1)
    """
    return next(n for n in sorted(seconds) if FULL_USE * seconds[n] <= min(seconds.values()))


def give_memory_back() -> None:
    """Hand memory that is no longer used to the system, where glibc would keep it: other processes need it."""
    gc.collect()
    with suppress(AttributeError, OSError, TypeError):  # other systems have no such function
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def executor(
    workers: int = 0,
    scheduler: str = "",
    initializer: Callable[..., None] | None = None,
    initargs: tuple = (),
) -> Iterator[Executor | None]:
    """A pool of `workers` processes (0: one per core), or a Dask cluster where `scheduler` names its address.

    One worker needs no pool: None, and `unordered` then calls the function in this process. `initializer` runs
    first in each process of a local pool. An error in the block ends a local pool at once, whatever it is doing.
    Raises `ConfigError` where Dask or its scheduler cannot be had.
    """
    workers = workers or cores()
    if scheduler:
        with _cluster(scheduler) as client, client.get_executor(pure=False) as pool:
            yield pool
    elif workers == 1:
        yield None
    else:
        context = get_context("spawn")  # not forked: the parent may hold threads of GDAL or torch
        theirs, ours = context.Pipe(duplex=False)
        start = (theirs, initializer, initargs)
        with theirs, ours, ProcessPoolExecutor(workers, context, initializer=_begin, initargs=start) as pool:
            try:
                yield pool
            except BaseException:
                ours.close()  # the workers see it and end
                raise
            finally:
                pool.shutdown(cancel_futures=True)


def unordered(
    function: Callable[[Any], Any], tasks: Iterable[Any], pool: Executor | None = None, ahead: int = 256
) -> Iterator[tuple[Any, Future]]:
    """Each task with its finished future, in the order in which they finish; without a pool one by one, here.

    At most `ahead` tasks are handed out and not yet looked at, so that results do not pile up. An iterator of tasks
    that had no more is asked again after each result, which may have made others possible. A task that raises
    keeps its error in its future and stops no other. Raises `EOError` when a process of a local pool is killed or
    the pool is closed: what was yielded before is done, the rest is not.
    """
    if pool is None:
        for task in tasks:
            future: Future = Future()
            try:
                future.set_result(function(task))
            except Exception as error:
                future.set_exception(error)
            yield task, future
        return
    tasks, running = iter(tasks), {}
    try:
        while True:
            for task in islice(tasks, ahead - len(running)):
                running[pool.submit(function, task)] = task
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                if future.cancelled():
                    raise EOError("the workers were sent away before their work was done; run it again")
                if isinstance(future.exception(), BrokenExecutor):
                    raise future.exception()
                yield running.pop(future), future
    except BrokenExecutor as error:
        raise EOError(
            "a worker process ended early: killed, perhaps for lack of memory (fewer workers need less), or, in a "
            'script, started from outside `if __name__ == "__main__":`; what was finished is kept, run it again'
        ) from error
    finally:
        for future in running:
            future.cancel()


def _cluster(address: str) -> Any:
    try:
        from distributed import Client

        return Client(address, timeout="30s")
    except ImportError as error:
        raise ConfigError("working on a cluster needs dask: pip install 'eo_ssl[cluster]'") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"no dask scheduler answers at {address} ({error})") from error


def _begin(line: Connection, initializer: Callable[..., None] | None, initargs: tuple) -> None:
    """First thing in a worker: end with the parent, however it goes; a killed one cannot tell its workers."""

    def watch() -> None:
        with suppress(EOFError, OSError):
            line.recv()  # nothing is ever sent: what comes is the end of the line, and of the parent
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    if initializer:
        initializer(*initargs)
