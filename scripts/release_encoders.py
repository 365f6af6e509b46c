"""Train the encoders that are released with the course: the same methods on four times the places, for longer.

    python scripts/release_encoders.py            # about an hour on two CPU cores; run it again to go on

Simulates 768 scenes, pretrains Dual-SimCLR and MMA on them with the settings of the laptop profile but more updates,
and writes each to `book/results/encoders/`: weights and heads in half precision, settings, model card, training curve.
The held-out places are those of the course, which never train. No label is read.
"""

import argparse
import os
import shutil
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from safetensors.torch import load_file, save_file

from eo_ssl.course.session import project_root
from eo_ssl.data.dataset import open_source
from eo_ssl.files import cache_dir
from eo_ssl.simulate import simulate
from eo_ssl.train.checkpoint import FILES
from eo_ssl.train.config import preset
from eo_ssl.train.pretrain import pretrain

EPOCHS = {"dual-simclr": 60, "mma": 16}  # of 54 updates each


def release(folder: Path, target: Path) -> None:
    """Copy a checkpoint to `target`, its floating point weights halved in size."""
    target.mkdir(parents=True, exist_ok=True)
    for name in (*FILES, "metrics.csv"):
        if name.endswith(".safetensors"):
            weights = load_file(folder / name)
            halved = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
            if wrong := [
                k for k, v in halved.items() if v.is_floating_point() and not torch.isfinite(v).all()
            ]:
                raise ValueError(f"{folder / name}: {wrong[0]} does not fit half precision")
            save_file(halved, target / name, metadata={"format": "pt"})
        else:
            shutil.copyfile(folder / name, target / name)


def main() -> None:
    """Simulate, train what is missing, and release it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, default=cache_dir() / "simulated-many", help="where the scenes go"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/released"), help="where training happens")
    parser.add_argument("--only", choices=EPOCHS, help="one of the methods")
    asked = parser.parse_args()
    source = open_source(simulate(asked.data, "many", seed=0))
    for method in [asked.only] if asked.only else EPOCHS:
        usual = preset(method, "laptop")
        found = pretrain(usual.with_(epochs=EPOCHS[method]), source, asked.out)
        release(found.folder, project_root() / "book/results/encoders" / method)


if __name__ == "__main__":
    main()
