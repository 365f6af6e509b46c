"""Three losses between two sensors, with and without a second view, at equal budget; and what alignment loses.

    python benchmarks/what_came_after.py      # about 20 minutes on two CPU cores; run it again to go on

Each of six variants (NT-Xent, sigmoid, Barlow Twins; between the sensors, and within each as well) and one that never
lets the sensors meet is trained with three seeds. All encode as many images; with a second view that is half as
many updates. The rate of each loss is the best of three on held-out pairs, tried across the sensors with one seed and half
of the budget; the variants with pairs within a sensor take it over. No label is read for it. Written to
`book/results/what_came_after.json`, which chapter 12 shows.
"""

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from eo_ssl.course.session import project_root, simulated

sys.path.insert(0, str(project_root() / "notebooks"))

from chapters import ch12
from chapters.ch02 import confusion_counts
from eo_ssl.data.dataset import Loader, PatchDataset, open_source
from eo_ssl.data.georef import spatial_blocks
from eo_ssl.evaluate.intervals import Interval, hierarchical_interval, paired_difference
from eo_ssl.evaluate.metrics import average_accuracy
from eo_ssl.files import read_json, write_json
from eo_ssl.parallel import cores
from eo_ssl.profiles import get_profile
from eo_ssl.provenance import commit, machine
from eo_ssl.sensors import IGNORE
from eo_ssl.train.config import preset

SEEDS = (0, 1, 2)
RATES = (7e-4, 2e-3, 6e-3)
SCENES = 240
Job = tuple[ch12.Variant | None, int, float, int]  # variant (None: untrained), seed, rate, epochs


def measure(job: Job, out: Path, profile: str, judge: bool) -> Path:
    """Train one model and write what is asked of it: held-out pairs, and with `judge` classification and probes."""
    variant, seed, rate, epochs = job
    name = variant.name if variant else "untrained"
    target = out / f"{name} rate={rate:g} epochs={epochs} seed={seed}.npz"
    if target.is_file():
        return target
    source, config = open_source(simulated(get_profile(profile), 0)), preset("dual-simclr", profile)
    if variant:
        model, found = ch12.train(variant, source, config, epochs, rate, seed)
    else:
        model, found = ch12.untrained(config.with_(seed=seed)), {}
    arrays = {"held_out": np.array([found.get("val_mrr", 0), found.get("val_top5", 0)])}
    if judge:
        images, places = kept_places(out)
        known = ch12.features(model, images)
        arrays |= {f"probe {factor}": ch12.probe(known, places, factor) for factor in ch12.FACTORS}
        arrays["scene"] = places["scene"].to_numpy()
        arrays["counts"], arrays["blocks"] = classified(model, source, config.image_size)
    half = target.with_suffix(".half.npz")
    np.savez_compressed(half, **arrays)
    half.replace(target)
    print(f"{target.stem}: partner among five {arrays['held_out'][1]:.3f}", flush=True)
    return target


def classified(encoders: torch.nn.Module, source: Any, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Land cover by logistic regression on frozen features: counts (N, 8, 8) per test patch, and their blocks (N,)."""
    statistics, known = source.stats("pretrain"), {}
    for split in ("train", "test"):
        tiles = PatchDataset(source, source.rows(split), size, "centre", statistics=statistics, labels=True)
        batches = list(Loader(tiles, 128, shuffle=False))
        found = [ch12.features(encoders, batch) for batch in batches]
        label = torch.cat([batch["label"] for batch in batches]).numpy()
        rows = torch.cat([batch["index"] for batch in batches]).numpy()
        there = label != IGNORE
        known[split] = np.concatenate(found)[there], label[there], rows[there]
    learner = LogisticRegression(C=0.01, class_weight="balanced", max_iter=500)
    learner = make_pipeline(StandardScaler(), learner).fit(*known["train"][:2])
    x, truth, rows = known["test"]
    blocks = spatial_blocks(source.catalog.iloc[rows], source.patch_size)
    return confusion_counts(truth, learner.predict(x)), blocks


def kept_places(out: Path) -> tuple[dict[str, torch.Tensor], pd.DataFrame]:
    """Images and factors of the patches for probes, as `main` has kept them."""
    with np.load(out / "places.npz") as file:
        images = {name: torch.from_numpy(file[name]) for name in ("s1", "s2")}
        return images, pd.DataFrame({name: file[name] for name in ("scene", *ch12.FACTORS)})


def kept(found: Interval) -> list[float]:
    """Value, low and high, rounded, as they stand in the table."""
    return [round(float(value), 4) for value in (found.value, found.low, found.high)]


def main() -> None:
    """Choose rates, train all, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/what-came-after"), help="where results go")
    parser.add_argument("--json", type=Path, default=project_root() / "book/results/what_came_after.json")
    parser.add_argument("--epochs", type=int, default=6, help="over the pairs, of a variant with one view")
    parser.add_argument("--profile", default="laptop")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    root, config = simulated(get_profile(asked.profile), 0), preset("dual-simclr", asked.profile)
    if not (asked.out / "places.npz").is_file():
        images, places = ch12.unseen_places(open_source(root), config.image_size, SCENES)
        arrays = {name: image.numpy() for name, image in images.items()}
        np.savez(asked.out / "half.npz", **arrays, **places)
        (asked.out / "half.npz").replace(asked.out / "places.npz")

    def run(jobs: list[Job], judge: bool) -> dict[tuple, dict[str, np.ndarray]]:
        with ProcessPoolExecutor(cores(), get_context("spawn")) as pool:
            waiting = {job: pool.submit(measure, job, asked.out, asked.profile, judge) for job in jobs}
            return {job: dict(np.load(future.result())) for job, future in waiting.items()}

    tries = [(ch12.Variant(loss), 0, rate, asked.epochs // 2) for loss in ch12.LOSSES for rate in RATES]
    tried = {(job[0].loss, job[2]): found["held_out"][0] for job, found in run(tries, False).items()}
    best = {loss: max(RATES, key=lambda rate: tried[loss, rate]) for loss in ch12.LOSSES}
    kinds = [*ch12.VARIANTS, ch12.ALONE, None]
    jobs = [(kind, seed, best[kind.loss] if kind else 0.0, asked.epochs) for seed in SEEDS for kind in kinds]
    found = run(jobs, True)
    by_kind = {kind: [found[job] for job in jobs if job[0] == kind] for kind in kinds}

    def stacked(kind, name: str) -> np.ndarray:
        return np.stack([one[name] for one in by_kind[kind]])

    blocks, scene = (by_kind[kinds[0]][0][name] for name in ("blocks", "scene"))
    variants = []
    for kind in kinds:
        counts = stacked(kind, "counts")
        row = {
            "name": kind.name if kind else "untrained",
            "lr": best[kind.loss] if kind else 0.0,
            "top5": [round(float(one["held_out"][1]), 4) for one in by_kind[kind]] if kind else [],
            "aa": kept(hierarchical_interval(counts, blocks, average_accuracy)),
        }
        if kind != kinds[0]:
            gap = paired_difference(counts, stacked(kinds[0], "counts"), blocks, average_accuracy)
            row["gap"] = kept(gap)
        variants.append(row)
    shown = {"aligned": kinds[0], "each sensor alone": ch12.ALONE, "untrained": None}
    squares = {
        name: {factor: stacked(kind, f"probe {factor}") for factor in ch12.FACTORS}
        for name, kind in shown.items()
    }
    probes = {
        name: {f: kept(hierarchical_interval(one, scene, ch12.r_squared)) for f, one in each.items()}
        for name, each in squares.items()
    }
    both = squares["aligned"], squares["each sensor alone"]
    lost = {
        factor: kept(paired_difference(*(each[factor] for each in both), scene, ch12.r_squared))
        for factor in ch12.FACTORS
    }
    about = {
        "profile": asked.profile, "epochs": asked.epochs, "seeds": len(SEEDS), "scenes": SCENES,
        "machine": machine(), "commit": commit(), "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }  # fmt: skip
    rates = {
        loss: {f"{rate:g}": round(float(tried[loss, rate]), 4) for rate in RATES} for loss in ch12.LOSSES
    }
    write_json(asked.json, {**about, "tried": rates, "variants": variants, "probes": probes, "lost": lost})
    print(read_json(asked.json))


if __name__ == "__main__":
    main()
