"""`setup(...)` opens the profile, the run folder, the data and the device: line one of every chapter."""

import html
import multiprocessing
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eo_ssl.course import places
from eo_ssl.course.demands import SIMULATED, check_data, require_data, require_gpu
from eo_ssl.errors import ConfigError
from eo_ssl.files import locked, read_json
from eo_ssl.profiles import Profile, get_profile
from eo_ssl.provenance import commit

if TYPE_CHECKING:
    import torch

# The book replaces this with the measured minutes once the chapter has ended.
MINUTES = '<span class="eo-minutes">counted when the chapter ends</span>'
NO_EVIDENCE = "smoke run, not evidence"
# Worker processes import the script that started them, and would run it again.
UNGUARDED = 'in a script, call eo_ssl from under `if __name__ == "__main__":`'


@dataclass(frozen=True)
class Run:
    """One run of the course: the profile, its folder, the seed, the device and the data.

    `run.source()` opens the data set (creating the simulated one if needed); `run.figure_dir` is
    where figures are saved; a cell that ends with `run` shows the run-status line.
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
    def figure_dir(self) -> Path:
        """Folder for the figures of this run."""
        return self.root / "figures"

    @cached_property
    def data_root(self) -> Path:
        """Folder of the data set; the simulated one is written the first time it is asked for."""
        if self.data != SIMULATED:
            return check_data(self.data)
        return simulated(self.profile, self.seed)

    def source(self) -> Any:
        """The data set, opened once: an `eo_ssl.data.dataset.Source`."""
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
        seeds = (
            f"{len(self.profile.pretrain_seeds)} pretraining, {len(self.profile.finetune_seeds)} fine-tuning"
        )
        return {
            "profile": self.profile.name,
            "device": device_name(),
            "seeds": f"{seeds} (first: {self.seed})",
            "data": data_version(self.profile, self.data, self.seed),
            "commit": commit(),
        }

    def status_line(self) -> str:
        """The run-status line as plain text."""
        line = " · ".join(f"{name} {value}" for name, value in self.facts().items())
        return line if self.is_evidence else f"{line} · {NO_EVIDENCE}"

    def _repr_html_(self) -> str:
        items = {**self.facts(), "minutes": None}
        cells = (
            f"<span><b>{k}</b> {MINUTES if v is None else html.escape(v)}</span>" for k, v in items.items()
        )
        warning = "" if self.is_evidence else f'<span class="eo-no-evidence">{NO_EVIDENCE}</span>'
        return (
            f'<div class="eo-run-status" role="note" aria-label="Run status">{"".join(cells)}{warning}</div>'
        )

    def __repr__(self) -> str:
        return self.status_line()


def setup(profile: str = "laptop", data: str = SIMULATED, run_dir: str | Path = "", seed: int = 0) -> Run:
    """Open a run: check the parameters, create the run folder, choose the device.

    Nothing is read or simulated until `run.source()` asks for it, so chapters that need no data start
    at once. Raises `ConfigError` naming the parameter that does not fit and what would.
    """
    checked = get_profile(profile)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"seed must be a whole number of 0 or more, not {seed!r}")
    require_data(checked, data)
    require_gpu(checked)
    root = places.require_writable(places.run_folder(checked.name, run_dir))
    run = Run(profile=checked, data=data, root=root, seed=seed)
    run.figure_dir.mkdir(exist_ok=True)
    os.environ["EO_SSL_FIGURES"] = str(run.figure_dir)  # eo_ssl.show saves a copy of each figure there
    return run


def simulated(profile: Profile, seed: int) -> Path:
    """The simulated data set of this profile and seed; written to the cache the first time.

    One process at a time writes it; an interrupted one is finished by the next.
    """
    from eo_ssl import simulate

    target = simulated_target(profile, seed)
    if (target / "dataset.json").is_file():  # written last
        return target
    if multiprocessing.parent_process() is not None:  # would wait for the lock that its parent holds
        raise ConfigError(UNGUARDED)
    with locked(target.parent / ".lock", "simulate the data set"):
        return simulate.simulate(target, profile.simulate, seed=seed)


def simulated_target(profile: Profile, seed: int) -> Path:
    """Where the simulated data set of this profile and seed is kept, whether it exists or not."""
    from eo_ssl import simulate

    return places.simulated_folder(profile.simulate, seed, simulate.VERSION)


def data_version(profile: Profile, data: str, seed: int) -> str:
    """Name and version of the data set, from its `dataset.json` where it has one."""
    if data == SIMULATED:
        from eo_ssl import simulate

        return f"simulated {profile.simulate} {simulate.VERSION} seed {seed}"
    card = Path(data) / "dataset.json"
    if card.is_file():
        facts = read_json(card)
        return f"{facts.get('name', Path(data).name)} {facts.get('version', '')}".strip()
    return Path(data).name


def device_name() -> str:
    """The device in words, such as "NVIDIA H100" or "CPU, 2 cores"."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name(0)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"CPU, {cores} cores"
