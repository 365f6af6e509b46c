"""Execute the chapters with papermill: checked first, resumable, and clear about what failed where.

The next chapter's kernel starts, and imports what takes long, while one runs. Its threads wait for each other asleep
(`WAITING`), not turning in circles on the core that another needs: beside busy cores two threads are twice as fast so.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
from filelock import FileLock, Timeout

from eo_ssl.course import notebooks, session, status
from eo_ssl.course.forecast import forecast, table
from eo_ssl.course.plan import Chapter, Plan, is_current
from eo_ssl.errors import ConfigError, EOError
from eo_ssl.files import write_text
from eo_ssl.parallel import give_memory_back
from eo_ssl.provenance import machine, versions

LARGE = ("matplotlib.pyplot", "sklearn.metrics", "timm", "torch")
WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}


class ChapterFailed(EOError):
    """A cell of a chapter raised an error, or its kernel could not run."""


def run_course(plan: Plan, keep_going: bool = False, force: bool = False) -> list[str]:
    """Run the chapters of the plan that are not up to date; returns the names of those executed.

    Raises `ChapterFailed` at the first failing cell, or after the last chapter with `keep_going`.
    """
    run_dir = plan.run.root
    stale = [c for c in plan.chapters if force or not is_current(c, run_dir)]
    failures = []
    planned = taken = 0.1  # minutes of the chapters done; those of seconds do not judge hours

    with only_runner(run_dir), kernels(plan.run, stale) as take_kernel:
        expected = announce(plan, stale)
        for number, chapter in enumerate(plan.chapters, start=1):
            label = f"[{number}/{len(plan.chapters)}] {chapter.stem}"
            if chapter not in stale:
                renewed = refresh(run_dir, chapter.stem, chapter.notebook)
                say(f"{label}: up to date{', text refreshed' if renewed else ''}")
                continue
            pace = taken / planned
            left = pace * sum(expected.values())
            say(f"{label}: running, about {pace * expected[chapter.stem]:.1f} min of {left:.1f} left")
            begun = time.monotonic()
            try:
                say(f"{label}: done in {run_chapter(chapter, plan.run, take_kernel):.1f} min")
            except ChapterFailed as error:
                failures.append(str(error))
                if not keep_going:
                    raise
                say(f"{label}: FAILED")
            planned += expected.pop(chapter.stem)
            taken += (time.monotonic() - begun) / 60
    if failures:
        raise ChapterFailed("; ".join(failures))
    return [c.stem for c in stale]


@contextmanager
def only_runner(run_dir: Path) -> Iterator[None]:
    """Hold the run folder for one runner at a time, and end on SIGTERM as on Ctrl-C, so that the kernel ends, too.

    The system frees the folder when the process dies.
    """
    lock = FileLock(run_dir / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        advice = "wait for it or choose another --run-dir"
        raise ConfigError(f"{run_dir}: another run is at work there; {advice}") from None
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        lock.release()


def say(line: str) -> None:
    """Tell whoever waits for the run, at once."""
    print(line, file=sys.stderr, flush=True)


def announce(plan: Plan, stale: list[Chapter]) -> dict[str, float]:
    """Say what the stale chapters will take on this machine, and make the simulated data they learn from.

    Returns the minutes of each, which chapter 00 finds in `status.json`.
    """
    run = plan.run
    if not stale:
        return {}
    chapters = {chapter.stem: chapter.notebook for chapter in plan.chapters}
    found = forecast(run, chapters, session.threads_for(run), say)
    give_memory_back()  # the networks that were measured
    say(table(found, run, {c.stem for c in plan.chapters if c not in stale}))
    # Alone, a chapter is counted with what earlier ones train for it: the counts of a run of more chapters stand.
    known = status.read(run.root).get("counted", {})
    counted = known if known.keys() > chapters.keys() else found.counted
    status.update(run.root, {"expected": found.minutes, "counted": counted})
    if (
        any(chapter.stem >= "02" for chapter in stale)
        and run.simulated
        and not session.is_whole(run.simulated)
    ):
        say(f"making the simulated data set ({run.profile.simulate}) in {run.simulated}")
        session.simulated(run.profile, run.seed)
    return {chapter.stem: found.minutes[chapter.stem] for chapter in stale}


def run_chapter(chapter: Chapter, run: session.Run, take_kernel: Callable[[Chapter], Any]) -> float:
    """Execute one chapter into the run folder and record it; returns the minutes it took."""
    running = run.root / f".running-{chapter.stem}.ipynb"
    failed = run.root / f"{chapter.stem}.failed.ipynb"
    pretraining, finetuning = run.profile.pretrain_seeds, run.profile.finetune_seeds
    facts = {**run.facts(), "evidence": run.is_evidence, "machine": machine(), "versions": versions()}
    facts["seeds"] = {"first": run.seed, "pretrain": pretraining, "finetune": finetuning}
    begun = {"title": notebooks.title(chapter.notebook), "state": "running", "key": ""}
    begun |= {name: facts[name] for name in ("commit", "device")}
    status.update(run.root, facts, chapter.stem, begun)
    start = time.monotonic()
    try:
        execute(chapter, running, take_kernel)
    except ChapterFailed as error:
        status.update(run.root, facts, chapter.stem, {"state": "failed", "error": str(error)})
        if not running.is_file():
            raise
        os.replace(running, failed)
        raise ChapterFailed(f"{error}; executed copy: {failed}") from None
    minutes = (time.monotonic() - start) / 60
    os.replace(running, run.root / f"{chapter.stem}.ipynb")
    failed.unlink(missing_ok=True)
    made = {"key": chapter.key, "sources": chapter.sources, "error": ""}
    made |= {"text": notebooks.text_of(chapter.notebook)}
    made |= {"minutes": round(minutes, 3), "executed": datetime.now(UTC).isoformat(timespec="seconds")}
    status.update(run.root, facts, chapter.stem, {"state": "done", **made})
    return minutes


@contextmanager
def kernels(run: session.Run, chapters: list[Chapter]) -> Iterator[Callable[[Chapter], Any]]:
    """A function that gives the manager of a kernel for each of the chapters, in their order."""
    following = {one.stem: two for one, two in pairwise(chapters)}
    waiting: dict[str, Any] = {}

    def take(chapter: Chapter) -> Any:
        kernel = waiting.pop(chapter.stem, None)
        if kernel is None or not kernel.is_alive():
            kernel = start_kernel(chapter, run)
        if after := following.get(chapter.stem):
            waiting[after.stem] = start_kernel(after, run)
        return kernel

    try:
        yield take
    finally:
        for kernel in waiting.values():
            kernel.shutdown_kernel(now=True)


def start_kernel(chapter: Chapter, run: session.Run) -> Any:
    """Begin a kernel in the chapter's folder; the tiniest models gain nothing by a second thread.

    It has imported the large libraries (`LARGE`) before it answers. What it says itself is kept in a log beside the
    notebook that is written.
    """
    from jupyter_client import KernelManager

    client = "jupyter_client.asynchronous.AsyncKernelClient"  # as nbclient wants it
    kernel = KernelManager(kernel_name=notebooks.KERNELSPEC["name"], client_class=client)
    # No name must be left that a chapter could use without importing it. Looking for garbage would take a quarter of it.
    first = f"__import__('gc').disable(); [*map(__import__, {LARGE})]; __import__('gc').enable()"
    arguments = [f"--IPKernelApp.exec_lines={[first]!r}", "--HistoryManager.hist_file=:memory:"]
    env = {**WAITING, **({} if run.is_evidence else {"OMP_NUM_THREADS": "1"}), **os.environ}
    with open(run.root / f".running-{chapter.stem}.log", "wb") as log:
        kernel.start_kernel(cwd=chapter.source.parent, extra_arguments=arguments, env=env, stderr=log)
    return kernel


def execute(chapter: Chapter, target: Path, take_kernel: Callable[[Chapter], Any]) -> None:
    """Run the notebook with papermill and write `target`, however it ends.

    Raises `ChapterFailed` for a failing cell, a kernel that died or one that did not start.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import Engine, papermill_engines

    # A busy machine may take minutes to start a kernel or to hand over a figure; one that died is noticed at once.
    patience = {"startup_timeout": 3600, "iopub_timeout": 60, "timeout": None}

    class Started(Engine):
        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **_: Any) -> Any:
            kernel = take_kernel(chapter)
            client = PapermillNotebookClient(nb_man, km=kernel, kernel_name=kernel_name, **patience)
            # Papermill writes the notebook at the end, too; with its figures, each cell would cost time for it.
            nb_man.output_path, output = None, nb_man.output_path
            try:
                return client.execute(cleanup_kc=True)
            finally:
                nb_man.output_path = output

    papermill_engines.register("eo_ssl", Started)
    for name, least in (("papermill", "ERROR"), ("papermill.translators", "ERROR"), ("asyncio", "CRITICAL")):
        logging.getLogger(name).setLevel(least)  # asyncio: tasks that an interrupt leaves behind
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
    except Exception as error:
        cause: BaseException | None = error
        while cause := cause.__context__:
            if isinstance(cause, KeyboardInterrupt):  # to end a kernel that is gone is an error of its own
                raise cause from None
        if not isinstance(error, DeadKernelError):  # whatever keeps a kernel from starting
            reason = (str(error).splitlines() or [""])[0]
            raise ChapterFailed(f"{chapter.stem}: not executed: {type(error).__name__}: {reason}") from error
        log = target.with_suffix(".log")
        raise ChapterFailed(f"{chapter.stem}: the kernel died (often: out of memory; see {log})") from None


def _plain(path: Path) -> str:
    """The path for a function that formats it.

    >>> _plain(Path("run{seed}")).format(seed=0)
    'run{seed}'
    """
    return str(path).replace("{", "{{").replace("}", "}}")


def refresh(run_dir: Path, stem: str, notebook: nbformat.NotebookNode) -> bool:
    """Bring changed prose into the executed copy of a chapter whose code has not changed; True if it had."""
    text = notebooks.text_of(notebook)
    if status.done(run_dir)[stem].get("text") == text:
        return False
    path = run_dir / f"{stem}.ipynb"
    executed = notebooks.read(path)
    injected = [c for c in executed.cells if "injected-parameters" in notebooks.tags(c)]
    ran = iter(c for c in executed.cells if c.cell_type == "code" and c not in injected)
    cells = []
    for cell in nbformat.from_dict(notebook).cells:
        if cell.cell_type == "code":
            before = next(ran)
            cell.outputs, cell.execution_count = before.outputs, before.execution_count
            cell.metadata["papermill"] = before.metadata.get("papermill", {})
        cells += [cell, *injected] if "parameters" in notebooks.tags(cell) else [cell]
    executed.cells = cells
    write_text(path, nbformat.writes(executed))
    status.update(run_dir, {}, stem, {"text": text, "title": notebooks.title(notebook)})
    return True
