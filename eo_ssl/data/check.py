"""Says, before anything trains, what of a data set is there, broken, missing or in other units than it should be.

`check` opens the files of every patch. `require_trainable` is the verdict that training, packing and the course share.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
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
    darkest: float = np.nan  # lowest first percentile of the optical bands, digital number
    cirrus: bool = False  # whether there is a B10, which is dark over all ground
    declared: int = 0  # S2 offset of the file
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

    Fatal are files that training or packing would stumble over, and data on which no task can start; patches without
    partner, of other places or sizes, or below 90 % valid pixels are left out of training and listed. Raises
    `DataError` if there is no patch at all.
    """
    found = catalogs.find(root, workers=workers)
    card = found.attrs["card"].with_(s1_scale=s1_scale, s2_offset=s2_offset)
    rows = np.arange(len(found))
    if sample is not None and sample < len(rows):
        rows = np.sort(np.random.default_rng(seed).choice(rows, sample, replace=False))
    counts = {f"split {name or '(none)'}": int(n) for name, n in found["split"].value_counts().items()}
    counts |= {f"{sensor} files": int((found[sensor] != "").sum()) for sensor in SENSORS}
    report = Report(str(root), len(found), len(rows), counts, _from_catalog(found))
    patches = found.iloc[rows].to_dict("records")
    with ThreadPoolExecutor(workers or cores()) as pool:
        jobs = pool.map(lambda patch: check_patch(Path(root), patch, card), patches)
        results = list(tqdm(jobs, total=len(patches), desc="check", unit="patch", disable=None))
    for result in results:
        report.problems += result.problems
    report.problems += _offsets(results, card)
    report.problems = list(dict.fromkeys(report.problems))
    majority = np.zeros(len(found), np.int64)  # what was not opened counts as labelled
    majority[rows] = [result.majority for result in results]
    _verdict(found, majority, report)
    if len(rows) == len(found):
        report.options = _options(results, card)
    return report


def require_trainable(source: Source, crop: int = 0, task: str = "pretrain", pairs: int = 2) -> None:
    """Raise unless a task ("pretrain", or one of fine-tuning) can start on `source`, naming what is in the way.

    `ConfigError`: the crop of `crop` px is larger than the patches. `DataError`: fewer than `pairs` patches to pretrain
    on or 2 held out, a split without labelled patches, or training images without a valid pixel.
    """
    if crop > source.patch_size:
        raise ConfigError(
            f"crops of {crop} px are larger than the patches ({source.patch_size} px); take less"
        )
    catalog, training = source.catalog, "pretrain" if task == "pretrain" else "train"
    if (catalog["split"] == training).any():
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
    """The tasks that a data set is made for: "pretrain" with SEN12MS, "finetune" with DFC2020."""
    made = {"sen12ms": "pretrain", "dfc2020": "finetune"}
    return [task for dataset, task in made.items() if (catalog["dataset"] == dataset).any()]


def obstacles(split: np.ndarray, majority: np.ndarray, task: str, pairs: int = 2) -> list[str]:
    """What keeps a task from starting. Shape: split (N,) str, "" where unusable, majority class (N,), 255 if none."""
    if task == "pretrain":
        what, needed = "pretraining needs at least {} patches", {"pretrain": pairs, "pretrain_val": 2}
    else:
        what, needed = (
            "fine-tuning needs at least {} labelled patch",
            dict.fromkeys(("train", "val", "test"), 1),
        )
        split = np.where(majority == IGNORE, "", split)
    have = {name: int((split == name).sum()) for name in needed}
    return [
        f"{what.format(least)} in split {name}, there are {have[name]}: more scenes, regions or labels needed"
        for name, least in needed.items()
        if have[name] < least
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
                arrays[sensor], result.declared = geotiff.read_s2(path, None, card.s2_bands)
            else:
                arrays[sensor] = geotiff.read_labels(path)
        except geotiff.PatchError as error:
            result.say(error.kind, FATAL, str(error))
            if sensor == "s1":
                result.hints |= _s1_hint(path, error.kind)
    wrong = contradiction(headers)
    if wrong:
        result.say("CRS mismatch" if "place" in wrong else "size", LEFT_OUT, wrong)
    unplaced = sorted(sensor for sensor, header in headers.items() if np.isnan(header.x))
    if unplaced and len(unplaced) < len(headers):
        result.say("no CRS", WARNING, f"no georeferencing in {', '.join(unplaced)}")
    if "s1" in arrays and np.isfinite(arrays["s1"]).any():
        low, high = np.nanmin(arrays["s1"]), np.nanmax(arrays["s1"])
        if low < USUAL_DB[0] or high > USUAL_DB[1]:
            result.say("range", WARNING, f"{patch['s1']}: backscatter from {low:.0f} to {high:.0f} dB")
    if "s2" in arrays:
        _check_optical(arrays["s2"], result)
    for sensor in arrays.keys() & CODES.keys():
        other = set(np.unique(arrays[sensor]).tolist()) - CODES[sensor]
        if other:
            result.say("labels", FATAL, f"{patch[sensor]}: codes {sorted(other)[:5]} are not in the legend")
    if {"s1", "s2"} <= set(arrays) and arrays["s1"].shape[1:] == arrays["s2"].shape[1:]:
        valid = valid_pixels(arrays["s1"], arrays["s2"])
        known = " (known)" if patch["id"] in KNOWN_BROKEN else ""
        if valid is not None:
            severity = LEFT_OUT if valid.mean() < LEAST_VALID or known else WARNING
            result.say("NaN", severity, f"{1 - valid.mean():.2%} of the pixels are NaN or no data{known}")
    for sensor, table in (("dfc", DFC10_TO_EIGHT), ("lc", IGBP_TO_EIGHT)):
        if sensor in arrays:
            result.majority = majority_of(class_counts(table[arrays[sensor]]))
            break
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
    result.darkest = float(np.percentile(bands[:, ::16] if bands.shape[1] > 4096 else bands, 1, axis=1).min())
    middle = np.median(pixels, axis=1)
    if result.cirrus and middle[B10] > middle.min() + NEGATIVE:
        message = f"{path}: B10 (cirrus) is not the darkest band: the bands seem to be in another order"
        result.say("S2 bands", WARNING, message + ' (give it as "s2_bands" in dataset.json)')
        order = [B8A_LAST.index(band) for band in S2_BANDS]
        if middle[order][B10] == middle.min():
            result.hints["s2_bands"] = B8A_LAST


def _from_catalog(found: pd.DataFrame) -> list[Problem]:
    """Findings that need no pixel: missing partners, contradicting headers, duplicates, unknown names."""
    problems = []
    for patch in found.to_dict("records"):
        for sensor in ("s1", "s2", "dfc" if patch["dataset"] == "dfc2020" else "lc"):
            if not patch[sensor]:
                severity = WARNING if sensor == "lc" else LEFT_OUT
                problems.append(Problem(patch["id"], "missing partner", severity, f"no {sensor} file"))
        if patch["reason"]:
            kind = "CRS mismatch" if "place" in patch["reason"] else "size"
            problems.append(Problem(patch["id"], kind, LEFT_OUT, patch["reason"]))
        if np.isnan(patch["x"]):
            problems.append(Problem(patch["id"], "no CRS", WARNING, "position unknown: no CRS or transform"))
    for path in found.attrs["duplicates"]:
        problems.append(Problem(Path(path).stem, "duplicate id", FATAL, f"{path}: second file for it"))
    for path in found.attrs["unknown"]:
        problems.append(Problem(Path(path).stem, "unknown name", WARNING, f"{path}: name of no known layout"))
    return problems


def _offsets(results: list[Findings], card: Card) -> list[Problem]:
    """Patches whose digital numbers look offset and are not declared so, or the other way round."""
    read = [r for r in results if np.isfinite(r.darkest)]
    applied = [card.offset(r.patch, r.declared) for r in read]
    offset = [r for r, known in zip(read, applied) if not known and r.darkest >= BASELINE_0400_OFFSET]
    plain = [r for r, known in zip(read, applied) if known and r.darkest < known - NEGATIVE]
    problems = []
    for some, severity, text in (
        (offset, WARNING, 'look offset; give "s2_offset": 1000 in dataset.json'),
        (plain, FATAL, "have an offset declared and would have negative reflectance"),
    ):
        if some:
            scenes = sorted({r.patch["scene"] for r in some})
            names = ", ".join(scenes[:3]) + (f" and {len(scenes) - 3} more scenes" if scenes[3:] else "")
            starts = f"their darkest band starts at {min(r.darkest for r in some):.0f}"
            message = f"{len(some)} of {len(read)} patches ({names}) {text}: {starts}"
            problems.append(Problem("(all)", "S2 offset", severity, message))
    return problems


def _verdict(found: pd.DataFrame, majority: np.ndarray, report: Report) -> None:
    """Note the splits that can be made of what is left, and what keeps training from starting."""
    bad = {p.id for p in report.problems if p.severity in (FATAL, LEFT_OUT)}
    left = found[~found["id"].isin(bad)]

    def stop(kind: str, message: str) -> None:
        report.problems.append(Problem("(all)", kind, FATAL, message))

    if left.empty:
        return stop("nothing left", "no patch can be used")
    try:
        assigned = splits.assign(left)
    except DataError as error:
        return stop("splits", str(error))
    report.notes += assigned.attrs["notes"]
    counts = assigned["split"].value_counts().drop("", errors="ignore")
    report.counts |= {f"usable {name}": int(n) for name, n in counts.items()}
    for task in tasks_of(found):
        for message in obstacles(assigned["split"].to_numpy(), majority[left.index], task):
            stop("splits", message)


def _options(results: list[Findings], card: Card) -> dict[str, Any]:
    """Options of the card that all patches ask for; none where patches disagree."""
    options: dict[str, Any] = {}
    for name in ("s1_unit", "s1_scale", "s2_bands"):
        asked = {r.hints.get(name) for r in results if r.patch["s2" if name == "s2_bands" else "s1"]}
        if len(asked) == 1 and None not in asked:
            options[name] = asked.pop()
    read = [r for r in results if np.isfinite(r.darkest)]
    right = [BASELINE_0400_OFFSET if r.darkest >= BASELINE_0400_OFFSET else 0 for r in read]
    sure = (
        all(r.cirrus for r in read) or len(set(right)) == 1
    )  # without B10 a bright surface looks offset, too
    if sure and any(card.offset(r.patch, r.declared) != known for r, known in zip(read, right)):
        frame = pd.DataFrame({"scene": [r.patch["scene"] for r in read], "offset": right})
        whole = frame.groupby("scene")["offset"].transform("nunique") == 1
        names = [r.patch["scene"] if one else r.patch["id"] for r, one in zip(read, whole)]
        options["s2_offset"] = right[0] if len(set(right)) == 1 else dict(zip(names, right))
    return options
