"""Opens the patches of a data root and says, before anything trains, what is there, broken or missing."""

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from eo_ssl.data import catalog as catalogs
from eo_ssl.data import layouts, splits
from eo_ssl.data.findings import FATAL, LEFT_OUT, WARNING, Findings, Problem, check_patch
from eo_ssl.errors import DataError
from eo_ssl.sensors import BASELINE_0400_OFFSET


@dataclass
class Report:
    """What a check found; `ok` says whether training can start."""

    root: str
    patches: int
    checked: int
    counts: dict[str, int]
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True if nothing found would stop a training run."""
        return not any(problem.severity == FATAL for problem in self.problems)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**asdict(self), "ok": self.ok}


def check(
    root: str | Path,
    sample: int | None = None,
    workers: int | None = None,
    s1_scale: float | None = None,
    s2_offset: int | None = None,
    seed: int = 0,
) -> Report:
    """Open all patches below `root`, or `sample` of them drawn with `seed`, in parallel.

    Fatal are files that training or packing would stumble over; patches without partner, with NaN or below
    90 % valid pixels are left out of training and listed. Raises `DataError` if there is no patch at all.
    """
    found = catalogs.find(root, workers=workers)
    rows = np.arange(len(found))
    if sample is not None and sample < len(rows):
        rows = np.sort(np.random.default_rng(seed).choice(rows, sample, replace=False))
    report = Report(str(root), len(found), len(rows), _counts(found))
    report.problems += _from_names(found)
    patches = found.iloc[rows].to_dict("records")
    offset = found.attrs.get("s2_offset") if s2_offset is None else s2_offset
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        jobs = pool.map(lambda patch: check_patch(Path(root), patch, s1_scale), patches)
        results = list(tqdm(jobs, total=len(patches), desc="check", unit="patch"))
    for result in results:
        report.problems += result.problems
    report.problems += _across(patches, results, offset)
    report.problems += _usable(found, report)
    return report


def _counts(found: pd.DataFrame) -> dict[str, int]:
    counts = {f"split {name or '(none)'}": int(n) for name, n in found["split"].value_counts().items()}
    return counts | {f"{key} files": int((found[key] != "").sum()) for key in layouts.SENSORS}


def _from_names(found: pd.DataFrame) -> list[Problem]:
    """Findings that need no file to be opened: missing partners, duplicates, unknown names."""
    problems = []
    for patch in found.to_dict("records"):
        needed = ("s1", "s2", "dfc") if patch["dataset"] == "dfc2020" else ("s1", "s2", "lc")
        for sensor in needed:
            if not patch[sensor]:
                severity = WARNING if sensor == "lc" else LEFT_OUT
                problems.append(Problem(patch["id"], "missing partner", severity, f"no {sensor} file"))
        if np.isnan(patch["x"]):
            problems.append(
                Problem(patch["id"], "no CRS", WARNING, "position unknown: no CRS or no transform")
            )
    for path in found.attrs["duplicates"]:
        problems.append(
            Problem(Path(path).stem, "duplicate id", FATAL, f"{path}: second file for this patch")
        )
    for path in found.attrs["unknown"]:
        problems.append(Problem(Path(path).stem, "unknown name", WARNING, f"{path}: name of no known layout"))
    return problems


def _across(patches: list[dict[str, Any]], results: list[Findings], offset: int | None) -> list[Problem]:
    """Findings that need all patches: other sizes, and digital numbers that look offset."""
    problems = []
    sizes = Counter(result.size for result in results if result.size)
    usual = sizes.most_common(1)[0][0] if sizes else 0
    for patch, result in zip(patches, results):
        if result.size not in (0, usual):
            message = f"{patch['s2']}: {result.size} px wide, most patches {usual}"
            problems.append(Problem(patch["id"], "size", FATAL, message))
    darkest = np.array([result.darkest for result in results if np.isfinite(result.darkest)])
    declared = offset if offset is not None else int(np.median([r.offset for r in results] or [0]))
    if darkest.size:
        typical = float(np.median(darkest))
        if not declared and typical >= BASELINE_0400_OFFSET:
            message = (
                f"the darkest band starts at {typical:.0f}: digital numbers look offset; try s2_offset 1000"
            )
            problems.append(Problem("(all)", "S2 offset", WARNING, message))
        if declared and typical < declared:
            message = f"offset {declared} declared, but the darkest band starts at {typical:.0f}"
            problems.append(Problem("(all)", "S2 offset", WARNING, message))
    return problems


def _usable(found: pd.DataFrame, report: Report) -> list[Problem]:
    """Whether splits can be made of what is left."""
    bad = {p.id for p in report.problems if p.severity in (FATAL, LEFT_OUT)}
    left = found[~found["id"].isin(bad)]
    if left.empty:
        return [Problem("(all)", "nothing left", FATAL, "no patch can be used")]
    try:
        assigned = splits.assign(left)
    except DataError as error:
        return [Problem("(all)", "splits", FATAL, str(error))]
    report.notes += assigned.attrs["notes"]
    counts = assigned["split"].value_counts()
    report.counts |= {f"usable {name}": int(n) for name, n in counts.items() if name}
    needed = (("pretrain", "pretrain_val"), ("train", "val"), ("train", "test"))
    return [
        Problem(
            "(all)", "splits", WARNING, f"patches for {a} but none for {b}: more scenes or regions needed"
        )
        for a, b in needed
        if counts.get(a) and not counts.get(b)
    ]
