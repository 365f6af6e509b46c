"""Chapter 00: does this machine have what the course needs? One row for each thing, with what to do."""

import html
import platform
import re
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING

from eo_ssl.course import places, session, status
from eo_ssl.course.session import Run
from eo_ssl.errors import EOError
from eo_ssl.files import cache_dir

if TYPE_CHECKING:
    from matplotlib.figure import Figure

READY, NOTE, STOP = "ready", "note", "stop"
MARKS = {READY: "✓ ready", NOTE: "• note", STOP: "✗ to do"}
SHOWN = ("torch", "timm", "lightning", "rasterio", "anywidget", "papermill")
CODE = re.compile("`(.+?)`")


@dataclass(frozen=True)
class Item:
    """One line of the pre-flight: what was looked at, what was found, and what to do about it."""

    name: str
    found: str
    state: str = READY
    advice: str = ""


class Table(tuple[Item, ...]):
    """The pre-flight items; a notebook shows them as a table."""

    def _repr_html_(self) -> str:
        rows = "".join(map(_row, self))
        head = "".join(f'<th scope="col">{name}</th>' for name in ("what", "found", "state", "what to do"))
        return f'<table class="eo-preflight"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'

    def __repr__(self) -> str:
        return "\n".join(f"{MARKS[i.state]:8} {i.name}: {i.found} {i.advice}".rstrip() for i in self)


def _row(item: Item) -> str:
    texts = map(html.escape, (item.found, MARKS[item.state], item.advice))
    cells = "".join(CODE.sub(r"<code>\1</code>", f"<td>{text}</td>") for text in texts)
    return f'<tr class="eo-{item.state}"><th scope="row">{html.escape(item.name)}</th>{cells}</tr>'


def preflight(run: Run) -> Table:
    """Look at versions, device, memory, disk and data for this run's profile."""
    return Table([*software(), device(run), memory(run), *disk(run), data(run), samples()])


def software() -> Iterable[Item]:
    """Python and the packages that matter most, against the ranges that the course asks for."""
    from packaging.requirements import Requirement
    from packaging.version import Version

    yield Item("Python", f"{platform.python_version()} in {shown(Path(sys.prefix))}")
    try:
        wanted = {r.name: r for r in map(Requirement, requires("eo_ssl") or [])}
    except PackageNotFoundError:
        wanted = {}
    found, wrong = [], []
    for name in SHOWN:
        try:
            here = version(name)
        except PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        found.append(f"{name} {here}")
        if name in wanted and Version(here.split("+")[0]) not in wanted[name].specifier:
            wrong.append(f"{name} should be {wanted[name].specifier}")
    advice = f"{', '.join(wrong)}: run `make setup`" if wrong else ""
    yield Item("Packages", ", ".join(found), STOP if wrong else READY, advice)


def device(run: Run) -> Item:
    """The device that trains here."""
    import torch

    if run.device.type == "cuda":
        gigabytes = torch.cuda.get_device_properties(0).total_memory / 1e9
        return Item("Device", f"{session.device_name()}, {gigabytes:.0f} GB")
    if run.profile.requires_gpu:
        return Item(
            "Device", session.device_name(), NOTE, "this profile is meant for a GPU; it will be slow here"
        )
    return Item("Device", session.device_name(), READY, "no GPU needed for this profile")


def memory(run: Run) -> Item:
    """Free memory against what the profile needs."""
    import psutil

    free, needed = psutil.virtual_memory().available / 1e9, run.profile.memory_gb
    advice = "" if free >= needed else f"{needed} GB are better: close other programs"
    return Item("Memory", f"{free:.1f} GB free", READY if free >= needed else NOTE, advice)


def disk(run: Run) -> Iterable[Item]:
    """Free space where the run and the cache are kept."""
    for name, folder in (("Run folder", run.root), ("Cache", cache_dir())):
        free, needed = shutil.disk_usage(_existing(folder)).free, run.profile.disk_mb * 10**6
        enough = free >= needed
        advice = "" if enough else f"up to {needed / 1e9:.1f} GB are needed"
        yield Item(name, f"{shown(folder)} ({free / 1e9:.0f} GB free)", READY if enough else STOP, advice)


def data(run: Run) -> Item:
    """The data set: the simulated one is made when first needed."""
    if run.data != session.SIMULATED:
        return Item(
            "Data set", f"{session.data_version(run.profile, run.data, run.seed)} in {shown(Path(run.data))}"
        )
    try:
        folder = session.simulated_target(run.profile, run.seed)
    except (EOError, ImportError) as error:
        return Item("Data set", "simulated", STOP, str(error))
    if (folder / "dataset.json").is_file():
        return Item("Data set", f"simulated, in {shown(folder)}")
    return Item(
        "Data set", "simulated, not made yet", NOTE, "made on this machine by the first chapter that needs it"
    )


def samples() -> Item:
    """The small real patches: fetched once, used offline after that."""
    from eo_ssl.data import fetch as sample_archives

    states = sample_archives.available()
    missing = [f"{name} {state}" for name, state in states.items() if state != "ready"]
    if not missing:
        return Item("Real patches", f"{len(states)} sets, in {shown(sample_archives.folder())}")
    return Item(
        "Real patches",
        ", ".join(missing),
        NOTE,
        "`eo-ssl data fetch` gets them; without them: simulated ones",
    )


def times(run: Run) -> dict[str, float]:
    """Minutes to expect for each chapter of this profile: measured here, otherwise as recorded."""
    known = status.expected_minutes(run.profile.name, run.root)
    there = {path.stem for path in (places.project_root() / "notebooks").glob("*.ipynb")}
    return {stem: minutes for stem, minutes in sorted(known.items()) if stem in there}


def shown(folder: Path) -> str:
    """A folder as a page may show it: relative to the project or the home folder where it is inside them."""
    for base, mark in ((places.project_root(), ""), (Path.home(), "~/")):
        if folder.is_relative_to(base) and folder != base:
            return mark + folder.relative_to(base).as_posix()
    return str(folder)


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def plot_times(minutes: dict[str, float], run: Run) -> "Figure":
    """Bars: the minutes to expect for each chapter, with alt text that names them."""
    import matplotlib.pyplot as plt

    from eo_ssl import show

    measured = set(status.done(run.root))
    names = [stem.replace("_", " ") for stem in minutes]
    fig, ax = plt.subplots(figsize=(6.4, 0.6 + 0.27 * len(minutes)))
    colours = ["#4477aa" if stem in measured else "#b8c0ca" for stem in minutes]
    bars = ax.barh(names, list(minutes.values()), color=colours, height=0.66)
    ax.bar_label(bars, fmt="%.1f", padding=3, fontsize=8)
    ax.invert_yaxis()
    ax.margins(x=0.12)
    ax.set_xlabel("minutes")
    total = sum(minutes.values())
    ax.set_title(f"{total:.0f} minutes in all (blue: measured in this run folder, grey: on another machine)")
    values = ", ".join(f"{name} {value:.1f}" for name, value in zip(names, minutes.values()))
    return show.describe(
        fig, f"Bar chart of the minutes each chapter takes at profile {run.profile.name}: {values}."
    )
