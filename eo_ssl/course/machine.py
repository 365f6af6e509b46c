"""What a run was made on: processor, cores, memory and GPUs, as released results name them."""

import os
import platform
from functools import cache
from typing import Any


@cache
def machine() -> dict[str, Any]:
    """`{"cpu": name, "cores": number, "memory_gb": number, "gpus": [names]}` of this machine.

    Cores are those that this process may use; memory is all there is, in 10⁹ bytes.
    """
    import psutil
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    memory = round(psutil.virtual_memory().total / 1e9, 1)
    return {"cpu": cpu_name(), "cores": cores, "memory_gb": memory, "gpus": gpus}


def cpu_name(cpuinfo: str = "/proc/cpuinfo") -> str:
    """The processor's name: from Linux where it tells, otherwise what Python knows."""
    try:
        with open(cpuinfo, encoding="utf-8") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() == "model name" and value.strip():
                    return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
