"""What a run will do, decided and checked before anything runs: chapters, parameters, what is up to date."""

import hashlib
import json
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import nbformat

from eo_ssl.course import notebooks, places, session, status
from eo_ssl.data.catalog import require_complete
from eo_ssl.errors import ConfigError, DataError, nearest
from eo_ssl.files import require_space
from eo_ssl.profiles import Profile, get_profile

# Packages whose version can change what a notebook shows.
SHAPING = (
    "torch",
    "torchvision",
    "timm",
    "lightning",
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "rasterio",
)
SHAPING += ("matplotlib", "umap-learn", "anywidget", "torchmetrics")


LEARNING = "03"  # the first chapter that trains, and needs all parts of the data


@dataclass(frozen=True)
class Chapter:
    """One notebook of the plan; `key` names everything its result depends on, `text` its prose."""

    source: Path
    notebook: nbformat.NotebookNode
    parameters: dict[str, Any]
    key: str
    text: str

    @property
    def stem(self) -> str:
        """File name without the ending, such as "04_simclr"."""
        return self.source.stem

    @property
    def title(self) -> str:
        """The chapter's heading."""
        return notebooks.title(self.notebook)


@dataclass(frozen=True)
class Plan:
    """The checked settings of a run and its chapters in order."""

    profile: Profile
    data: str
    run_dir: Path
    seed: int
    chapters: tuple[Chapter, ...]


def make_plan(
    folder: Path,
    profile: str,
    data: str = session.SIMULATED,
    run_dir: str | Path = "",
    seed: int = 0,
    only: list[str] | None = None,
    extra: dict[str, Any] | None = None,
    dry: bool = False,
) -> Plan:
    """Check every setting and lay out the run; whatever does not fit raises before anything is executed.

    A `dry` plan may be made on another computer: GPU, disk and real data are not asked for.
    """
    checked = get_profile(profile)
    chosen = notebooks.select(folder, only or [])
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"seed must be a whole number of 0 or more, not {seed!r}")
    if not dry:
        session.require_data(checked, data)
    if data != session.SIMULATED:
        data = str(session.check_data(data))
        if checked.real_data or any(path.stem >= LEARNING for path in chosen):
            require_complete(Path(data))
    root = places.run_folder(checked.name, run_dir)
    values = {"profile": checked.name, "data": data, "run_dir": str(root), "seed": seed}
    loaded = {path: notebooks.read(path) for path in notebooks.sources(folder)}
    allowed = [notebooks.parameters(loaded[path]) for path in chosen]
    for path, names in zip(chosen, allowed):
        missing = sorted(set(values) - set(names))
        if missing:
            raise DataError(f"{path}: its parameter cell lacks {', '.join(missing)}")
    values |= check_extra(extra or {}, allowed)
    places.require_writable(root)
    if not dry:
        session.require_gpu(checked)
        require_space(root, checked.disk_mb * 10**6, f"a {checked.name} run")
    chapters = _chapters(loaded, chosen, values, _inputs(checked, data, seed))
    return Plan(checked, data, root, seed, tuple(chapters))


def check_extra(extra: dict[str, Any], allowed: list[dict[str, Any]]) -> dict[str, Any]:
    """Give each extra parameter the type of its default; unknown names and types raise `ConfigError`."""
    known = {name: default for names in allowed for name, default in names.items()}
    checked = {}
    for name, value in extra.items():
        if name not in known:
            raise ConfigError(f"no chapter has a parameter {name!r}{nearest(name, known)}")
        if name in ("profile", "data", "run_dir", "seed"):
            raise ConfigError(f"set {name} with --{name.replace('_', '-')}, not with -p")
        checked[name] = _convert(name, value, known[name])
    return checked


def _convert(name: str, value: Any, default: Any) -> Any:
    kind = type(default)
    try:
        if kind is bool:
            return {"true": True, "false": False, "1": True, "0": False}[str(value).lower()]
        return kind(value)
    except (KeyError, TypeError, ValueError):
        raise ConfigError(
            f"parameter {name} takes a {kind.__name__} such as {default!r}, not {value!r}"
        ) from None


def _inputs(profile: Profile, data: str, seed: int) -> dict[str, Any]:
    """Everything outside the notebook that its result depends on."""
    versions = {}
    for name in SHAPING:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = ""
    return {
        "package": places.package_hash(),
        "python": platform.python_version(),
        "versions": versions,
        "data": [data, session.data_version(profile, data, seed)],
        "samples": _samples(),
    }


def _samples() -> dict[str, str]:
    from eo_ssl.data import fetch as sample_archives

    return sample_archives.available()


def _chapters(
    loaded: dict[Path, nbformat.NotebookNode],
    chosen: list[Path],
    values: dict[str, Any],
    inputs: dict[str, Any],
) -> list[Chapter]:
    """Keys in a chain: a chapter depends on its own code and on that of all earlier chapters."""
    chapters, earlier = [], ""
    for path, notebook in loaded.items():
        names = notebooks.parameters(notebook)
        own = {name: value for name, value in values.items() if name in names}
        # Where the run is kept does not change what it computes.
        asked = {name: value for name, value in own.items() if name != "run_dir"}
        code = [c.source for c in notebook.cells if c.cell_type == "code"]
        key = _digest([code, asked, inputs, earlier])
        text = _digest([[c.cell_type, c.source, notebooks.tags(c)] for c in notebook.cells])
        earlier = _digest([earlier, code])
        if path in chosen:
            chapters.append(Chapter(path, notebook, own, key, text))
    return chapters


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def is_current(chapter: Chapter, run_dir: Path) -> bool:
    """True if the executed copy in the run folder was made from exactly this."""
    before = status.done(run_dir).get(chapter.stem)
    return before is not None and before.get("key") == chapter.key
