"""Which GPU each process of a grid works on, and how many processes one GPU takes."""

import gc
import os

PER_GPU = 3  # small models leave most of a large GPU idle while one process cuts the next batch
GIGABYTES = 20  # of its memory that a process should find free
CORES = 3  # that a process should find


def names() -> list[str]:
    """The GPUs this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    import torch

    told = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    found = [name.strip() for name in told.split(",") if name.strip()]
    return found or [str(number) for number in range(torch.cuda.device_count())]


def processes(gpus: int, free_bytes: float, cores: int) -> int:
    """Processes for so many GPUs: up to three on each, if memory and cores suffice; at least one.

    >>> processes(1, 80e9, 16), processes(1, 16e9, 16), processes(8, 80e9, 16)
    (3, 1, 8)
    """
    by_memory, by_cores = int(free_bytes // (GIGABYTES * 1e9)), cores // (CORES * gpus)
    return gpus * max(1, min(PER_GPU, by_memory, by_cores))


def free_bytes() -> float:
    """Memory free on the first GPU, once this process has given back what it does not need."""
    import torch

    gc.collect()
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info(0)[0]
