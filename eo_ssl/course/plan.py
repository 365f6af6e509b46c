"""What a run will do, decided and checked before anything runs: chapters, parameters, what is up to date."""

import ast
import hashlib
import json
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, NamedTuple

import nbformat

from eo_ssl.course import forecast, notebooks, session, status
from eo_ssl.data import catalog, fetch
from eo_ssl.errors import DataError
from eo_ssl.files import sha256
from eo_ssl.provenance import meaning

PACKAGE = Path(__file__).resolve().parents[1]
# Installed packages whose version can change what a notebook shows.
SHAPING = (
    "torch", "torchvision", "timm", "lightning-fabric", "numpy", "scipy", "scikit-learn", "pandas",
    "rasterio", "matplotlib", "umap-learn", "anywidget",
)  # fmt: skip
LEARNING = "03"  # the first chapter that trains, and needs all parts of the data


@dataclass(frozen=True)
class Chapter:
    """One notebook of the plan: `sources` stands for all code behind it, `key` for that and its data, settings and
    versions."""

    source: Path
    notebook: nbformat.NotebookNode
    parameters: dict[str, Any]
    sources: str
    key: str

    @property
    def stem(self) -> str:
        """File name without the ending, such as "04_simclr"."""
        return self.source.stem


class Plan(NamedTuple):
    """A run whose settings were checked, and its chapters in order."""

    run: session.Run
    chapters: list[Chapter]


def make_plan(
    folder: Path,
    profile: str,
    data: str = session.SIMULATED,
    run_dir: str | Path = "",
    seed: int = 0,
    only: list[str] | None = None,
    dry: bool = False,
) -> Plan:
    """Check every setting and lay out the run; whatever does not fit raises before anything is executed.

    A `dry` plan may be made on another computer: GPU, disk and real data are not asked for.
    """
    checked = session.require_fitting(profile, data, seed, dry)
    chosen = notebooks.select(folder, only or [])
    if data != session.SIMULATED:
        data = str(session.check_data(data))
        if checked.real_data or any(path.stem >= LEARNING for path in chosen):
            catalog.require_complete(Path(data))
    root = session.require_writable(session.run_folder(profile, run_dir, data, seed))
    run = session.Run(checked, data, root, seed)
    if not dry:
        forecast.require_disk(run)
    values = {"profile": checked.name, "data": data, "run_dir": str(root), "seed": seed}
    installed = {d.metadata["Name"]: d.version for d in distributions() if d.metadata["Name"] in SHAPING}
    versions = [platform.python_version(), installed, run.data_version]
    state = "" if data == session.SIMULATED else catalog.identity(data)
    # Where the run is kept does not change what it computes.
    inputs = [{**values, "run_dir": ""}, versions, state, fetch.available()]
    chapters = []
    for path, sources in sources_of(folder).items():
        if path in chosen:
            notebook = notebooks.read(path)
            if missing := sorted(values.keys() - notebooks.parameters(notebook)):
                raise DataError(f"{path}: its parameter cell lacks {', '.join(missing)}")
            key = _digest([sources, inputs])
            chapters.append(Chapter(path, notebook, values, sources, key))
    return Plan(run, chapters)


def sources_of(folder: Path) -> dict[Path, str]:
    """A digest of the code behind each chapter: its own cells, those of earlier chapters, and what they import.

    Of the package and of `chapters/` only the modules that a chapter reaches count, and of these not comments,
    docstrings and layout: a changed figure of chapter 05 is no matter of chapter 06.
    """
    found, earlier = {}, ""
    for path in notebooks.sources(folder):
        code = [c.source for c in notebooks.read(path).cells if c.cell_type == "code"]
        found[path] = _digest([code, earlier, dict(_reached(code, folder))])
        earlier = _digest([earlier, code])
    return found


def _reached(code: list[str], folder: Path) -> Iterator[tuple[str, str]]:
    """Name and digest of every module and data file that the code uses, directly or through others."""
    roots = {"eo_ssl": PACKAGE.parent, "chapters": folder}
    seen, words, waiting = set(), "\n".join(code), set().union(*map(_imported, code))
    while waiting:
        name = waiting.pop()
        if name in seen or name.split(".")[0] not in roots:
            continue
        seen.add(name)
        path = roots[name.split(".")[0]] / name.replace(".", "/")
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if path.is_file():  # otherwise a name inside a module
            source = path.read_text(encoding="utf-8")
            yield name, _meaning(source)
            words += f"{source}{path.stem}.toml" if name.startswith("chapters.") else ""
            waiting |= {name.rpartition(".")[0], *_imported(source)}
    if "eo_ssl.course.recipes" in seen:  # may take the encoders that come with the course
        weights = (PACKAGE.parent / "book" / "results" / "encoders").glob("*/*.safetensors")
        yield "encoders", _digest([sha256(path) for path in sorted(weights)])
    beside = [p for part in ("chapters", "images") for p in folder.glob(f"{part}/*") if p.name in words]
    for path in sorted([*beside, *PACKAGE.rglob("*")]):
        if path.suffix in {".js", ".css", ".json", ".svg", ".toml"}:
            yield path.name, sha256(path)


@cache
def _imported(source: str) -> frozenset[str]:
    """Modules, and names that may be modules, which a source imports anywhere; none if it is not Python."""
    nodes = list(ast.walk(notebooks.syntax(source)))
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


@cache
def _meaning(source: str) -> str:
    return _digest(meaning(source))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def is_current(chapter: Chapter, run_dir: Path) -> bool:
    """True if the executed copy in the run folder was made from exactly this."""
    return status.done(run_dir).get(chapter.stem, {}).get("key") == chapter.key
