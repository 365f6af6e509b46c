"""Chapter 14: one update and its memory, two readers, two processes, the explorer; exercise checks."""

import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import as_completed
from datetime import timedelta
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from timeit import repeat
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.profiler import ProfilerActivity, profile

from eo_ssl.course.checks import exercise, expect, expect_close, numbers
from eo_ssl.data import catalog
from eo_ssl.data.dataset import open_source
from eo_ssl.data.store import StoreSource, is_store, pack
from eo_ssl.losses import nt_xent
from eo_ssl.parallel import executor
from eo_ssl.train.config import PretrainConfig, preset
from eo_ssl.train.devices import make_fabric
from eo_ssl.train.loop import make_optimizer
from eo_ssl.train.methods import make_method
from eo_ssl.train.step import backward_pass, freeze_statistics, seeded

Views = dict[str, Tensor]
PATIENCE = timedelta(minutes=30)  # that processes wait for each other, on a busy machine
os.environ.setdefault("KINETO_LOG_LEVEL", "9")  # else PyTorch's profiler notes each of its starts on the page

# --- One update ---


def training_step(
    config: PretrainConfig, views: Views, device: torch.device, precision: str = "auto", last: bool = True
) -> Callable[[], float]:
    """A whole update on views {sensor: (N, bands, H, W)}, with channels `last` or first; each call returns the loss.

    Forward, loss, backward, clipping, AdamW. Raises `ConfigError` for a precision that the device cannot have.
    """
    fabric = make_fabric(precision, accelerator=device.type)
    with seeded(0):
        method = make_method(config)
    if not last:
        for encoder in method.encoders().values():
            encoder.channels_last = False
            encoder.net.to(memory_format=torch.contiguous_format)
    model, optimizer = fabric.setup(method.model, make_optimizer(config, method.model))
    model.train()

    def step() -> float:
        loss = backward_pass(fabric, model, method.loss, views)
        fabric.clip_gradients(model, optimizer, max_norm=1.0, error_if_nonfinite=False)
        optimizer.step()
        optimizer.zero_grad()
        return float(loss)

    return step


def peak(work: Callable[[], Any], device: torch.device) -> int:
    """Bytes of tensors that `work` holds at once at most, beyond those that were there before it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        work()
    with TemporaryDirectory() as folder:
        path = Path(folder, "trace.json")
        seen.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    changes = sorted((e for e in events if e.get("name") == "[memory]"), key=lambda e: e["ts"])
    return max(accumulate((e["args"]["Bytes"] for e in changes), initial=0))


def still(config: PretrainConfig, seed: int = 0) -> nn.Module:
    """Fresh encoders and heads whose BatchNorm holds its statistics; a seed gives the same weights anywhere.

    Shape: {"s1": (N, 2, H, W), "s2": (N, 13, H, W)} → z1, z2 (N, D).
    """
    with seeded(seed):
        model = make_method(config).model
    freeze_statistics(model.train())
    return model


def gradient(model: nn.Module) -> Tensor:
    """The gradients of all parameters as one long vector."""
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


# --- Files and store ---


def readers(run: Any, folder: Path, most: int) -> dict[str, tuple[Any, list[int]]]:
    """The same patches as files and as a packed store: source and rows of each; the store alone where it is the data."""
    files = store = run.source()
    if isinstance(store, StoreSource):
        files = store if is_store(run.data_root) else open_source(run.data_root, packed=False)
    else:
        found = catalog.find(run.data_root)
        rows = [*files.rows("pretrain")[: most // 2], *files.rows("pretrain_val")[: most // 2]]
        some = found[found["id"].isin(files.catalog["id"].iloc[rows])]  # of either split: a store has both
        store = StoreSource(pack(run.data_root, folder, catalog=some))
    ids = store.catalog["id"].head(most)
    found = {"packed store": store} if files is store else {"GeoTIFF files": files, "packed store": store}
    return {name: (one, pd.Index(one.catalog["id"]).get_indexer(ids).tolist()) for name, one in found.items()}


def megabytes(source: Any, rows: list[int], root: Path) -> float:
    """Megabytes on disk of both sensors of a patch, on average."""
    if isinstance(source, StoreSource):
        return 15 * 2 * source.patch_size**2 / 1e6  # 15 bands in 16 bit
    paths = source.catalog.iloc[rows][["s1", "s2"]].to_numpy().ravel()
    return sum((root / path).stat().st_size for path in paths) / len(rows) / 1e6


# --- Two processes ---


def process(
    rank: int, world: int, folder: str, views: dict[str, np.ndarray], profile: str, seed: int, turns: int
) -> tuple[np.ndarray, float]:
    """One of `world` processes: its share of the pairs, its copy of the network, one gradient for all."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # on the CPU, with one thread each
    os.environ["GLOO_SOCKET_IFNAME"] = "lo0" if sys.platform == "darwin" else "lo"
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    dist.init_process_group("gloo", meeting, timeout=PATIENCE, rank=rank, world_size=world)
    model = still(preset("dual-simclr", profile), seed)
    parallel = DistributedDataParallel(model)
    share = {name: torch.from_numpy(x).chunk(world)[rank] for name, x in views.items()}

    def update() -> None:
        parallel.zero_grad()
        loss = nt_xent(*parallel(share), temperature=0.1)  # gathers the embeddings of all processes
        loss.backward()  # averages the gradients of all processes

    update()
    seconds = min(repeat(update, number=1, repeat=turns))
    dist.destroy_process_group()
    return gradient(model).numpy(), seconds


def processes(views: Views, profile: str, seed: int, turns: int, world: int = 2) -> tuple[Tensor, float]:
    """Gradient, and best seconds of an update, that `world` processes on this computer make together."""
    job = {name: x.numpy() for name, x in views.items()}, profile, seed, turns
    with TemporaryDirectory() as folder, executor(world) as pool:
        running = [pool.submit(process, rank, world, folder, *job) for rank in range(world)]
        for one in as_completed(running):
            one.result()  # raises what stopped a process, and ends the others
        found, seconds = running[0].result()
    return torch.from_numpy(found), seconds


# --- The plan ---


def plan_explorer(pairs: float, pairs_per_s: float, kept: float, watts: float, price: float) -> Any:
    """Hours, energy and price over the number of GPUs, under sliders; `pairs` are those of all epochs."""
    from eo_ssl.show.explore import Explorer

    script = Path(__file__).with_name("ch14.js").with_suffix("")
    return Explorer(str(script), pairs=pairs, rate=pairs_per_s, kept=kept, watts=watts, price=price)


@exercise("the loss of one process", praise="A key gets a gradient from every process that used it.")
def check_rank_loss(rank_loss: Callable[[Tensor, Tensor, int, int, float], Tensor]) -> None:
    random = torch.Generator().manual_seed(0)
    z1, z2 = (F.normalize(torch.randn(6, 4, generator=random), dim=1).requires_grad_() for _ in range(2))
    tau, entropy, both = 0.5, F.cross_entropy, torch.arange(6)
    logits, (first, own) = z1 @ z2.T / tau, both.split(3)
    wanted = entropy(logits[own], own)
    mistakes = {
        "the partner of its first anchor is key rank · n of all N, not key 0": entropy(logits[own], first),
        "the keys of the other processes are missing": entropy(logits[own][:, own], first),
        "that is the loss of all N anchors; a process answers for its own n": entropy(logits, both),
        "take the mean over the anchors, not the sum": 3 * wanted,
        "divide by n, its own anchors, not by N: the mean over processes comes later": wanted / 2,
        "these are the anchors of process 0: the rank is not used": entropy(logits[first], first),
        "divide the cosines by the temperature": entropy(logits[own] * tau**2, own),
        "the temperature is missing": entropy(logits[own] * tau, own),
        "radar asks: the anchors are rows of z1, the keys rows of z2": entropy(logits.T[own], own),
        "in one direction only: radar asks": (wanted + entropy(logits.T[own], own)) / 2,
    }
    got = rank_loss(z1, z2, 1, 2, tau)
    expect(numbers(got).ndim == 0, "Return one number: the mean over the anchors.")
    expect_close(got, wanted, "The loss of process 1 of 2, with 6 pairs", mistakes=mistakes)
    expect(getattr(got, "requires_grad", False), "No gradient flows: return a tensor made from z1 and z2.")
    mean = sum(rank_loss(z1, z2, rank, 2, tau) for rank in range(2)) / 2
    for name, z in (("anchors", z1), ("keys", z2)):
        whole = torch.autograd.grad(entropy(logits, both), z, retain_graph=True)[0]
        part = torch.autograd.grad(mean, z, retain_graph=True, allow_unused=True)[0]
        right = part is not None and torch.allclose(part, whole, atol=1e-6)
        expect(right, f"The {name} have lost their gradient: this process would never move those of others.")


@exercise("the plan", praise="More GPUs buy time; energy and money only grow.")
def check_plan(plan: Callable[..., tuple[float, float, float]]) -> None:
    about = dict(pairs=1e6, epochs=36, pairs_per_s=1000, gpus=8, kept=0.9, watts=500, price=2)

    def bill(efficiency: float, used: float = 8, kilo: float = 1000, unit: float = 3600) -> list[float]:
        hours = 36e6 / (1000 * 8 * efficiency) / unit
        return [hours, used * 500 * hours / kilo, used * 2 * hours]

    mistakes = {
        "eight GPUs are not eight times as fast: multiply by kept ** log2(gpus)": bill(1.0),
        "from 1 to 8 the number of GPUs doubles three times, and each doubling keeps 90%": bill(0.9),
        "kept counts for each doubling, not for each GPU": bill(0.9**8),
        "these are seconds, or made from them; an hour has 3600": bill(0.729, unit=1),
        "all GPUs draw power and cost money, not one of them": bill(0.729, used=1),
        "a kilowatt hour has 1000 watt hours": bill(0.729, kilo=1),
    }
    got = plan(**about)
    expect(np.shape(got) == (3,), "Return three numbers: hours, kilowatt hours, price.")
    expect_close(got, bill(0.729), "The plan for 8 GPUs", mistakes=mistakes)
    expect_close(plan(**about | {"gpus": 1}), [10, 5, 20], "The plan for one GPU")
