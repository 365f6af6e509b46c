"""How many threads PyTorch should use here: on a busy computer fewer are often much faster.

PyTorch's threads wait for each other after every operation. As soon as another program keeps one of the
cores busy, all of them wait for the slowest: a convolution on two threads then takes up to ten times as
long as on one. No rule tells when that happens, so it is measured, once, before the chapters run.
"""

import os
import subprocess
import sys

FULL_USE = 0.85  # more threads must save at least this share of the time to be worth their cores


def choose(seconds: dict[int, float]) -> int:
    """The number of threads to use, given the measured time of the same work on each.

    More threads are taken only where they are clearly faster.

    >>> choose({1: 1.0, 2: 0.55})
    2
    >>> choose({1: 0.11, 2: 1.2})
    1
    """
    best = min(seconds)
    for threads in sorted(seconds):
        if seconds[threads] < FULL_USE * seconds[best]:
            best = threads
    return best


def candidates(cores: int) -> list[int]:
    """Numbers of threads worth trying on `cores` cores: all, all but one, half of them, one.

    >>> candidates(2), candidates(8)
    ([1, 2], [1, 4, 7, 8])
    """
    return sorted({n for n in (1, cores // 2, cores - 1, cores) if n >= 1})


def measure(numbers: list[int], rounds: int = 3) -> dict[int, float]:
    """Seconds of a few convolutions, forward and backward, on each number of threads: the median of `rounds`."""
    import statistics
    import time

    import torch

    net = torch.nn.Sequential(*(torch.nn.Conv2d(32, 32, 3, padding=1) for _ in range(4)))
    x = torch.randn(32, 32, 32, 32)

    def step() -> float:
        began = time.perf_counter()
        net(x).square().mean().backward()
        return time.perf_counter() - began

    seconds: dict[int, list[float]] = {n: [] for n in numbers}
    for _ in range(rounds + 1):  # in turn, so that a passing disturbance meets all of them
        for n in numbers:
            torch.set_num_threads(n)
            seconds[n].append(step())
    return {n: statistics.median(times[1:]) for n, times in seconds.items()}  # the first warms up


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fitting() -> int:
    """The number of threads that suits this computer now, measured in a process of its own.

    A process of its own, because the caller need not load PyTorch, and because the number cannot be
    raised again in a process whose threads have started. Where it cannot be measured: all cores.
    """
    code = "from eo_ssl.course import threads as t; print(t.choose(t.measure(t.candidates(t.cores()))))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    return int(found.stdout) if found.returncode == 0 else cores()
