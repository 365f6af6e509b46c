"""What makes Dual-SimCLR generalise? The head that it is trained with, and the number of places it is trained on.

    python benchmarks/places_and_heads.py      # some minutes on two CPU cores

Two heads (on the pooled feature, as published, and on the last map at 2 × 2 places), each on about 1,800 pairs: from 37
large scenes of 49 overlapping patches, and from the 192 small scenes of the course. Network, settings, epochs and the 196
held-out pairs of four scenes are the same for all, and updates about the same (182 and 169); no label is read. Written to
`book/results/places_and_heads.json`, which chapter 05 shows.
"""

import argparse
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")

import torch

from eo_ssl.course.session import project_root, simulated
from eo_ssl.data.dataset import open_source
from eo_ssl.data.source import Source
from eo_ssl.files import write_json
from eo_ssl.losses import chance_level
from eo_ssl.profiles import get_profile
from eo_ssl.provenance import commit, machine
from eo_ssl.simulate import simulate, world
from eo_ssl.train.config import preset
from eo_ssl.train.loop import Overlaps
from eo_ssl.train.pretrain import pretrain

MEASURES = ("val_loss", "val_top1", "val_top5", "val_chance_top5")


def few_scenes(out: Path) -> Path:
    """As many pairs as the laptop set has, from 37 scenes."""
    world.PROFILES["few"] = replace(
        world.profile_named("laptop"), name="few", scenes=(37, 0, 0), grid=(7, 4, 4)
    )
    return simulate(out / "few-scenes", "few", seed=0)


def judged_by(source: Source) -> dict[str, float]:
    """How many held-out pairs there are, of how many scenes, and the loss of guessing where shared ground is masked."""
    rows = torch.as_tensor(source.rows("pretrain_val"))
    strangers = ~Overlaps(source.catalog)(rows)  # False on the diagonal
    scenes = source.catalog["scene"].iloc[rows.numpy()].nunique()
    guessing = chance_level(strangers.numpy())
    return {"held_out": len(rows), "held_out_scenes": int(scenes), "guessing": guessing}


def main() -> None:
    """Train the four, compare them on the held-out pairs, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=Path("runs/places-and-heads"), help="where data and models go"
    )
    parser.add_argument("--json", type=Path, default=project_root() / "book/results/places_and_heads.json")
    parser.add_argument("--epochs", type=int, default=13, help="half of those of the course by default")
    asked = parser.parse_args()
    rows = []
    for root in (few_scenes(asked.out), simulated(get_profile("laptop"), 0)):
        source = open_source(root)
        train = source.catalog[source.catalog["split"] == "pretrain"]
        for grid in (1, 2):
            usual = preset("dual-simclr", "laptop", epochs=asked.epochs)
            found = pretrain(usual.with_(head_grid=grid), source, asked.out / f"{root.name}-head{grid}")
            facts = {"scenes": int(train["scene"].nunique()), "pairs": len(train), "head_grid": grid}
            facts |= {name: found.metrics[name] for name in MEASURES}
            rows.append({**facts, **judged_by(source)})
            print(rows[-1])
    about = {
        "profile": "laptop",
        "epochs": asked.epochs,
        "machine": machine(),
        "commit": commit(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }
    write_json(asked.json, {**about, "rows": rows})


if __name__ == "__main__":
    main()
