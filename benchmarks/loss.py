"""Time and memory of the contrastive losses, forward and backward, against their plain forms and lightly.

    python benchmarks/loss.py                      # N = 256 … 16,384 pairs of 128 numbers
    python benchmarks/loss.py --sizes 256 1024 --json loss.json --device cuda

Time: the methods take turns in one process, so that a busy machine slows all of them; the best of the turns.
Memory: one fresh process each, peak minus what it held before. A method that would need more than half of the
memory at hand is left out and says so. The targets: ours ≤ plain at equal N, memory linear in N.
On a machine that others use too, `OMP_NUM_THREADS=1` gives steadier numbers.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import torch
import torch.nn.functional as F
from lightly.loss import NTXentLoss
from torch import Tensor

from eo_ssl.losses import clip_loss, nt_xent

DIM, TEMPERATURE = 128, 0.1
MIB = 2**20


def plain_nt_xent(z1: Tensor, z2: Tensor) -> Tensor:
    z = F.normalize(torch.cat([z1, z2]))
    logits = (z @ z.T / TEMPERATURE).fill_diagonal_(-torch.inf)
    return F.cross_entropy(logits, torch.arange(len(z), device=z.device).roll(len(z1)))


def plain_clip(z1: Tensor, z2: Tensor) -> Tensor:
    logits = F.normalize(z1) @ F.normalize(z2).T / TEMPERATURE
    target = torch.arange(len(z1), device=z1.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


METHODS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "nt_xent plain": plain_nt_xent,
    "nt_xent lightly": NTXentLoss(TEMPERATURE),
    "nt_xent ours": lambda z1, z2: nt_xent(z1, z2, TEMPERATURE),
    "clip plain": plain_clip,
    "clip ours": lambda z1, z2: clip_loss(z1, z2, TEMPERATURE),
}


def expected_bytes(method: str, pairs: int) -> int:
    """A cautious guess of the peak: the plain forms hold about five square matrices."""
    side = pairs if method.startswith("clip") else 2 * pairs
    return 0 if method.endswith("ours") else (8 if "lightly" in method else 5) * 4 * side * side


def inputs(pairs: int, device: str) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(pairs, DIM, generator=generator).to(device).requires_grad_() for _ in range(2)]


def run(method: str, z: list[Tensor], device: str) -> float:
    """Seconds of one forward and backward pass."""
    for x in z:
        x.grad = None
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    METHODS[method](*z).backward()
    wait()
    return time.perf_counter() - start


def times(methods: list[str], pairs: int, device: str) -> dict[str, float]:
    """Best seconds of each method; the methods take turns."""
    z = inputs(pairs, device)
    first = {method: run(method, z, device) for method in methods}
    turns = max(3, min(50, int(6 / sum(first.values()))))
    taken = {method: [] for method in methods}
    for _ in range(turns):
        for method in methods:
            taken[method].append(run(method, z, device))
    return {method: min(values) for method, values in taken.items()}


def peak(method: str, pairs: int, device: str) -> int:
    """Peak bytes of one pass above what the process held before (call it in a fresh process)."""
    z = inputs(pairs, device)
    run(method, inputs(8, device), device)  # libraries load what they need
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run(method, z, device)
        return torch.cuda.max_memory_allocated() - before
    before = peak_rss(reset=True)
    run(method, z, device)
    return peak_rss() - before


def peak_rss(reset: bool = False) -> int:
    """Highest resident bytes of this process, on Linux since the last reset."""
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def peak_in_fresh_process(method: str, pairs: int, device: str) -> int:
    command = [sys.executable, __file__, "--peak", method, "--sizes", str(pairs), "--device", device]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(pairs: int, device: str) -> list[dict]:
    at_hand = torch.cuda.mem_get_info()[0] if device == "cuda" else psutil.virtual_memory().available
    fits = [method for method in METHODS if expected_bytes(method, pairs) < at_hand / 2]
    seconds = times(fits, pairs, device)
    rows = []
    for method in METHODS:
        row = {"method": method, "pairs": pairs, "seconds": None, "ratio": None, "peak_mib": None}
        if method in fits:
            plain = seconds.get(f"{method.split()[0]} plain")
            row |= {
                "seconds": seconds[method],
                "ratio": seconds[method] / plain if plain else None,
                "peak_mib": peak_in_fresh_process(method, pairs, device) / MIB,
            }
        rows.append(row)
    return rows


def show(row: dict) -> str:
    if row["seconds"] is None:
        need = expected_bytes(row["method"], row["pairs"]) / 2**30
        return f"{row['pairs']:>7,}  {row['method']:<16} left out: about {need:.0f} GiB needed"
    ratio = "–" if row["ratio"] is None else f"{row['ratio']:.2f}"
    time_and_peak = f"{row['seconds'] * 1e3:>10.1f}  {ratio:>8}  {row['peak_mib']:>9.0f}"
    return f"{row['pairs']:>7,}  {row['method']:<16} {time_and_peak}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024, 2048, 4096, 8192, 16384])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", help="write the rows to this file")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print(peak(options.peak, options.sizes[0], options.device))
        return
    name = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor() or "CPU"
    print(f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}, D = {DIM}, float32")
    print(f"{'pairs':>7}  {'method':<16} {'ms':>10}  {'/ plain':>8}  {'peak MiB':>9}")
    rows = []
    for pairs in options.sizes:
        rows += measure(pairs, options.device)
        print("\n".join(show(row) for row in rows[-len(METHODS) :]), flush=True)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"device": name, "torch": torch.__version__, "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
