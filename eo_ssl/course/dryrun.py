"""`eo-ssl course run --dry-run`: hours, memory and disk of a whole profile, from a few measured updates of each part."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from eo_ssl.course.demands import SIMULATED
from eo_ssl.course.workload import Sizes, Work, open_unread, sizes, workload
from eo_ssl.errors import DataError
from eo_ssl.profiles import Profile

# Where no GPU can be measured: what such networks may be expected to sustain in bf16, one twentieth of the
# peak of an H100. An assumption, and called so wherever it is used.
ASSUMED_FLOPS = 50e12
READS = 12
LABELLED_BYTES = 31  # a pixel of a labelled patch in memory: 15 bands in half precision and its label
STORED_BYTES = 32  # the same in a packed store: 15 bands in 16 bit and two label maps
SIMULATED_BYTES = 12  # the GeoTIFF files of a simulated patch, compressed
OTHERS_MB = 300  # executed notebooks, figures, results
COLUMNS = ("part", "runs", "samples", "PFLOP", "samples/s", "hours", "GPU GB", "disk GB")


@dataclass(frozen=True)
class Row:
    """One line of the table: sizes in units of the columns; `rate` 0 where nothing was measured."""

    part: str
    name: str
    runs: int
    planned: int
    samples: float
    flops: float
    rate: float
    seconds: float
    memory: float
    disk: float


def estimate(profile: Profile, data: str, run_dir: Path, say: Callable[[str], None]) -> str:
    """Measure a few updates of every part that is left to do and say what the whole takes, as text.

    `say` tells which part is being measured. Neither is data simulated nor is a whole data set read.
    """
    there = sizes(profile, data)
    _require(there, data)
    measured_here = not profile.requires_gpu or _gpu()
    rows = []
    for work in workload(profile, there, run_dir):
        say(f"{'measuring' if measured_here else 'counting'} {work.name}")
        rows.append(_row(work, profile, there, measured_here))
    lines = [*table(rows), "", *_notes(profile, data, there, rows, measured_here)]
    return "\n".join(lines)


def _require(there: Sizes, data: str) -> None:
    empty = [name for name in ("pairs", "held_out", "train", "test") if not getattr(there, name)]
    if empty:
        raise DataError(f"{data}: no patches for {', '.join(empty)}; see `eo-ssl data check {data}`")


def _gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _row(work: Work, profile: Profile, there: Sizes, measured_here: bool) -> Row:
    """One part, measured or only counted. A forward pass alone takes a third of an update."""
    found = _measured(work.config, profile.compile, there.patch) if measured_here else _counted(work.config)
    samples = work.trained + work.looked / 3
    seconds = samples / found.rate if measured_here else samples * found.flops / ASSUMED_FLOPS
    # Weights, the best ones and the optimiser's moments while a pretraining lasts.
    states = 5 if work.part == "pretraining" and work.runs else 0
    disk = 4 * found.parameters * (work.kept + states)
    return Row(
        work.part, work.name, work.runs, work.planned, samples, samples * found.flops, found.rate, seconds,
        found.memory, disk,
    )  # fmt: skip


@cache
def _measured(config: Any, compile: bool, patch: int) -> Any:
    """A few updates on this device."""
    from eo_ssl.train.config import PretrainConfig
    from eo_ssl.train.devices import loader_threads
    from eo_ssl.train.measure import measure_finetuning, measure_pretraining
    from eo_ssl.train.noise import NoiseSource

    if not isinstance(config, PretrainConfig):
        return measure_finetuning(config, patch)
    source = NoiseSource(3 * config.batch_size + 4, patch)
    return measure_pretraining(config, source, compile=compile, workers=loader_threads())


@cache
def _counted(config: Any) -> Any:
    from eo_ssl.train.measure import count

    return count(config)


def table(rows: list[Row]) -> list[str]:
    """The rows and their sums in columns of text."""
    cells = [COLUMNS, *(_cells(row.name, f"{row.runs}", [row], row.rate) for row in rows)]
    for part in dict.fromkeys(row.part for row in rows):
        chosen = [row for row in rows if row.part == part]
        cells.append(_cells(f"all {part}", f"{sum(row.runs for row in chosen)}", chosen))
    cells.append(_cells("all", f"{sum(row.runs for row in rows)}", rows))
    widths = [max(len(row[i]) for row in cells) for i in range(len(COLUMNS))]
    return [
        "  ".join(text.ljust(w) if i == 0 else text.rjust(w) for i, (text, w) in enumerate(zip(row, widths)))
        for row in cells
    ]


def _cells(name: str, runs: str, rows: list[Row], rate: float = 0.0) -> tuple[str, ...]:
    total = [sum(getattr(row, key) for row in rows) for key in ("samples", "flops", "seconds", "disk")]
    memory = max((row.memory for row in rows), default=0)
    return (
        name, runs, _short(total[0]), _short(total[1] / 1e15), _short(rate) if rate else "",
        _short(total[2] / 3600), f"{memory / 1e9:.1f}" if memory else "–", f"{total[3] / 1e9:.2f}",
    )  # fmt: skip


def _short(value: float) -> str:
    """Three digits, without an exponent where that is readable.

    >>> _short(0.01234), _short(12345.6), _short(1.5e9)
    ('0.0123', '12,346', '1.5e+09')
    """
    return f"{value:,.0f}" if 1000 <= value < 1e7 else f"{value:.3g}"


def _notes(profile: Profile, data: str, there: Sizes, rows: list[Row], measured_here: bool) -> list[str]:
    """What stands below the table: how the hours came about, reading, memory, disk."""
    from eo_ssl.course.session import device_name

    hours = sum(row.seconds for row in rows) / 3600
    labelled = (there.train + there.val + there.test) * there.patch**2 * LABELLED_BYTES / 1e9
    disk = sum(row.disk for row in rows) / 1e9 + OTHERS_MB / 1e3
    if measured_here:
        how = f"{hours:.2f} hours on one device, measured on {device_name()}; more devices share the downstream models"
    else:
        how = (
            f"no GPU here ({device_name()}), so nothing was timed: the {hours:,.1f} hours are the operations counted "
            f"(PFLOP) at an assumed {ASSUMED_FLOPS / 1e12:.0f} TFLOP/s on one GPU. Repeat this on the computer that "
            "will train, or scale them"
        )
    copies = 0.0
    if data == SIMULATED and not profile.real_data:
        patches = there.pairs + there.held_out + there.train + there.val + there.test
        copies = patches * there.patch**2 * (STORED_BYTES + SIMULATED_BYTES) / 1e9
    return [
        f"patches: {there.pairs:,} to pretrain on, {there.held_out:,} held out; {there.train:,} labelled to train "
        f"on, {there.val:,} to validate, {there.test:,} to test ({there.origin})",
        f"time: {how}. Chapters themselves come on top, with minutes.",
        *_reading(data, there, rows),
        f"memory: {labelled:.1f} GB for the labelled patches in each process that fine-tunes, or on its GPU",
        f"disk: {disk:.1f} GB in the run folder, {copies:.1f} GB for simulated data in the cache",
        "left to do only: pretrainings and models that the run folder holds are not counted",
    ]


def _reading(data: str, there: Sizes, rows: list[Row]) -> list[str]:
    """How fast pairs are read, where there are data to read, and whether that is fast enough."""
    if data == SIMULATED:
        return []
    rate = reading_rate(Path(data))
    from eo_ssl.train.devices import loader_threads

    threads = max(1, loader_threads())
    wanted = max((row.rate for row in rows if row.part == "pretraining"), default=0.0)
    text = f"reading: {rate:,.0f} pairs/s on one thread, {threads} read ahead"
    size = (there.pairs + there.held_out) * there.patch**2 * STORED_BYTES / 1e9
    if rate * threads < wanted:
        text += (
            f"; training could take {wanted:,.0f}: pack the data first, `eo-ssl data pack {data} STORE` "
            f"({size:,.0f} GB), and give the store as --data"
        )
    return [text]


def reading_rate(root: Path) -> float:
    """Pairs per second of one thread: a dozen patches from all over the data set, read whole."""
    import time

    import numpy as np

    source = open_unread(root)
    rows = source.rows("pretrain", "pretrain_val")
    chosen = rows[np.linspace(0, len(rows) - 1, min(READS, len(rows))).astype(int)]
    began = time.perf_counter()
    for row in chosen:
        source.read(int(row))
    return len(chosen) / (time.perf_counter() - began)
