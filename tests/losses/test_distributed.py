"""Two processes give the loss and the gradients of one process on the whole batch."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from eo_ssl.losses import gather, mean_over_ranks

WORKER = Path(__file__).with_name("gloo_worker.py")
_spec = importlib.util.spec_from_file_location("gloo_worker", WORKER)
worker = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(worker)


@pytest.fixture(scope="module", params=[2])
def ranks(request, tmp_path_factory):
    folder, world = tmp_path_factory.mktemp("gloo"), request.param
    run = [[sys.executable, str(WORKER), str(rank), str(world), str(folder)] for rank in range(world)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    processes = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) for command in run]
    try:
        for process in processes:
            _, stderr = process.communicate(timeout=120)
            assert process.returncode == 0, stderr.decode()[-2000:]
    finally:
        for process in processes:
            process.kill()
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(world)]


@pytest.mark.parametrize("setting", worker.settings(), ids=lambda s: f"{s[0]}-{s[1]}-{s[2]}")
def test_loss_and_gradients_equal_one_process_on_the_whole_batch(ranks, setting):
    name, masked, chunk = setting
    model = worker.Branches(name.startswith("mma")).double()
    expected = worker.step(name, model, slice(0, worker.PAIRS), masked, None)
    assert expected["one.weight"].abs().max() > 1e-3
    for results in ranks:
        found = results[f"{name}/{masked}/{chunk}"]
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(
                found[key], value, rtol=1e-5, atol=1e-10, msg=lambda m, k=key: f"{k}: {m}"
            )


def test_all_ranks_stop_together_where_one_is_wrong(ranks):
    for results in ranks:
        assert "unequal batches" in results["errors"]["unequal"]
        assert "NaN or infinite" in results["errors"]["nan"]


def test_one_process_needs_no_setup():
    x = torch.randn(3, 2)
    assert gather(x) is x
    assert mean_over_ranks(x.sum()).equal(x.sum())
