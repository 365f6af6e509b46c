"""`setup(...)` opens the profile, the run folder, the data and the device: line one of every chapter."""

import hashlib
import html
import multiprocessing
import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eo_ssl.errors import ConfigError, DataError, nearest
from eo_ssl.files import cache_dir, locked, read_json
from eo_ssl.parallel import cores, fitting_threads
from eo_ssl.profiles import NO_EVIDENCE, Profile, get_profile
from eo_ssl.provenance import commit

if TYPE_CHECKING:
    import torch

SIMULATED = "simulated"
# The book replaces this with the measured minutes once the chapter has ended.
MINUTES = '<span class="eo-minutes">counted when the chapter ends</span>'


@dataclass(frozen=True)
class Run:
    """One run of the course: the profile, its folder, the seed, the device and the data.

    `run.source()` opens the data set (creating the simulated one if needed); a cell that ends with `run` shows the
    run-status line.
    """

    profile: Profile
    data: str
    root: Path
    seed: int

    @cached_property
    def device(self) -> "torch.device":
        """The device that trains here: CUDA if there is one, otherwise the CPU."""
        import torch

        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def simulated(self) -> Path | None:
        """Where the simulated data of this run are kept, whether made yet or not; None for other data."""
        return simulated_target(self.profile, self.seed) if self.data == SIMULATED else None

    @property
    def data_version(self) -> str:
        """Name and version of the data set, from its `dataset.json` where it has one."""
        if self.data == SIMULATED:
            from eo_ssl import simulate

            return f"simulated {self.profile.simulate} {simulate.VERSION} seed {self.seed}"
        root = check_data(self.data)
        facts = read_json(root / "dataset.json") if is_whole(root) else {}
        return f"{facts.get('name', root.name)} {facts.get('version', '')}".strip()

    @cached_property
    def data_root(self) -> Path:
        """Folder of the data set; the simulated one is written the first time it is asked for."""
        return simulated(self.profile, self.seed) if self.data == SIMULATED else check_data(self.data)

    def source(self) -> Any:
        """The data set, opened once: what `eo_ssl.data.dataset.open_source` returns."""
        return self._source

    @cached_property
    def _source(self) -> Any:
        from eo_ssl.data.dataset import open_source

        return open_source(self.data_root)

    @property
    def is_evidence(self) -> bool:
        """False where the run is too short for its numbers to say anything about the methods."""
        return self.profile.is_evidence

    def facts(self) -> dict[str, str]:
        """What the run-status line says, by name."""
        pretraining, finetuning = len(self.profile.pretrain_seeds), len(self.profile.finetune_seeds)
        headline = len(self.profile.seeds_of("dual-simclr"))
        more = f" ({headline} of Dual-SimCLR)" if headline > pretraining else ""
        return {
            "profile": self.profile.name,
            "device": device_name(),
            "seeds": f"{pretraining} pretraining{more}, {finetuning} fine-tuning (first: {self.seed})",
            "data": self.data_version,
            "commit": commit(),
        }

    def __repr__(self) -> str:
        facts = [f"{name} {value}" for name, value in self.facts().items()]
        return " · ".join(facts if self.is_evidence else [*facts, NO_EVIDENCE])

    def _repr_html_(self) -> str:
        items = {name: html.escape(value) for name, value in self.facts().items()} | {"minutes": MINUTES}
        cells = " ".join(f"<span><b>{name}</b> {value}</span>" for name, value in items.items())
        warning = "" if self.is_evidence else f' <span class="eo-no-evidence">{NO_EVIDENCE}</span>'
        return f'<div class="eo-run-status" role="note" aria-label="Run status">{cells}{warning}</div>'


def setup(profile: str = "laptop", data: str = SIMULATED, run_dir: str | Path = "", seed: int = 0) -> Run:
    """Open a run: check the parameters, create the run folder, choose the device and, on a CPU, PyTorch's threads.

    Nothing is read or simulated until `run.source()` asks for it, so chapters that need no data start
    at once. Raises `ConfigError` naming the parameter that does not fit and what would.
    """
    import torch

    checked = require_fitting(profile, data, seed)
    run = Run(checked, data, require_writable(run_folder(profile, run_dir, data, seed)), seed)
    (run.root / "figures").mkdir(exist_ok=True)
    os.environ["EO_SSL_FIGURES"] = str(run.root / "figures")  # eo_ssl.show saves a copy of each figure there
    torch.set_num_threads(threads_for(run))
    return run


def threads_for(run: Run) -> int:
    """Threads of PyTorch now: what the user says in OMP_NUM_THREADS; the tiniest models gain nothing by two."""
    return int(os.environ.get("OMP_NUM_THREADS") or (fitting_threads() if run.is_evidence else 1))


def require_fitting(profile: str, data: str, seed: Any, dry: bool = False) -> Profile:
    """The profile; raises `ConfigError` or `DataError` naming the parameter that does not fit, and what would.

    With `dry` neither real data nor a GPU is asked for where the profile needs it; EO_SSL_ALLOW_CPU=1 goes without
    a GPU.
    """
    checked = get_profile(profile)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"seed must be a whole number of 0 or more, not {seed!r}")
    if data != SIMULATED:
        check_data(data)
    elif checked.real_data and not dry:
        raise ConfigError(
            f"profile {profile!r} needs real data: give --data the folder that holds (or links to) SEN12MS "
            f"and DFC2020; {profile}-rehearsal goes the same way on simulated data"
        )
    if checked.requires_gpu and not dry and os.environ.get("EO_SSL_ALLOW_CPU") != "1":
        import torch

        if not torch.cuda.is_available():
            raise ConfigError(
                f"profile {profile!r} needs a CUDA GPU and none was found; use profile laptop, "
                "or set EO_SSL_ALLOW_CPU=1 to go on without one"
            )
    return checked


def project_root() -> Path:
    """The nearest folder, from here upwards, that holds `notebooks/` and `eo_ssl/`."""
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if (folder / "notebooks").is_dir() and (folder / "eo_ssl").is_dir():
            return folder
    return here


def run_folder(profile: str, run_dir: str | Path = "", data: str = SIMULATED, seed: int = 0) -> Path:
    """The run folder: `run_dir` if given, otherwise `runs/<profile>` in the project.

    Other data and other seeds have a folder of their own beside it: no run replaces what another has trained.
    """
    parts = [get_profile(profile).name]
    if run_dir:
        return Path(run_dir).expanduser().resolve()
    if data != SIMULATED:
        root = check_data(data)
        fetched = root.parent == (cache_dir() / "data").resolve()
        parts += [re.sub(r"[^A-Za-z0-9.]+", "-", root.name)[:60].strip("-")]
        parts += [] if fetched else [hashlib.sha256(str(root).encode()).hexdigest()[:8]]
    parts += [f"seed{seed}"] if seed else []
    return project_root() / "runs" / "-".join(parts)


def require_writable(folder: Path) -> Path:
    """Create `folder` and prove that a file can be written in it; raises `ConfigError` otherwise."""
    probe = folder / f".write-test-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_text("x")
        probe.unlink()
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"{folder}: cannot write there ({reason}); choose another folder") from error
    return folder


def check_data(data: str) -> Path:
    """The data root as a folder; raises `DataError` that says how to get one."""
    from eo_ssl.data.fetch import SETS, root_of

    root = root_of(data)
    if not root.is_dir():
        hint = f"{nearest(data, [SIMULATED, *SETS])}, or name the root of SEN12MS or DFC2020"
        raise DataError(f"data root {data!r} is not a folder{hint}")
    return root.resolve()


def simulated(profile: Profile, seed: int) -> Path:
    """The simulated data set of this profile and seed; written to the cache the first time.

    One process at a time writes it; an interrupted one is finished by the next.
    """
    from eo_ssl import simulate

    target = simulated_target(profile, seed)
    if is_whole(target):
        return target
    if multiprocessing.parent_process() is not None:
        # A worker imports the script that started it and would wait for the lock that its parent holds.
        raise ConfigError('in a script, call eo_ssl from under `if __name__ == "__main__":`')
    with locked(target.parent / ".lock", "simulate the data"):
        return simulate.simulate(target, profile.simulate, seed=seed)


def simulated_target(profile: Profile, seed: int) -> Path:
    """Where the simulated data set of this profile and seed is kept, whether it exists or not."""
    from eo_ssl import simulate

    return cache_dir() / "simulated" / f"{simulate.VERSION}-{profile.simulate}-seed{seed}"


def is_whole(root: Path) -> bool:
    """True if the data set in this folder has a card, which is written last."""
    return (root / "dataset.json").is_file()


def device_name() -> str:
    """The device in words, such as "NVIDIA H100" or "CPU, 2 cores"."""
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else f"CPU, {cores()} cores"
