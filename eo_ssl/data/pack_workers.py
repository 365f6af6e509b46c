"""Where shards are packed: in this process, in several, or on a dask.distributed cluster."""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

from eo_ssl.data.shard import ShardSpec, pack_shard
from eo_ssl.errors import ConfigError


def results(
    specs: list[ShardSpec], workers: int, scheduler: str | None, threads: int
) -> Iterator[dict[str, Any]]:
    """Records of the shards as they are finished, by this process, by `workers` processes or by a cluster."""
    if scheduler is not None:
        yield from _on_cluster(specs, scheduler)
    elif workers == 1:
        yield from (pack_shard(spec, threads) for spec in specs)
    else:
        # Spawned, not forked: the parent may hold threads of GDAL or torch.
        with ProcessPoolExecutor(
            workers, get_context("spawn"), initializer=die_with_parent, initargs=(os.getpid(),)
        ) as pool:
            jobs = [pool.submit(pack_shard, spec, threads) for spec in specs]
            try:
                yield from (job.result() for job in as_completed(jobs))
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def _on_cluster(specs: list[ShardSpec], scheduler: str) -> Iterator[dict[str, Any]]:
    try:
        from distributed import Client
        from distributed import as_completed as completed
    except ImportError as error:
        raise ConfigError("packing on a cluster needs dask: pip install 'eo_ssl[cluster]'") from error
    try:
        client = Client(scheduler, timeout="30s")
    except (OSError, ValueError) as error:
        raise ConfigError(f"no dask scheduler answers at {scheduler} ({error})") from error
    with client:
        for future in completed(client.map(pack_shard, specs, pure=False)):
            yield future.result()


def die_with_parent(parent: int) -> None:
    """End this worker when the parent is gone, however it went; a killed parent cannot tell its workers."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
