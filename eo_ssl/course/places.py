"""Where things are: the project folder, the notebooks, the run folder, the simulated data."""

import hashlib
import os
from pathlib import Path

from eo_ssl.errors import ConfigError
from eo_ssl.files import cache_dir


def project_root(start: Path | None = None) -> Path:
    """The nearest folder, from `start` (default: here) upwards, that holds `notebooks/` and `eo_ssl/`."""
    here = Path(start or Path.cwd()).resolve()
    package_parent = Path(__file__).resolve().parents[2]
    for folder in (here, *here.parents, package_parent):
        if (folder / "notebooks").is_dir() and (folder / "eo_ssl").is_dir():
            return folder
    return here


def run_folder(profile: str, run_dir: str | Path = "") -> Path:
    """The run folder: `run_dir` if given, otherwise `runs/<profile>` in the project."""
    return Path(run_dir).expanduser().resolve() if run_dir else project_root() / "runs" / profile


def require_writable(folder: Path) -> Path:
    """Create `folder` and prove that a file can be written in it; raises `ConfigError` otherwise."""
    probe = folder / f".write-test-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_text("x")
        probe.unlink()
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(
            f"{folder}: cannot write there ({reason}); choose another folder with --run-dir"
        ) from error
    return folder


def simulated_folder(profile: str, seed: int, version: str) -> Path:
    """Where the simulated data set of a profile, seed and simulator version is kept."""
    return cache_dir() / "simulated" / f"{version}-{profile}-seed{seed}"


# Files that never run inside a notebook: changing them does not make an executed notebook stale.
NOT_IN_NOTEBOOKS = {"runner", "execute", "plan", "progress", "cli", "book", "staging", "vendor", "times"}
NOT_IN_NOTEBOOKS |= {"student", "notebooks", "publish", "drift", "report", "machine", "release_cli"}
NOT_IN_NOTEBOOKS |= {"dryrun", "workload"}


def package_hash() -> str:
    """SHA-256 over the package source that a notebook can reach (names and contents)."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root)
        if path.suffix not in {".py", ".js", ".css", ".json"} or "__pycache__" in inside.parts:
            continue
        if inside.parts[0] == "course" and path.stem in NOT_IN_NOTEBOOKS:
            continue
        digest.update(inside.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
