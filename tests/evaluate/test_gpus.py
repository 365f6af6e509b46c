"""Each process of a grid works on a GPU of its own choice, told before CUDA starts, within what was allowed."""

import os

import pytest
import torch

from eo_ssl.evaluate import gpus, label_fractions
from eo_ssl.evaluate.job import GridJob


@pytest.mark.parametrize(
    ("allowed", "names"), [("", ["0", "1", "2"]), ("2,5", ["2", "5"]), ("GPU-a, GPU-b", ["GPU-a", "GPU-b"])]
)
def test_only_gpus_that_this_process_may_use_are_handed_on(monkeypatch, allowed, names):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert gpus.names() == names


@pytest.mark.parametrize(
    ("count", "free", "cores", "processes"),
    [(1, 80e9, 16, 3), (1, 80e9, 2, 1), (2, 80e9, 16, 4), (4, 16e9, 64, 4), (8, 80e9, 8, 8)],
)
def test_as_many_processes_share_a_gpu_as_memory_and_cores_allow(count, free, cores, processes):
    assert gpus.processes(count, free, cores) == processes


def test_workers_take_gpus_in_turn_whatever_the_parent_was_given(monkeypatch, tmp_path):
    started = []

    class Process:
        def __init__(self, target, args, daemon):
            started.append(args)

        def start(self):
            pass

        def is_alive(self):
            return False

    class Context:
        pass

    Context.Process = Process
    monkeypatch.setattr(label_fractions.multiprocessing, "get_context", lambda _: Context)
    monkeypatch.setattr("eo_ssl.train.devices.device_type", lambda _: "cuda")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    job = GridJob("smoke", "data", str(tmp_path), accelerator="cuda")
    label_fractions._spawn(job, label_fractions.Grid("none", ()), 3, progress=False)
    assert [(args[1], args[4]) for args in started] == [(0, "4"), (1, "7"), (2, "4")]


def test_a_worker_sets_its_gpu_before_it_works(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    monkeypatch.setattr(label_fractions, "work", lambda *_: seen.append(os.environ["CUDA_VISIBLE_DEVICES"]))
    monkeypatch.setattr(GridJob, "grid", lambda self: None)
    threads = torch.get_num_threads()
    label_fractions.worker(GridJob("smoke", "data", str(tmp_path), accelerator="cpu"), 1, 2, False, "7")
    torch.set_num_threads(threads)
    assert seen == ["7"]
