"""kill -9 at random moments of training, then resume: the same final weights each time."""

import random
import time
from pathlib import Path

import forked
import pytest
import torch
from safetensors.torch import load_file
from toy_pairs import ToySource

from eo_ssl.train.config import DualSimCLRConfig
from eo_ssl.train.pretrain import pretrain

pytestmark = [pytest.mark.kill, pytest.mark.skipif(not forked.FORKS, reason="needs fork")]
KILLS = 4
CONFIG = DualSimCLRConfig(
    backbone="resnet_nano", image_size=16, batch_size=32, epochs=5, warmup_epochs=1.0, precision="32"
)


def train(folder: Path) -> None:
    torch.set_num_threads(1)
    assert pretrain(CONFIG, ToySource(), folder, accelerator="cpu", progress=False).done


def run(folder: Path, seconds: float | None = None) -> bool:
    """Train in a folder, for some seconds or to the end: whether it came there."""
    process = forked.start(train, folder)
    process.join(seconds)
    process.kill()
    process.join()
    return process.exitcode == 0


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(next(folder.rglob("model.safetensors")))


def test_killed_and_resumed_runs_end_with_the_same_weights(tmp_path):
    run(tmp_path / "warm-up")
    begun = time.monotonic()
    assert run(tmp_path / "whole")
    duration, expected = time.monotonic() - begun, weights(tmp_path / "whole")
    moments, kills = random.Random(0), 0
    for folder in (tmp_path / str(number) for number in range(4 * KILLS)):
        if run(folder, moments.uniform(0.05, 0.95) * duration):
            duration *= 0.9  # it was faster than the ones before
            continue
        kills += 1
        for _ in range(kills % 3):  # and again
            run(folder, moments.uniform(0.05, 0.5) * duration)
        assert run(folder), "the run does not go on after a kill"
        torch.testing.assert_close(weights(folder), expected, rtol=0, atol=0)
        if kills == KILLS:
            return
    pytest.fail("most runs ended before they were killed")
