"""Execute the chapters with papermill: checked first, resumable, and clear about what failed where.

How many threads PyTorch uses is measured once, before the chapters run, and said. Its threads wait for each other
after every operation: as soon as another program keeps one core busy, all wait for the slowest, and a convolution on
two threads takes up to ten times as long as on one. No rule tells when that happens.
"""

import logging
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
from filelock import FileLock, Timeout
from tqdm import tqdm

from eo_ssl.course import notebooks, session, status
from eo_ssl.course.plan import Chapter, Plan, is_current
from eo_ssl.errors import ConfigError, EOError
from eo_ssl.files import write_text
from eo_ssl.parallel import cores
from eo_ssl.provenance import machine, versions

UNKNOWN = 1.0  # minutes assumed for a chapter that was never timed
FULL_USE = 0.85  # more threads must save at least this share of the time to be worth their cores
FORMAT = "{desc} {percentage:3.0f}% |{bar}| {elapsed} gone, {remaining} left"


class ChapterFailed(EOError):
    """A cell of a chapter raised an error, or its kernel could not run."""


def run_course(plan: Plan, keep_going: bool = False, force: bool = False, stream: Any = None) -> list[str]:
    """Run the chapters of the plan that are not up to date; returns the names of those executed.

    Raises `ChapterFailed` at the first failing cell, or after the last chapter with `keep_going`.
    """
    stream = stream or sys.stderr
    known = status.expected_minutes(plan.profile.name, plan.run_dir)
    stale = [c for c in plan.chapters if force or not is_current(c, plan.run_dir)]
    expected = {c.stem: known.get(c.stem, UNKNOWN) for c in stale}
    failures = []
    bar = tqdm(total=sum(expected.values()), bar_format=FORMAT, file=stream, disable=None, leave=False)

    def say(line: str) -> None:
        tqdm.write(line, file=stream)
        stream.flush()

    with only_runner(plan.run_dir), terminate_as_interrupt(), bar:
        prepare_data(plan, stale, say)
        settle_threads(plan, stale, say)
        for number, chapter in enumerate(plan.chapters, start=1):
            label = f"[{number}/{len(plan.chapters)}] {chapter.stem}"
            if chapter not in stale:
                renewed = refresh(plan.run_dir, chapter.stem, chapter.notebook, chapter.text)
                say(f"{label}: up to date{', text refreshed' if renewed else ''}")
                continue
            bar.set_description_str(chapter.stem)
            say(f"{label}: running, about {expected[chapter.stem]:.1f} min expected")
            try:
                say(f"{label}: done in {run_chapter(chapter, plan):.1f} min")
            except ChapterFailed as error:
                failures.append(str(error))
                if not keep_going:
                    raise
                say(f"{label}: FAILED")
            bar.update(expected[chapter.stem])
    if failures:
        raise ChapterFailed("; ".join(failures))
    return [c.stem for c in stale]


def prepare_data(plan: Plan, stale: list[Chapter], say: Any) -> None:
    """Make the simulated data set before the chapters that learn from it (02 and later) need it."""
    if plan.data != session.SIMULATED or not any(c.stem >= "02" for c in stale):
        return
    target = session.simulated_target(plan.profile, plan.seed)
    if not session.is_simulated(target):
        say(f"making the simulated data set ({plan.profile.simulate}) in {target}")
        session.simulated(plan.profile, plan.seed)


def run_chapter(chapter: Chapter, plan: Plan) -> float:
    """Execute one chapter into the run folder and record it; returns the minutes it took."""
    running = plan.run_dir / f".running-{chapter.stem}.ipynb"
    failed = plan.run_dir / f"{chapter.stem}.failed.ipynb"
    facts = run_facts(plan)
    common = {"title": chapter.title, "commit": facts["commit"], "device": facts["device"]}
    status.update(plan.run_dir, facts, chapter.stem, {**common, "state": "running", "key": ""})
    start = time.monotonic()
    try:
        execute(chapter, running)
    except ChapterFailed as error:
        copy = ""
        if running.is_file():
            os.replace(running, failed)
            copy = f"; executed copy: {failed}"
        status.update(plan.run_dir, facts, chapter.stem, {"state": "failed", "error": str(error)})
        raise ChapterFailed(f"{error}{copy}") from None
    minutes = (time.monotonic() - start) / 60
    os.replace(running, plan.run_dir / f"{chapter.stem}.ipynb")
    failed.unlink(missing_ok=True)
    made = {"key": chapter.key, "sources": chapter.sources, "text": chapter.text}
    when = datetime.now(UTC).isoformat(timespec="seconds")
    result = {"state": "done", **made, "minutes": round(minutes, 3), "executed": when, "error": ""}
    status.update(plan.run_dir, facts, chapter.stem, result)
    return minutes


def execute(chapter: Chapter, target: Path) -> None:
    """Run the notebook with papermill, writing `target` as it goes.

    Raises `ChapterFailed` for a failing cell, a kernel that died or one that did not start. What the kernel itself
    says is kept in a log beside `target`.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import Engine, papermill_engines

    log = target.with_suffix(".log")

    class Client(PapermillNotebookClient):
        def start_new_kernel(self, **kwargs: Any) -> None:
            with open(log, "wb") as file:
                super().start_new_kernel(stderr=file, **kwargs)

    class Logged(Engine):
        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **_: Any) -> Any:
            return Client(nb_man, kernel_name=kernel_name, startup_timeout=300, timeout=None).execute()

    papermill_engines.register("eo_ssl", Logged)
    for name in ("papermill", "papermill.translators"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Papermill takes paths for format strings, and the kernel that a notebook was last saved with.
    source, out, folder = (_plain(p) for p in (chapter.source, target, chapter.source.parent))
    options = {"engine_name": "eo_ssl", "progress_bar": False, "cwd": folder, "language": "python"}
    kernel = notebooks.KERNELSPEC["name"]
    try:
        papermill.execute_notebook(source, out, chapter.parameters, kernel_name=kernel, **options)
    except papermill.PapermillExecutionError as error:
        last = error.evalue.strip().splitlines() or [""]
        where = f"{chapter.stem}, cell {error.cell_index}"
        raise ChapterFailed(f"{where}: {error.ename}: {last[-1]}") from None
    except DeadKernelError:
        raise ChapterFailed(f"{chapter.stem}: the kernel died (often: out of memory; see {log})") from None
    except Exception as error:  # whatever keeps a kernel from starting
        reason = (str(error).splitlines() or [""])[0]
        raise ChapterFailed(f"{chapter.stem}: not executed: {type(error).__name__}: {reason}") from error


def _plain(path: Path) -> str:
    """The path for a function that formats it.

    >>> _plain(Path("run{seed}")).format(seed=0)
    'run{seed}'
    """
    return str(path).replace("{", "{{").replace("}", "}}")


def refresh(run_dir: Path, stem: str, notebook: nbformat.NotebookNode, text: str) -> bool:
    """Bring changed prose into the executed copy of a chapter whose code has not changed; True if it had."""
    if status.done(run_dir)[stem].get("text") == text:
        return False
    path = run_dir / f"{stem}.ipynb"
    executed = notebooks.read(path)
    injected = [c for c in executed.cells if "injected-parameters" in notebooks.tags(c)]
    ran = [c for c in executed.cells if c.cell_type == "code" and c not in injected]
    cells = []
    for cell in nbformat.from_dict(notebook).cells:
        if cell.cell_type == "code":
            before = ran.pop(0)
            cell.outputs, cell.execution_count = before.outputs, before.execution_count
            cell.metadata["papermill"] = before.metadata.get("papermill", {})
        cells += [cell, *injected] if "parameters" in notebooks.tags(cell) else [cell]
    executed.cells = cells
    write_text(path, nbformat.writes(executed))
    status.update(run_dir, {}, stem, {"text": text, "title": notebooks.title(notebook)})
    return True


def run_facts(plan: Plan) -> dict[str, Any]:
    """What `status.json` says about the run as a whole."""
    profile = plan.profile
    seeds = {"first": plan.seed, "pretrain": profile.pretrain_seeds, "finetune": profile.finetune_seeds}
    facts = session.Run(profile, plan.data, plan.run_dir, plan.seed).facts()
    about = {"evidence": profile.is_evidence, "machine": machine(), "versions": versions()}
    return {**facts, "seeds": seeds, **about}


@contextmanager
def only_runner(run_dir: Path) -> Iterator[None]:
    """Hold the run folder for one runner at a time; the system frees it when the process dies."""
    lock = FileLock(run_dir / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(
            f"{run_dir}: another run is at work there; wait for it or choose another --run-dir"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, so that the notebook's kernel is shut down with us."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def settle_threads(plan: Plan, stale: list[Chapter], say: Any) -> None:
    """Set OMP_NUM_THREADS for the kernels, unless the user did; one where the models are tiny (smoke)."""
    if not stale or "OMP_NUM_THREADS" in os.environ:
        return
    number = fitting_threads() if plan.profile.is_evidence else 1
    os.environ["OMP_NUM_THREADS"] = str(number)
    say(f"PyTorch uses {number} of {cores()} cores (OMP_NUM_THREADS overrides it)")


def fitting_threads(seconds: float = 120) -> int:
    """The number of threads that suits this computer now; all cores where that cannot be measured in time.

    Measured in a process of its own, because the caller need not load PyTorch, and because the number cannot be
    raised again in a process whose threads have started.
    """
    code = "from eo_ssl.course import run; print(run.choose(run.measure()))"
    command = [sys.executable, "-c", code]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=True)
    except (subprocess.SubprocessError, OSError):
        return cores()
    return int(found.stdout)


def measure(rounds: int = 3) -> dict[int, float]:
    """Seconds of a few convolutions, forward and backward, on one, half, all but one and all cores: the median."""
    import torch

    numbers = sorted({max(n, 1) for n in (1, cores() // 2, cores() - 1, cores())})
    net = torch.nn.Sequential(*(torch.nn.Conv2d(32, 32, 3, padding=1) for _ in range(4)))
    x = torch.randn(32, 32, 32, 32)
    seconds: dict[int, list[float]] = {n: [] for n in numbers}
    for _ in range(rounds + 1):  # in turn, so that a passing disturbance meets all of them
        for n in numbers:
            torch.set_num_threads(n)
            began = time.perf_counter()
            net(x).square().mean().backward()
            seconds[n].append(time.perf_counter() - began)
    return {n: statistics.median(times[1:]) for n, times in seconds.items()}  # the first warms up


def choose(seconds: dict[int, float]) -> int:
    """The fewest threads that are about as fast as any, given the time of the same work on each number of them.

    >>> choose({1: 1.0, 2: 0.55}), choose({1: 0.11, 2: 1.2})
    (2, 1)
    """
    return next(n for n in sorted(seconds) if FULL_USE * seconds[n] <= min(seconds.values()))
