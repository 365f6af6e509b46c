"""Packing is killed at random moments, run again, and ends with the bytes of an uninterrupted run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fake_patches as fake
import numpy as np
import psutil
import pytest

from eo_ssl.data import store as pack, store

WORKER = Path(__file__).with_name("pack_worker.py")
KILLS = 20


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    patches = [
        patch
        for scene in range(12)
        for patch in fake.sen12ms(scene=scene, numbers=range(30, 46), epsg=32601 + scene, across=4)
    ]
    return fake.make(tmp_path_factory.mktemp("data"), patches, size=48)


def contents(folder):
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths}


def start(root, out, workers):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, str(WORKER), str(root), str(out), str(workers)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    assert process.stdout.readline() == b"started\n"
    return process


@pytest.mark.kill
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_run_killed_at_twenty_random_moments_ends_like_an_uninterrupted_one(root, tmp_path):
    expected = contents(pack.pack(root, tmp_path / "whole"))
    process = start(root, tmp_path / "timed", 1)
    begun = time.monotonic()
    assert process.communicate()[0] == b"finished\n"
    seconds = time.monotonic() - begun
    rng = np.random.default_rng(0)
    killed, resumed = 0, 0
    for k in range(KILLS):
        out = tmp_path / f"killed-{k}"
        workers = 2 if k % 5 == 0 else 1  # processes take longer to start than this set to pack
        process = start(root, out, workers)
        time.sleep(rng.uniform(0, 0.8 * seconds))
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        resumed += len(list(out.rglob("*.json"))) > 0 and not store.is_store(out)
        _, alive = psutil.wait_procs(children, timeout=20)
        assert not alive, "a worker outlived the process that was killed"
        pack.pack(root, out)
        assert contents(out) == expected
        assert pack.verify(out) == []
    assert killed >= KILLS // 2 and resumed >= 3, "killed too late or too early to test anything"


@pytest.mark.kill
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_one_store_killed_again_and_again_still_gets_finished(root, tmp_path):
    expected = contents(pack.pack(root, tmp_path / "whole"))
    out = tmp_path / "store"
    rng = np.random.default_rng(1)
    for _ in range(5):
        process = start(root, out, 1)
        time.sleep(rng.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
    pack.pack(root, out)
    assert contents(out) == expected
