"""Imports once, then forks a process per line of input: `FOLDER SECONDS` trains there and is killed after SECONDS.

SECONDS of 0 lets it finish. Answers each line with the process's exit status and how long it ran.
"""

import os
import signal
import sys
import time

import torch
from toy_pairs import ToySource

from eo_ssl.provenance import commit, training_code
from eo_ssl.train.config import DualSimCLRConfig
from eo_ssl.train.pretrain import pretrain

torch.set_num_threads(1)  # before any fork: a child has no use of its parent's threads
CONFIG = DualSimCLRConfig(
    backbone="resnet_nano", image_size=16, batch_size=32, epochs=5, warmup_epochs=1.0, precision="32"
)
SOURCE = ToySource()
commit(), training_code()  # ask git and read sources, remember


def train(folder: str) -> None:
    """The child: never returns."""
    status = 1
    try:
        result = pretrain(CONFIG, SOURCE, folder, accelerator="cpu", progress=False)
        status = 0 if result.done else 2
    finally:
        os._exit(status)


def main() -> None:
    for line in sys.stdin:
        folder, seconds = line.rsplit(maxsplit=1)
        begin = time.perf_counter()
        child = os.fork()
        if child == 0:
            train(folder)
        if float(seconds):
            time.sleep(float(seconds))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), time.perf_counter() - begin, flush=True)


if __name__ == "__main__":
    main()
