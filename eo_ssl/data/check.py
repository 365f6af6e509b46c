"""Says, before anything trains, what of a data set is there, broken, missing or in other units than it should be.

`check` opens the files of every patch. `require_trainable` is the verdict that training, packing and the course share.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from eo_ssl.data import catalog as catalogs
from eo_ssl.data import geotiff, splits
from eo_ssl.data.catalog import SENSORS, Card
from eo_ssl.data.source import LEAST_VALID, Source, unusable
from eo_ssl.data.store import INVALID, STEP, encode
from eo_ssl.errors import ConfigError, DataError
from eo_ssl.parallel import cores
from eo_ssl.sensors import B10, BASELINE_0400_OFFSET, IGNORE

FATAL, LEFT_OUT, WARNING = "fatal", "left out", "warning"
CODES = {"lc": {*range(18), 255}, "dfc": {*range(11), 255}}
USUAL_DB = (-60.0, 40.0)
USUAL_DN = (256, 30_000)  # a picture of 8 bits; three times a white surface
NEGATIVE = 200  # digital numbers below the offset that noise does not explain: reflectance −0.02


@dataclass(frozen=True)
class Problem:
    """One finding: `kind` in one or two words, `severity` "fatal", "left out" or "warning"."""

    id: str
    kind: str
    severity: str
    message: str


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

    def say(self, *finding: str) -> None:
        """Add a `Problem`."""
        self.problems.append(Problem(*finding))


def check(root: str | Path, sample: int | None = None, workers: int | None = None) -> Report:
    """Open all patches below `root` that can be used, or `sample` of them drawn at random, in parallel.

    Fatal are files that training or packing would stumble over, and data on which no task can start; patches without
    partner, of other places or sizes, or below 90 % valid pixels are left out of training and listed. Raises
    `DataError` if there is no patch at all.
    """
    found = catalogs.find(root)
    reasons = unusable(found)
    rows = np.flatnonzero(~found["id"].isin(list(reasons)))
    if sample:
        rows = np.sort(np.random.default_rng(0).choice(rows, min(sample, len(rows)), replace=False))
    counts = {f"split {name or '(none)'}": int(n) for name, n in found["split"].value_counts().items()}
    counts |= {f"{sensor} files": int((found[sensor] != "").sum()) for sensor in SENSORS}
    report = Report(str(root), len(found), len(rows), counts)

    for path in found.attrs["duplicates"]:
        report.say(Path(path).stem, "duplicate id", FATAL, f"{path}: second file for it")
    for path in found.attrs["unknown"]:
        report.say(Path(path).stem, "unknown name", WARNING, f"{path}: name of no known layout")
    for patch, reason in reasons.items():
        kind = "missing partner" if reason.startswith("no ") else "no pair"
        report.say(patch, kind, LEFT_OUT, reason)
    for patch in found["id"][found["x"].isna()]:
        report.say(patch, "no CRS", WARNING, "no georeferencing: what it overlaps is not known")
    patches = found.iloc[rows].to_dict("records")
    with ThreadPoolExecutor(workers or cores()) as pool:
        work = partial(check_patch, Path(root), card=found.attrs["card"], size=found.attrs["size"])
        jobs = pool.map(work, patches)
        results = list(tqdm(jobs, total=len(patches), desc="check", unit="patch", disable=None))
    report.problems += [problem for problems, _ in results for problem in problems]
    majority = np.zeros(len(found), np.int64)  # what was not opened counts as labelled
    majority[rows] = [label for _, label in results]
    _verdict(found, majority, report)
    return report


def require_trainable(source: Source, crop: int = 0, task: str = "pretrain", pairs: int = 2) -> None:
    """Raise unless a task ("pretrain", or one of fine-tuning) can start on `source`, naming what is in the way.

    `ConfigError`: the crop of `crop` px is larger than the patches. `DataError`: fewer than `pairs` patches to pretrain
    on or 2 held out, a split without labelled patches, or training images without a valid pixel.
    """
    if crop > (size := source.patch_size):
        raise ConfigError(f"crops of {crop} px are larger than the patches ({size} px); take less")
    catalog, training = source.catalog, "pretrain" if task == "pretrain" else "train"
    if len(source.rows(training)):
        source.stats(training)  # reads images: now it is known which are valid
    split = catalog["split"].where(~catalog["id"].isin(list(source.left_out)), "")
    majority = np.zeros(len(catalog), np.int64)
    if task != "pretrain":
        rows = np.flatnonzero(split.isin(["train", "val", "test"]))
        majority[rows] = source.majority(rows)
    problems = obstacles(split.to_numpy(), majority, task, pairs)
    if problems:
        raise DataError(f"{source.path}: {problems[0]}; see `eo-ssl data check {source.path}`")


def tasks_of(catalog: pd.DataFrame) -> list[str]:
    """The tasks that a data set is made for: "pretrain" with SEN12MS, "finetune" with DFC2020, both with ben-ge."""
    made = {"pretrain": ("sen12ms", "ben-ge"), "finetune": ("dfc2020", "ben-ge")}
    return [task for task, datasets in made.items() if catalog["dataset"].isin(datasets).any()]


def obstacles(split: np.ndarray, majority: np.ndarray, task: str, pairs: int = 2) -> list[str]:
    """What keeps a task from starting. Shape: split (N,) str, "" where unusable, majority class (N,), 255 if none."""
    if task == "pretrain":
        needed, what = {"pretrain": pairs, "pretrain_val": 2}, "patches"
        split = splits.for_pretraining(pd.Series(split, dtype=object)).to_numpy()
    else:
        needed, what = {"train": 1, "val": 1, "test": 1}, "labelled patches"
        split = np.where(majority == IGNORE, "", split)
    return [
        f"{task} needs at least {least} {what} in split {name}, there are {have}: more scenes or labels needed"
        for name, least in needed.items()
        if (have := int((split == name).sum())) < least
    ]


def check_patch(root: Path, patch: dict[str, Any], card: Card, size: int) -> tuple[list[Problem], int]:
    """Read a patch (a row of the catalog as a dict) as packing does: what is wrong, and its majority class.

    Raises nothing.
    """
    problems: list[Problem] = []

    def say(kind: str, severity: str, message: str) -> None:
        problems.append(Problem(patch["id"], kind, severity, message))

    try:
        read = encode(patch, root, card, size)
    except geotiff.PatchError as error:
        say(error.kind, FATAL, str(error))
        return problems, IGNORE
    db = STEP * read["s1"][read["s1"] != INVALID]
    if db.size and not USUAL_DB[0] <= db.min() <= db.max() <= USUAL_DB[1]:
        say("range", WARNING, f"{patch['s1']}: backscatter from {db.min():.0f} to {db.max():.0f} dB")
    for kind, severity, message in _optical_problems(read["s2"], read["s2_offset"], card.level):
        say(kind, severity, f"{patch['s2']}: {message}")
    for sensor, codes in zip(("dfc", "lc"), read["labels"]):
        if patch[sensor] and (other := set(np.unique(codes).tolist()) - CODES[sensor]):
            say("labels", FATAL, f"{patch[sensor]}: codes {sorted(other)[:5]} are not in the legend")
    if (valid := read["valid"]) < 1:
        severity = LEFT_OUT if valid < LEAST_VALID else WARNING
        say("NaN", severity, f"{1 - valid:.2%} of the pixels are NaN or no data")
    return problems, read["majority"]


def _optical_problems(numbers: np.ndarray, offset: int, level: str) -> Iterator[tuple[str, str, str]]:
    """What is odd about digital numbers (13, H, W): their range, lowest values, and a B10 that is not the darkest."""
    pixels = numbers[:, numbers.any(0)]
    if not pixels.size:
        return
    if not USUAL_DN[0] <= pixels.max() <= USUAL_DN[1]:
        yield "range", WARNING, f"digital numbers up to {pixels.max()}"
    cirrus = bool(pixels[B10].any())  # whether there is a B10, which is dark over all ground
    bands = pixels if cirrus else np.delete(pixels, B10, 0)
    darkest = np.percentile(bands[:, ::16] if bands.shape[1] > 4096 else bands, 1, axis=1).min()
    starts = f"the darkest band starts at {darkest:.0f}"
    if darkest >= BASELINE_0400_OFFSET and not offset:
        yield "S2 offset", WARNING, f'looks offset: {starts} (give "s2_offset": 1000 in dataset.json)'
    elif darkest < offset - NEGATIVE:
        yield "S2 offset", FATAL, f"negative reflectance with the offset declared: {starts}"
    if not cirrus and level == "L1C":
        hint = 'give "level": "L2A" in dataset.json if it is one'
        yield "level", WARNING, f"no B10, as in products of level L2A, but taken for L1C ({hint})"
    middle = np.median(pixels, axis=1)
    if cirrus and middle[B10] > middle.min() + NEGATIVE:
        why = "B10 (cirrus) is not the darkest band: the bands seem to be in another order"
        yield "S2 bands", WARNING, f'{why} (give it as "s2_bands" in dataset.json)'


def _verdict(found: pd.DataFrame, majority: np.ndarray, report: Report) -> None:
    """Note the splits that can be made of what is left, and what keeps training from starting."""
    bad = {p.id for p in report.problems if p.severity in (FATAL, LEFT_OUT)}
    left = found[~found["id"].isin(bad)]
    try:
        if left.empty:
            raise DataError("no patch can be used")
        assigned = splits.assign(left, holdout=found.attrs["card"].holdout_below(Path(report.root)))
    except (DataError, OSError) as error:  # OSError: the list of held-out scenes is not there
        report.say("(all)", "splits", FATAL, str(error))
        return
    report.notes += assigned.attrs["notes"]
    counts = assigned["split"].value_counts().drop("", errors="ignore")
    report.counts |= {f"usable {name}": int(n) for name, n in counts.items()}
    for task in tasks_of(found):
        for message in obstacles(assigned["split"].to_numpy(), majority[left.index], task):
            report.say("(all)", "splits", FATAL, message)
