"""Says, before anything trains, what of a data set is there, broken, missing or in other units than it should be.

`check` opens the files of every patch. `require_trainable` is the verdict that training, packing and the course share.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from eo_ssl.data import catalog as catalogs
from eo_ssl.data import geotiff, splits
from eo_ssl.data.catalog import KNOWN_BROKEN, SENSORS, Card
from eo_ssl.data.georef import contradiction
from eo_ssl.data.source import LEAST_VALID, Source, class_counts, majority_of, valid_pixels
from eo_ssl.errors import ConfigError, DataError
from eo_ssl.parallel import cores
from eo_ssl.sensors import BASELINE_0400_OFFSET, DFC10_TO_EIGHT, IGBP_TO_EIGHT, IGNORE, S2_BANDS

FATAL, LEFT_OUT, WARNING = "fatal", "left out", "warning"
CODES = {"lc": {*range(18), 255}, "dfc": {*range(11), 255}}
USUAL_DB = (-60.0, 40.0)
USUAL_DN = (256, 30_000)  # a picture of 8 bits; three times a white surface
NEGATIVE = 200  # digital numbers below the offset that noise does not explain: reflectance −0.02
B10 = S2_BANDS.index("B10")
B8A_LAST = tuple(sorted(S2_BANDS, key=lambda band: band == "B8A"))  # as in EuroSAT
INTEGER_STEP = 0.01  # dB, the usual step of integer S1 files


@dataclass(frozen=True)
class Problem:
    """One finding: `kind` in one or two words, `severity` "fatal", "left out" or "warning"."""

    id: str
    kind: str
    severity: str
    message: str


@dataclass
class Findings:
    """What was found in one patch; `hints` are options of the data set's card that would make it readable."""

    patch: dict[str, Any]
    problems: list[Problem] = field(default_factory=list)
    hints: dict[str, Any] = field(default_factory=dict)
    cirrus: bool = False  # whether there is a B10, which is dark over all ground
    offset: int = 0  # that of S2 by card or file
    majority: int = IGNORE

    def say(self, kind: str, severity: str, message: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(self.patch["id"], kind, severity, message))


@dataclass
class Report:
    """What a check found; `ok` says whether training can start, `options` what the card should say."""

    root: str
    patches: int
    checked: int
    counts: dict[str, int]
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """True if nothing found would stop a training run."""
        return not any(problem.severity == FATAL for problem in self.problems)


def check(
    root: str | Path,
    sample: int | None = None,
    workers: int | None = None,
    s1_scale: float | None = None,
    s2_offset: int | None = None,
) -> Report:
    """Open all patches below `root`, or `sample` of them drawn at random, in parallel.

    `s1_scale` and `s2_offset` replace what the card says, and become options that it should say.

    Fatal are files that training or packing would stumble over, and data on which no task can start; patches without
    partner, of other places or sizes, or below 90 % valid pixels are left out of training and listed. Raises
    `DataError` if there is no patch at all.
    """
    found = catalogs.find(root, workers=workers)
    given = {"s1_scale": s1_scale, "s2_offset": s2_offset}
    card = found.attrs["card"].with_(**given)
    rows = np.arange(len(found))
    if sample:
        rows = np.sort(np.random.default_rng(0).choice(rows, min(sample, len(rows)), replace=False))
    counts = {f"split {name or '(none)'}": int(n) for name, n in found["split"].value_counts().items()}
    counts |= {f"{sensor} files": int((found[sensor] != "").sum()) for sensor in SENSORS}
    report = Report(str(root), len(found), len(rows), counts)
    report.problems += [
        Problem(Path(path).stem, kind, severity, f"{path}: {why}")
        for listed, kind, severity, why in (
            ("duplicates", "duplicate id", FATAL, "second file for it"),
            ("unknown", "unknown name", WARNING, "name of no known layout"),
        )
        for path in found.attrs[listed]
    ]
    patches = found.iloc[rows].to_dict("records")
    with ThreadPoolExecutor(workers or cores()) as pool:
        jobs = pool.map(lambda patch: check_patch(Path(root), patch, card), patches)
        results = list(tqdm(jobs, total=len(patches), desc="check", unit="patch", disable=None))
    report.problems += [problem for result in results for problem in result.problems]
    majority = np.zeros(len(found), np.int64)  # what was not opened counts as labelled
    majority[rows] = [result.majority for result in results]
    _verdict(found, majority, report)
    said = found.attrs["card"]
    report.options = {key: value for key, value in given.items() if value not in (None, getattr(said, key))}
    if len(rows) == len(found):
        report.options |= _options(results)
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


def check_patch(root: Path, patch: dict[str, Any], card: Card) -> Findings:
    """Read all files of a patch (a row of the catalog as a dict) and note what is wrong; raises nothing."""
    result = Findings(patch)
    arrays: dict[str, np.ndarray] = {}
    headers: dict[str, geotiff.Header] = {}
    for sensor in filter(patch.get, SENSORS):
        path = root / patch[sensor]
        try:
            headers[sensor] = geotiff.read_header(path)
            if sensor == "s1":
                arrays[sensor] = geotiff.read_s1(path, None, card.s1_scale, card.s1_unit)
            elif sensor == "s2":
                arrays[sensor], declared = geotiff.read_s2(path, None, card.s2_bands)
                result.offset = card.offset(patch, declared)
            else:
                arrays[sensor] = geotiff.read_labels(path)
        except geotiff.PatchError as error:
            result.say(error.kind, FATAL, str(error))
            if sensor == "s1":
                result.hints |= _s1_hint(path, error.kind)
    for sensor in ("s1", "s2", "lc" if patch["dataset"] == "sen12ms" else "dfc"):
        if not patch[sensor]:
            result.say("missing partner", WARNING if sensor == "lc" else LEFT_OUT, f"no {sensor} file")
    if wrong := patch["reason"] or contradiction(headers):
        result.say("CRS mismatch" if "place" in wrong else "size", LEFT_OUT, wrong)
    if unplaced := sorted(sensor for sensor, header in headers.items() if np.isnan(header.x)):
        result.say("no CRS", WARNING, f"no georeferencing in {', '.join(unplaced)}")
    if "s1" in arrays and np.isfinite(arrays["s1"]).any():
        low, high = np.nanmin(arrays["s1"]), np.nanmax(arrays["s1"])
        if low < USUAL_DB[0] or high > USUAL_DB[1]:
            result.say("range", WARNING, f"{patch['s1']}: backscatter from {low:.0f} to {high:.0f} dB")
    if "s2" in arrays:
        _check_optical(arrays["s2"], result)
    for sensor, table in (("lc", IGBP_TO_EIGHT), ("dfc", DFC10_TO_EIGHT)):  # the finer one last: it counts
        if sensor in arrays:
            result.majority = majority_of(class_counts(table[arrays[sensor]]))
            other = set(np.unique(arrays[sensor]).tolist()) - CODES[sensor]
            if other:
                message = f"{patch[sensor]}: codes {sorted(other)[:5]} are not in the legend"
                result.say("labels", FATAL, message)
    if {"s1", "s2"} <= set(arrays) and arrays["s1"].shape[1:] == arrays["s2"].shape[1:]:
        valid = valid_pixels(arrays["s1"], arrays["s2"])
        known = " (known)" if patch["id"] in KNOWN_BROKEN else ""
        if valid is not None:
            severity = LEFT_OUT if valid.mean() < LEAST_VALID or known else WARNING
            result.say("NaN", severity, f"{1 - valid.mean():.2%} of the pixels are NaN or no data{known}")
    return result


def _s1_hint(path: Path, kind: str) -> dict[str, Any]:
    if kind == "power":
        return {"s1_unit": "power"}
    try:
        geotiff.read_s1(path, None, INTEGER_STEP)
    except DataError:
        return {}
    return {"s1_scale": INTEGER_STEP}


def _check_optical(numbers: np.ndarray, result: Findings) -> None:
    """Digital numbers (13, H, W): their range, their lowest values, and whether B10 is the darkest band."""
    path = result.patch["s2"]
    pixels = numbers[:, numbers.any(0)]
    if not pixels.size:
        return
    if not USUAL_DN[0] <= pixels.max() <= USUAL_DN[1]:
        result.say("range", WARNING, f"{path}: digital numbers up to {pixels.max()}")
    result.cirrus = bool(pixels[B10].any())
    bands = pixels if result.cirrus else np.delete(pixels, B10, 0)
    darkest = np.percentile(bands[:, ::16] if bands.shape[1] > 4096 else bands, 1, axis=1).min()
    likely = BASELINE_0400_OFFSET if darkest >= BASELINE_0400_OFFSET else 0
    starts = f"the darkest band starts at {darkest:.0f}"
    if likely and not result.offset:
        message = f'{path}: looks offset: {starts} (give "s2_offset": 1000 in dataset.json)'
        result.say("S2 offset", WARNING, message)
    elif darkest < result.offset - NEGATIVE:
        result.say("S2 offset", FATAL, f"{path}: negative reflectance with the offset declared: {starts}")
    result.hints["s2_offset"] = likely
    middle = np.median(pixels, axis=1)
    if result.cirrus and middle[B10] > middle.min() + NEGATIVE:
        message = f"{path}: B10 (cirrus) is not the darkest band: the bands seem to be in another order"
        result.say("S2 bands", WARNING, message + ' (give it as "s2_bands" in dataset.json)')
        if middle[B8A_LAST.index("B10")] == middle.min():
            result.hints["s2_bands"] = B8A_LAST


def _verdict(found: pd.DataFrame, majority: np.ndarray, report: Report) -> None:
    """Note the splits that can be made of what is left, and what keeps training from starting."""
    bad = {p.id for p in report.problems if p.severity in (FATAL, LEFT_OUT)}
    left = found[~found["id"].isin(bad)]
    try:
        if left.empty:
            raise DataError("no patch can be used")
        assigned = splits.assign(left, holdout=found.attrs["card"].holdout_below(Path(report.root)))
    except DataError as error:
        report.problems.append(Problem("(all)", "splits", FATAL, str(error)))
        return
    report.notes += assigned.attrs["notes"]
    counts = assigned["split"].value_counts().drop("", errors="ignore")
    report.counts |= {f"usable {name}": int(n) for name, n in counts.items()}
    for task in tasks_of(found):
        for message in obstacles(assigned["split"].to_numpy(), majority[left.index], task):
            report.problems.append(Problem("(all)", "splits", FATAL, message))


def _options(results: list[Findings]) -> dict[str, Any]:
    """Options of the card that all patches ask for, the S2 offset also by scene or patch; none where they disagree."""
    options: dict[str, Any] = {}
    for name in ("s1_unit", "s1_scale", "s2_bands"):
        asked = {r.hints.get(name) for r in results if r.patch[name[:2]]}
        if len(asked) == 1 and None not in asked:
            options[name] = asked.pop()
    read = [r for r in results if "s2_offset" in r.hints]
    right = [r.hints["s2_offset"] for r in read]
    one = len(set(right)) == 1
    sure = one or all(r.cirrus for r in read)  # without B10 a bright surface looks offset, too
    if sure and right != [r.offset for r in read]:
        scenes = pd.Series([r.patch["scene"] for r in read])
        whole = pd.Series(right).groupby(scenes).transform("nunique") == 1
        names = scenes.where(whole, [r.patch["id"] for r in read])
        options["s2_offset"] = right[0] if one else dict(zip(names, right))
    return options
