"""A run folder as a finished run leaves it, with made-up results: for tests of releases and drift."""

import json
import zlib
from pathlib import Path

import nbformat
import numpy as np

from eo_ssl.course import session
from eo_ssl.course.plan import sources_of
from eo_ssl.evaluate.metrics import METRICS
from eo_ssl.experiments.plan import Cell, make_grid
from eo_ssl.experiments.tables import MAIN, SECOND
from eo_ssl.files import write_json, write_text
from eo_ssl.profiles import get_profile

PATCHES = 24
COMMIT = "0123abcde"


def finish(folder: Path, profile: str = "laptop") -> Path:
    """Write the run folder: every chapter of the project done, every model of the profile's grid tested."""
    settings, sources = get_profile(profile), sources_of(session.project_root() / "notebooks")
    chapter = {"state": "done", "commit": COMMIT, "minutes": 1.5, "device": "GPU X", "text": ""}
    chapter["executed"] = "2026-01-02T03:04:05+00:00"
    state = {
        "profile": profile, "evidence": settings.is_evidence, "device": "GPU X", "commit": COMMIT,
        "data": f"simulated {profile} 1.1 seed 0",
        "seeds": {"first": 0, "pretrain": settings.pretrain_seeds, "finetune": settings.finetune_seeds},
        "machine": {"cpu": "CPU Y", "cores": 4, "memory_gb": 16.0, "gpus": ["GPU X"]},
        "versions": {"torch": "2.15.0", "timm": "1.0.31"},
        "chapters": {
            path.stem: {**chapter, "title": f"Title of {path.stem}", "sources": digest}
            for path, digest in sources.items()
        },
    }  # fmt: skip
    write_json(folder / "status.json", state)
    for path in sources:
        write_text(folder / path.name, nbformat.writes(nbformat.v4.new_notebook()))
    (folder / "counts").mkdir()
    cells = [cell for cell in make_grid(profile).cells if cell.rate is None]
    lines = [json.dumps(tested_line(folder, cell, profile)) for cell in cells]
    write_text(folder / "results.jsonl", "\n".join(lines) + "\n")
    return folder


def tested_line(folder: Path, cell: Cell, profile: str) -> dict:
    """Test one made-up model: more labels are better, seeds differ a little, patches a lot."""
    rng = np.random.default_rng(zlib.crc32(cell.key.encode()))
    truth = np.arange(PATCHES) % 8
    right = rng.random(PATCHES) < 0.5 + 0.3 * cell.fraction
    multi, rows = cell.task == "multi", np.arange(PATCHES)
    said = np.where(right, 0, 2) if multi else np.where(right, truth, (truth + 1) % 8)
    counts = np.zeros((PATCHES, 8, 3 if multi else 8), dtype=np.int32)
    counts[rows, truth, said] = 1
    name = cell.key.replace(" ", "_").replace("/", "-")
    np.savez(folder / "counts" / f"{name}.npz", counts=counts, rows=rows, group=rows // 2)
    names = MAIN[cell.task], SECOND[cell.task]
    found = {m: float(METRICS[m](counts.sum(0)[None])[0]) if m in METRICS else 0.5 for m in names}
    line = {
        "key": cell.key, "task": cell.task, "method": cell.method, "fraction": cell.fraction, "seed": cell.seed,
        "n_labels": round(400 * cell.fraction), "test_reads": 1, "test": found, "seconds": 1.0,
        "profile": profile, "commit": COMMIT, "data_version": "0011223344", "tuning": False,
    }  # fmt: skip
    if cell.method == "ensemble":  # trains nothing, so it counts no labels
        del line["n_labels"]
    return line
