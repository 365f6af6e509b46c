"""From "2 devices, bf16" to a Lightning Fabric that fits the machine, or an error that says why not."""

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from eo_ssl.errors import CheckpointError, ConfigError, EOError
from eo_ssl.parallel import cores
from eo_ssl.train.config import PretrainConfig


def device_type(accelerator: str) -> str:
    """ "cuda" or "cpu" for an accelerator name; raises `ConfigError` for a GPU that is not there."""
    if accelerator not in ("auto", "cpu", "cuda", "gpu"):
        raise ConfigError(f"accelerator must be one of auto, cpu, cuda, gpu, not {accelerator!r}")
    if accelerator in ("cuda", "gpu") and not torch.cuda.is_available():
        raise ConfigError(f"accelerator {accelerator}: torch sees no GPU here; use cpu or auto")
    return "cpu" if accelerator == "cpu" or not torch.cuda.is_available() else "cuda"


def has_bf16(device: str) -> bool:
    """Whether the device computes in bfloat16 by itself, not by emulation."""
    if device == "cuda":
        return torch.cuda.get_device_capability()[0] >= 8
    # Less than the processor has, where ATEN_CPU_CAPABILITY says so.
    told = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return told and bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def loader_threads() -> int:
    """Threads that read ahead: most of the cores beside a GPU; none on a CPU, which has other work."""
    if not torch.cuda.is_available():
        return 0
    return max(1, min(12, cores() // torch.cuda.device_count() - 1))


def make_fabric(
    precision: str = "auto", devices: int = 1, nodes: int = 1, accelerator: str = "auto"
) -> Fabric:
    """A Fabric, not yet launched.

    Under torchrun or Slurm the processes are already there; from a shell command the other ranks are
    started by running the same command again; from a notebook they are forked.
    """
    device = device_type(accelerator)
    if precision == "auto":
        precision = "bf16" if has_bf16(device) else "32"
    kind = {"32": "32-true", "bf16": "bf16-mixed"}[precision]
    strategy = "auto"
    if devices * nodes > 1:
        in_cluster = not {"TORCHELASTIC_RUN_ID", "SLURM_NTASKS"}.isdisjoint(os.environ)
        strategy = "ddp_notebook" if "ipykernel" in sys.modules and not in_cluster else "ddp"
    # Not "Using bfloat16 …" for each of a hundred models.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    return Fabric(accelerator=device, devices=devices, num_nodes=nodes, precision=kind, strategy=strategy)


def check_world(config: PretrainConfig, devices: int, nodes: int, device: str) -> None:
    """Raise `ConfigError` for a number of processes that the batch or the machine does not allow."""
    if devices < 1 or nodes < 1:
        raise ConfigError(f"devices and nodes must be 1 or more, not {devices} and {nodes}")
    if device == "cuda" and devices > torch.cuda.device_count():
        raise ConfigError(f"{devices} devices asked for, but torch sees {torch.cuda.device_count()} GPU(s)")
    world = devices * nodes
    if config.batch_size % world:
        raise ConfigError(f"batch_size {config.batch_size} is not a multiple of {world} devices; change one")
    if config.batch_norm == "sync" and device == "cpu" and world > 1:
        raise ConfigError("batch_norm=sync needs GPUs; on CPUs use batch_norm=local or frozen")
    started = os.environ.get("WORLD_SIZE", world) if "TORCHELASTIC_RUN_ID" in os.environ else world
    if int(started) != world:
        raise ConfigError(f"torchrun started {started} processes, not {devices} devices × {nodes} nodes")


def prepare(config: PretrainConfig, model: nn.Module, fabric: Fabric, compile: bool = False) -> nn.Module:
    """Let BatchNorm share its statistics over several GPUs, and compile; before `fabric.setup`."""
    shared = config.batch_norm == "sync" or (config.batch_norm == "auto" and fabric.device.type == "cuda")
    if shared and fabric.world_size > 1:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return torch.compile(model) if compile else model


def together(fabric: Fabric, action: Callable[[], Any]) -> None:
    """Do something on rank 0; when it fails, all ranks raise instead of waiting for it for ever."""
    problem = ""
    if fabric.is_global_zero:
        try:
            action()
        except (EOError, OSError) as error:
            problem = str(error)
    if problem := fabric.broadcast(problem):
        raise CheckpointError(problem)
