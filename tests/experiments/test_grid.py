"""A grid does every cell once: with many workers, where one is lost, after kill −9, after failures."""

import gc
import os
import random
import threading
import time
from pathlib import Path

import forked
import grid_worker
import numpy as np
import psutil
import pytest
import torch

from eo_ssl.data.dataset import open_source
from eo_ssl.errors import CheckpointError, DivergedError, EOError
from eo_ssl.experiments import grid, plan
from eo_ssl.experiments.grid import GridJob, run_grid
from eo_ssl.experiments.plan import PLANS, Cell, Sweep
from eo_ssl.experiments.results import append_result, read_lines, results_path
from eo_ssl.files import read_json, write_json


def lines_of(folder):
    """Lines by key, of which there is one each."""
    lines = read_lines(results_path(folder))
    found = {line["key"]: line for line in lines}
    assert len(found) == len(lines)
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The lines of a grid that nothing interrupted, in one process."""
    folder = tmp_path_factory.mktemp("whole")
    grid_worker.run(folder, workers=1)
    return lines_of(folder)


def kill_one(folder):
    """kill −9 of the first process that trains, as soon as it does."""

    def wait() -> None:
        while not grid_worker.trained(folder):
            time.sleep(0.02)
        psutil.Process(int(grid_worker.trained(folder)[-1][0])).kill()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()


def test_rates_come_first_and_the_others_get_their_lines(whole):
    best = max(grid_worker.NEEDS, key=lambda key: whole[key]["val_score"])
    assert list(whole)[:2] == list(grid_worker.NEEDS) and len(whole) == 12
    assert {line["lr"] for key, line in whole.items() if key not in grid_worker.NEEDS} == {whole[best]["lr"]}


def test_a_dask_cluster_that_loses_a_worker_ends_with_the_same_lines(whole, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setenv(grid_worker.SECONDS, "0.2")
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster:
        kill_one(tmp_path)
        grid_worker.run(tmp_path, scheduler=cluster.scheduler_address)
    assert lines_of(tmp_path) == whole and len(grid_worker.trained(tmp_path)) > len(whole)


def slowly(folder, workers):
    """The grid in a process to be killed."""
    grid_worker.run(folder, workers=workers)


@pytest.mark.kill
def test_a_grid_killed_again_and_again_ends_with_the_same_lines(whole, tmp_path):
    rng = random.Random(0)
    for workers in (2, 1):
        before = len(grid_worker.trained(tmp_path))
        process = forked.start(slowly, tmp_path, workers, **{grid_worker.SECONDS: "0.3"})
        while process.is_alive() and len(grid_worker.trained(tmp_path)) == before:
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.6))
        helpers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.join()
        assert not psutil.wait_procs(helpers, timeout=30)[1]  # they end with the one they work for
    grid_worker.run(tmp_path, workers=1)
    assert lines_of(tmp_path) == whole


def test_a_failing_cell_stops_only_those_that_need_it_and_is_tried_again_next_time(tmp_path, monkeypatch):
    cells = (*grid_worker.CELLS, Cell("single", "s2", 1.0, 9, needs=(grid_worker.CELLS[5].key,)))
    monkeypatch.setattr(grid_worker, "CELLS", cells)
    with pytest.raises(EOError, match=r"3 of 13 cells failed, first single late f=1 s=3: diverged; see"):
        grid_worker.run(tmp_path, "broken", workers=1)
    assert len(lines_of(tmp_path)) == 10 and "RuntimeError" in (tmp_path / "failures.log").read_text()
    before = len(grid_worker.trained(tmp_path))
    with pytest.raises(EOError, match=r"3 of 13"):
        grid_worker.run(tmp_path, "broken", workers=1)
    assert len(grid_worker.trained(tmp_path)) == before + 2


@pytest.mark.parametrize(("data", "code"), [("other", "code"), ("data", "other")])
def test_a_finished_grid_trains_nothing_until_data_or_code_change(tmp_path, monkeypatch, data, code):
    monkeypatch.setattr(grid, "training_code", lambda: "code")
    for _ in range(2):
        table = grid_worker.run(tmp_path, workers=1)
    assert len(table) == len(grid_worker.trained(tmp_path)) == 12
    monkeypatch.setattr(grid, "training_code", lambda: code)
    assert len(grid_worker.run(tmp_path, data, workers=1)) == 12  # the last line of a key counts
    assert len(read_lines(results_path(tmp_path))) == 24


def test_missing_pretraining_names_the_command(tmp_path):
    with pytest.raises(CheckpointError, match="eo-ssl pretrain dual-simclr --preset smoke"):
        run_grid(GridJob("smoke", "data", str(tmp_path)))


def test_the_stamp_changes_with_the_data_and_the_checkpoint(tmp_path):
    cell, patch = Cell("single", "dual-frozen", 1.0, 0), tmp_path / "data" / "ROIs0000_test_s2_0_p1.tif"
    patch.parent.mkdir()
    folder = tmp_path / "pretrain" / "dual-simclr-resnet_nano-seed0"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    stamps = set()
    for pixels in ("old", "mended in place"):
        for weights in (b"a", b"b"):
            patch.write_text(pixels)
            (folder / "model.safetensors").write_bytes(weights)
            stamps.add(GridJob("smoke", str(patch.parent), str(tmp_path)).stamp(cell))
    assert len(stamps) == 4


# How many workers, and where they work


@pytest.mark.parametrize(
    ("allowed", "names"), [("", ["0", "1", "2"]), ("2,5", ["2", "5"]), ("GPU-a, GPU-b", ["GPU-a", "GPU-b"])]
)
def test_workers_take_in_turn_the_gpus_that_this_process_may_use(monkeypatch, allowed, names):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert grid.gpu_names() == names
    numbers = grid.multiprocessing.get_context("spawn").SimpleQueue()
    for number in range(4):
        numbers.put(number)
        grid._begin_worker(numbers, names, torch.get_num_threads())
        assert os.environ["CUDA_VISIBLE_DEVICES"] == names[number % len(names)]


@pytest.mark.parametrize(
    ("profile", "gpus", "gpu_bytes", "cores", "memory", "workers"),
    [("paper", 1, 80e9, 16, 1e12, 3), ("paper", 1, 80e9, 2, 1e12, 1), ("paper", 4, 16e9, 64, 1e12, 4),
     ("paper", 8, 80e9, 8, 1e12, 8), ("paper", 1, 80e9, 16, 1e9, 1), ("paper", 0, 0, 16, 100e9, 16),
     ("paper", 0, 0, 16, 9e9, 9), ("paper", 0, 0, 16, 1e9, 1), ("laptop", 0, 0, 2, 1e12, 2), ("laptop", 0, 0, 32, 1e12, 3)],
)  # fmt: skip
def test_as_many_workers_as_cores_memory_and_gpus_allow(
    monkeypatch, profile, gpus, gpu_bytes, cores, memory, workers
):
    monkeypatch.setattr("eo_ssl.train.devices.device_type", lambda accelerator: "cuda" if gpus else "cpu")
    monkeypatch.setattr(grid, "cores", lambda: cores)
    monkeypatch.setattr(grid, "gpu_names", lambda: ["0"] * gpus)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (gpu_bytes, gpu_bytes))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": memory}))
    assert grid.default_workers(GridJob(profile, "data", "run")) == workers
    # A whole run at laptop stays below six gigabytes on any number of cores.
    assert profile == "paper" or grid.COURSE_BYTES + workers * grid.PROCESS_BYTES <= 6e9


# Real models


@pytest.fixture
def job(simulated, tmp_path, monkeypatch):
    """A grid of few cells: two methods from scratch, two rates to choose from."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    parts = {"fusion": (Sweep("single", ("s1", "late"), (0.5, 1.0)), Sweep("multi", ("late",)))}
    monkeypatch.setitem(plan.PLANS, "smoke", plan.replace(PLANS["smoke"], parts=parts, rates=(1e-3, 1e-2)))
    yield GridJob("smoke", str(simulated), str(tmp_path), accelerator="cpu")
    torch.set_num_threads(threads)


def timeless(lines):
    clock = ("seconds", "energy_wh", "samples_per_s")
    return {key: {k: v for k, v in line.items() if k not in clock} for key, line in lines.items()}


def test_an_interrupted_grid_resumes_tests_each_model_once_and_every_seed_tries_every_rate(
    job, tmp_path_factory, monkeypatch
):
    run_grid(job, workers=1)
    wanted, resumed = timeless(lines_of(job.folder)), tmp_path_factory.mktemp("resumed")
    again, left = plan.replace(job, run_dir=str(resumed)), [0, 0, 0]

    def three_lines(*line):
        if not left:
            raise KeyboardInterrupt
        left.pop()
        append_result(*line)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(grid, "append_result", three_lines)
        run_grid(again, workers=1)
    assert len(lines_of(resumed)) == 3
    table = run_grid(again, workers=1)
    assert timeless(lines_of(resumed)) == wanted and len(table) == 9
    final, tuned = table[~table["tuning"]], table[table["tuning"]]
    assert len(final) == 5 and (final["test_reads"] == 1).all() and final["test.aa"].notna().sum() == 4
    assert tuned["test_reads"].isna().all()  # choosing a rate never opens the test set
    assert set(tuned["updates"]) == {PLANS["smoke"].classify.updates}
    for _, line in final.iterrows():  # the rate with the best mean validation score is taken by all
        means = tuned[tuned["method"] == line["method"]].groupby("lr")["val_score"].mean()
        assert line["rates"] == {f"{rate:g}": pytest.approx(score) for rate, score in means.items()}
        assert line["lr"] == means.idxmax()
    kept = {path.name for path in (resumed / "models").iterdir()}  # none that only tried a rate
    assert kept == {"single_s1_f=1_s=0", "single_late_f=1_s=0", "multi_late_f=1_s=0"}
    with np.load(resumed / "counts" / "single_late_f=1_s=0.npz", allow_pickle=False) as file:
        tested = table.set_index("key").loc["single late f=1 s=0"]
        assert file["counts"].sum(0).tolist() == tested["test.confusion"]


def test_the_model_that_tried_the_best_rate_is_the_one_that_would_be_trained_again(job):
    run_grid(job, workers=1)
    found = lines_of(job.folder)
    key = "single late f=1 s=0"
    final = found[key]
    tried = found[f"{key} lr={final['lr']:g}"]
    assert final["history"] == tried["history"] and final["seconds"] == tried["seconds"]  # not trained twice
    model = job.folder / "models" / "single_late_f=1_s=0" / "model.safetensors"
    weights = model.read_bytes()
    model.unlink()
    path = results_path(job.folder)
    path.write_text("".join(line for line in path.open() if f'"{key}"' not in line))
    run_grid(job, workers=1)
    assert timeless(lines_of(job.folder)) == timeless(found) and model.read_bytes() == weights


def test_a_rate_too_large_to_train_with_loses_and_stops_nothing(job, monkeypatch):
    from eo_ssl.train.finetune import finetune as trained

    def diverges(config, **options):
        if config.lr_head == 1e-2:
            raise DivergedError("the loss is nan after 2 updates; lower the learning rate")
        return trained(config, **options)

    monkeypatch.setattr("eo_ssl.train.finetune.finetune", diverges)
    table = run_grid(job, workers=1)
    assert set(table[~table["tuning"]]["lr"]) == {1e-3}


def mapped_share(job: GridJob) -> None:
    """Of the packed patches that this process has read: their memory (RSS) and its share of it (PSS), in bytes."""
    data = grid._read(job.data, job.version)
    for split in (data.train, data.val, data.test):
        split.kept(torch.device("cpu"))
    (job.folder / f"read-{os.getpid()}").touch()
    while len(list(job.folder.glob("read-*"))) < 2:  # until the other has read them, too
        time.sleep(0.05)
    maps = [one for one in psutil.Process().memory_maps() if one.path.endswith(".npy")]
    share = [sum(one.rss for one in maps), sum(one.pss for one in maps)]
    write_json(job.folder / f"share-{os.getpid()}.json", share)
    time.sleep(1)  # until the other has looked, too


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux tells the share of a process")
def test_all_workers_share_one_copy_of_the_labelled_patches(job):
    assert job.version  # goes with the job
    open_source(job.data)  # packs, as the coordinating process does
    grid._read.cache_clear()  # a test before may have left a third reader here
    gc.collect()
    for process in [forked.start(mapped_share, job) for _ in range(2)]:
        process.join(120)
    found = [read_json(path) for path in job.folder.glob("share-*.json")]
    assert len(found) == 2
    assert all(whole > 1e6 and share < 0.75 * whole for whole, share in found)
