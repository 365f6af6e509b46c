"""What do more unlabelled patches change? Dual-SimCLR pretrained on several times as many, fine-tuned on the same labels.

    python benchmarks/more_unlabelled.py --run-dir runs/laptop     # after `make course`; about half an hour

One thing is changed at a time: four times the unlabelled scenes of the same simulated regions (labelled
patches, held-out pairs and test set stay the same, byte for byte and split by split), and beside it three
times the epochs on the scenes of the course. Four times the scenes in 8 epochs are about as many updates as
the course's own 30. The rival is the supervised model of the run folder that did best on the test set with
*all* labels. Differences are paired over seeds and places. Written to `book/results/more_unlabelled.json`,
which chapter 11 shows.
"""

import argparse
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from eo_ssl.course.session import project_root, simulated
from eo_ssl.data.dataset import open_source
from eo_ssl.data.georef import spatial_blocks
from eo_ssl.errors import DataError
from eo_ssl.evaluate.intervals import hierarchical_interval, paired_difference
from eo_ssl.evaluate.metrics import METRICS
from eo_ssl.experiments.grid import GridJob, run_grid
from eo_ssl.experiments.plan import SCRATCH, make_grid
from eo_ssl.experiments.results import read_results
from eo_ssl.experiments.tables import counts_of, pick
from eo_ssl.files import write_json
from eo_ssl.profiles import get_profile
from eo_ssl.provenance import commit, machine
from eo_ssl.simulate import simulate, world
from eo_ssl.train.checkpoint import read_meta
from eo_ssl.train.config import preset
from eo_ssl.train.pretrain import pretrain

VARIANTS = ((1, 90), (4, 8), (4, 30))  # times the unlabelled scenes, epochs
METHODS, FRACTIONS = ("dual-finetune", "dual-frozen"), (0.1, 1.0)


def data_set(out: Path, base: Path, times: int) -> Path:
    """The simulated laptop set with `times` the pretraining scenes; everything labelled stays as it is."""
    if times == 1:
        return base
    usual, name = world.profile_named("laptop"), "laptop-wide"
    more = (usual.scenes[0] * times, *usual.scenes[1:])
    world.PROFILES[name] = replace(usual, name=name, scenes=more)
    return simulate(out / f"data-x{times}", name, seed=0, workers=1)


def split_like(source: Any, base: Any) -> Any:
    """The source with the splits of `base`: what is new is unlabelled training data, nothing else moves."""
    splits = base.catalog.set_index("id")["split"]
    if missing := set(splits.index) - set(source.catalog["id"]):
        raise DataError(
            f"{source.path}: lacks {min(missing)} of the usual set; remove the folder, start again"
        )
    source.catalog["split"] = source.catalog["id"].map(splits).fillna("pretrain")
    return source


def trained(out: Path, base: Path, times: int, epochs: int) -> tuple[Path, dict[str, Any]]:
    """Pretrain one variant and train the grid's cells on it; returns its run folder and facts of the pretraining."""
    data, run = data_set(out, base, times), out / f"x{times}-epochs{epochs}"
    source, usual = split_like(open_source(data), open_source(base)), preset("dual-simclr", "laptop")
    warmup = usual.warmup_epochs * epochs / usual.epochs
    config = usual if epochs == usual.epochs else usual.with_(epochs=epochs, warmup_epochs=warmup)
    found = pretrain(config, source, run)
    job = GridJob("laptop", str(data), str(run), ("few-labels",))
    wanted = [
        cell
        for cell in make_grid("laptop", ("few-labels",)).cells
        if cell.task == "single" and cell.method in METHODS and (cell.rate or cell.fraction in FRACTIONS)
    ]
    run_grid(job, source, workers=1, cells=wanted)
    return run, facts(source, config, found.metrics)


def facts(source: Any, config: Any, metrics: dict[str, float]) -> dict[str, Any]:
    """What a variant was trained on and how well held-out pairs find each other."""
    pairs = len(source.rows("pretrain"))
    return {
        "unlabelled": pairs,
        "epochs": config.epochs,
        "updates": config.epochs * (pairs // config.batch_size),
        "top5": metrics["val_top5"],
        "chance_top5": metrics["val_chance_top5"],
    }


def tested(run: Path, method: str, fraction: float) -> tuple[np.ndarray, Any]:
    """Counts (S, N, 8, 8) of all seeds and their lines; raises `DataError` where the run has none."""
    lines = pick(read_results(run / "results.jsonl"), "single", method, fraction)
    return counts_of(run, lines)[0], lines


def row(
    run: Path, known: dict[str, Any], method: str, fraction: float, rival: np.ndarray, blocks: np.ndarray
) -> Any:
    """One line of the table: score, and difference to the rival."""
    counts, lines = tested(run, method, fraction)
    score = hierarchical_interval(counts, blocks, METRICS["aa"])
    gap = paired_difference(counts, rival, blocks, METRICS["aa"]).difference
    return {
        **known, "method": method, "fraction": fraction, "n_labels": int(lines["n_labels"].iloc[0]),
        "mean": score.value, "low": score.low, "high": score.high,
        "values": [round(float(v), 6) for v in lines.sort_values("seed")["test.aa"]],
        "difference": {"value": gap.value, "low": gap.low, "high": gap.high},
    }  # fmt: skip


def main() -> None:
    """Train what is missing, compare, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run-dir", type=Path, default=Path("runs/laptop"), help="finished laptop run")
    parser.add_argument("--data", type=Path, help="its data set; default the simulated one in the cache")
    parser.add_argument("--out", type=Path, default=Path("runs/more-unlabelled"), help="where models go")
    parser.add_argument("--json", type=Path, default=project_root() / "book/results/more_unlabelled.json")
    parser.add_argument("--only", type=int, help="train only variant 0, 1 or 2, and compare nothing")
    asked = parser.parse_args()
    base = asked.data or simulated(get_profile("laptop"), 0)
    if asked.only is not None:
        trained(asked.out, base, *VARIANTS[asked.only])
        return
    source, config = open_source(base), preset("dual-simclr", "laptop")
    supervised = {m: tested(asked.run_dir, m, 1.0) for m in SCRATCH}
    best = max(supervised, key=lambda m: supervised[m][1]["test.aa"].mean())
    rival = supervised[best][0]
    catalog = source.catalog
    test = np.flatnonzero(catalog["split"] == "test")
    blocks = spatial_blocks(catalog.iloc[test], source.patch_size)
    meta = read_meta(asked.run_dir / "pretrain" / f"dual-simclr-{config.backbone}-seed0")
    variants = [(asked.run_dir, facts(source, config, meta["metrics"]))]
    variants += [trained(asked.out, base, times, epochs) for times, epochs in VARIANTS]
    rows = [
        row(run, known, m, f, rival, blocks) for run, known in variants for m in METHODS for f in FRACTIONS
    ]
    line = supervised[best][1]
    mean, labels = float(line["test.aa"].mean()), int(line["n_labels"].iloc[0])
    found = {
        "profile": "laptop", "machine": machine(), "commit": commit(), "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "seeds": len(line), "rows": rows,
        "baseline": {"method": best, "fraction": 1.0, "mean": mean, "n_labels": labels},
    }  # fmt: skip
    write_json(asked.json, found)
    print(asked.json)


if __name__ == "__main__":
    main()
