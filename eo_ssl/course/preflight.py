"""Chapter 00: does this machine have what the course needs? One row for each thing, with what to do."""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from eo_ssl.course import forecast, notebooks, session, status
from eo_ssl.course.session import Run
from eo_ssl.errors import ConfigError
from eo_ssl.profiles import PROFILES
from eo_ssl.show.tables import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

READY, NOTE, STOP = "✓ ready", "• note", "✗ to do"
SHOWN = ("torch", "timm", "lightning-fabric", "rasterio", "anywidget", "nbclient")


class Item(NamedTuple):
    """One row of the pre-flight: what was looked at, what was found, and what to do about it."""

    name: str
    found: str
    state: str = READY
    advice: str = ""


def preflight(run: Run) -> Table:
    """Look at versions, device, memory, disk and data for this run's profile; a table that says what to do."""
    return Table(("what", "found", "state", "what to do"), tuple(items(run)), wide=(1, 2, 3))


def items(run: Run) -> list[Item]:
    """What was looked at, one item a row."""
    return [*software(), device(run), memory(run), *disk(run), data(run), samples()]


def profiles() -> str:
    """The sizes of the course as a Markdown table: profile, what it needs, how long the whole takes."""
    lines = ["| profile | hardware | whole course |", "|---|---|---|"]
    for profile in PROFILES.values():
        hardware = "GPU" if profile.requires_gpu else "CPU"
        lines.append(f"| `{profile.name}` | {hardware}, {profile.memory_gb} GB | {profile.budget} |")
    return "\n".join(lines)


def software() -> Iterator[Item]:
    """Python and the packages that matter most; whether their versions fit, pip has seen to."""
    yield Item("Python", f"{platform.python_version()} in {shown(Path(sys.prefix))}")
    found, missing = [], []
    for name in SHOWN:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    advice = f"{', '.join(missing)} missing: run **make setup**" if missing else ""
    yield Item("Packages", ", ".join(found), STOP if missing else READY, advice)


def device(run: Run) -> Item:
    """The device that trains here."""
    import torch

    name = session.device_name()
    if run.device.type == "cuda":
        return Item("Device", f"{name}, {torch.cuda.get_device_properties(0).total_memory / 1e9:.0f} GB")
    if run.profile.requires_gpu:
        return Item("Device", name, NOTE, "this profile is meant for a GPU; it will be slow here")
    return Item("Device", name, READY, "no GPU needed for this profile")


def memory(run: Run) -> Item:
    """Free memory against what the profile needs."""
    import psutil

    free, needed = psutil.virtual_memory().available / 1e9, run.profile.memory_gb
    advice = "" if free >= needed else f"{needed} GB are better: close other programs"
    return Item("Memory", f"{free:.1f} GB free", NOTE if advice else READY, advice)


def disk(run: Run) -> Iterator[Item]:
    """Free space where the run and the cache are kept, after a file was written there to know that one can."""
    needs = forecast.disk_needs(run)
    options = {"Run folder": "run_dir", "Cache": "EO_SSL_CACHE"}
    for (name, option), (folder, needed) in zip(options.items(), needs.items()):
        try:
            session.require_writable(folder)
        except ConfigError as error:
            yield Item(name, shown(folder), STOP, f"{error}: set {option}")
            continue
        free = shutil.disk_usage(folder).free
        advice = "" if free >= needed else f"{needed / 1e9:.1f} GB are needed"
        yield Item(name, f"{shown(folder)} ({free / 1e9:.0f} GB free)", STOP if advice else READY, advice)


def data(run: Run) -> Item:
    """The data set: the simulated one is made when first needed."""
    if not run.simulated:
        return Item("Data set", f"{run.data_version} in {shown(run.data_root)}")
    if session.is_whole(run.simulated):
        return Item("Data set", f"simulated, in {shown(run.simulated)}")
    return Item("Data set", "simulated, not made yet", NOTE, "made here by the first chapter that needs it")


def samples() -> Item:
    """The small real patches: fetched once, used offline after that."""
    from eo_ssl.data import fetch

    states = fetch.available()
    if missing := [f"{name} {state}" for name, state in states.items() if state != "ready"]:
        advice = "**eo-ssl data fetch** gets them; without them: simulated ones"
        return Item("Real patches", ", ".join(missing), NOTE, advice)
    return Item("Real patches", f"{len(states)} sets, in {shown(fetch.folder())}")


def shown(folder: Path) -> str:
    """A folder as a page may show it: relative to the project or the home folder where it is inside them."""
    home = Path(os.path.expanduser("~"))  # unlike Path.home(), no error for a user without one
    for base, mark in ((session.project_root(), ""), (home, "~/")):
        if folder.is_relative_to(base) and folder != base:
            return mark + folder.relative_to(base).as_posix()
    return str(folder)


def times(run: Run) -> dict[str, float]:
    """Minutes of each chapter: what it took in this run folder, otherwise what it will take on this machine.

    The forecast is that of the runner where it has measured, otherwise made here.
    """
    state, taken = status.read(run.root), status.done(run.root)
    minutes = state.get("expected")
    if not minutes:
        folder = session.project_root() / "notebooks"
        chapters = {path.stem: notebooks.read(path) for path in notebooks.sources(folder)}
        minutes = forecast.forecast(run, chapters, say=lambda _: None).minutes
    return {stem: taken.get(stem, {}).get("minutes", value) for stem, value in sorted(minutes.items())}


def plot_times(minutes: dict[str, float], run: Run) -> "Figure":
    """Bars: the minutes to expect for each chapter, with alt text that says them."""
    from eo_ssl import show

    taken = status.done(run.root)
    looks = {"minutes": {"color": ["#4477aa" if stem in taken else "#b8c0ca" for stem in minutes]}}
    title = f"{sum(minutes.values()):.0f} minutes in all (blue: taken, grey: forecast for this machine)"
    axis = {"xlabel": "chapter", "title": title}
    numbers = [stem[:2] for stem in minutes]
    return show.bars({"minutes": list(minutes.values())}, numbers, "minutes", "%.1f", looks=looks, **axis)
