"""Execute the chapters with papermill: checked first, resumable, and clear about what failed where."""

import fcntl
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eo_ssl.course import notebooks, places, session, status, threads
from eo_ssl.course.execute import ChapterFailed, cell_seconds, execute, refresh_text
from eo_ssl.course.plan import Chapter, Plan, is_current
from eo_ssl.course.progress import UNKNOWN, Progress
from eo_ssl.errors import ConfigError
from eo_ssl.provenance import machine, versions


def run_course(plan: Plan, keep_going: bool = False, force: bool = False, stream: Any = None) -> list[str]:
    """Run the chapters of the plan that are not up to date; returns the names of those executed.

    Raises `ChapterFailed` at the first failing cell, or after the last chapter with `keep_going`.
    """
    stale = [c for c in plan.chapters if force or not is_current(c, plan.run_dir)]
    expected = {c.stem: expected_seconds(c, plan) for c in stale}
    failures = []
    with only_runner(plan.run_dir), terminate_as_interrupt(), Progress(expected, stream) as progress:
        prepare_data(plan, stale, progress)
        settle_threads(plan, stale, progress)
        for number, chapter in enumerate(plan.chapters, start=1):
            label = f"[{number}/{len(plan.chapters)}] {chapter.stem}"
            if chapter not in stale:
                progress.say(f"{label}: up to date{', text refreshed' if refresh(chapter, plan) else ''}")
                continue
            progress.say(f"{label}: running, about {sum(expected[chapter.stem]) / 60:.1f} min expected")
            try:
                minutes = run_chapter(chapter, plan, progress)
                progress.say(f"{label}: done in {minutes:.1f} min")
            except ChapterFailed as error:
                failures.append(str(error))
                if not keep_going:
                    raise
                progress.say(f"{label}: FAILED")
            progress.chapter_done(chapter.stem)
    if failures:
        raise ChapterFailed("; ".join(failures))
    return [c.stem for c in stale]


def prepare_data(plan: Plan, stale: list[Chapter], progress: Progress) -> None:
    """Make the simulated data set before the chapters that learn from it (02 and later) need it."""
    if plan.data != session.SIMULATED or not any(c.stem >= "02" for c in stale):
        return
    target = session.simulated_target(plan.profile, plan.seed)
    if not (target / "dataset.json").is_file():
        progress.say(f"making the simulated data set ({plan.profile.simulate}) in {target}")
        session.simulated(plan.profile, plan.seed)


def settle_threads(plan: Plan, stale: list[Chapter], progress: Progress) -> None:
    """Set OMP_NUM_THREADS for the kernels, unless the user did; one where the models are tiny (smoke)."""
    if not stale or "OMP_NUM_THREADS" in os.environ:
        return
    number = threads.fitting() if plan.profile.is_evidence else 1
    os.environ["OMP_NUM_THREADS"] = str(number)
    progress.say(f"PyTorch uses {number} of {threads.cores()} cores (OMP_NUM_THREADS overrides it)")


def run_chapter(chapter: Chapter, plan: Plan, progress: Progress) -> float:
    """Execute one chapter into the run folder and record it; returns the minutes it took."""
    running = plan.run_dir / f".running-{chapter.stem}.ipynb"
    failed = plan.run_dir / f"{chapter.stem}.failed.ipynb"
    facts = run_facts(plan)
    common = {"title": chapter.title, "commit": facts["commit"], "device": facts["device"]}
    status.update(plan.run_dir, facts, chapter.stem, {**common, "state": "running", "key": ""})
    start = time.monotonic()
    try:
        executed = execute(chapter, running, progress)
    except ChapterFailed as error:
        os.replace(running, failed)
        status.update(plan.run_dir, facts, chapter.stem, {"state": "failed", "error": str(error)})
        raise ChapterFailed(f"{error}; executed copy: {failed}") from None
    minutes = (time.monotonic() - start) / 60
    os.replace(running, plan.run_dir / f"{chapter.stem}.ipynb")
    failed.unlink(missing_ok=True)
    result = {
        "state": "done",
        "key": chapter.key,
        "text": chapter.text,
        "minutes": round(minutes, 3),
        "cell_seconds": cell_seconds(executed),
        "executed": datetime.now(UTC).isoformat(timespec="seconds"),
        "error": "",
    }
    status.update(plan.run_dir, facts, chapter.stem, result)
    return minutes


def refresh(chapter: Chapter, plan: Plan) -> bool:
    """Renew the prose of an up-to-date chapter; True if it had changed."""
    if status.done(plan.run_dir)[chapter.stem].get("text") == chapter.text:
        return False
    refresh_text(chapter, plan.run_dir / f"{chapter.stem}.ipynb")
    status.update(plan.run_dir, {}, chapter.stem, {"text": chapter.text, "title": chapter.title})
    return True


def expected_seconds(chapter: Chapter, plan: Plan) -> list[float]:
    """Seconds to expect for each cell as papermill will run it (it adds a cell with the parameters)."""
    known = status.read(plan.run_dir)["chapters"].get(chapter.stem, {}).get("cell_seconds", {})
    cells = [known.get(c.id, UNKNOWN if c.cell_type == "code" else 0.0) for c in chapter.notebook.cells]
    recorded = status.expected_minutes(plan.profile.name, plan.run_dir).get(chapter.stem)
    if not known and recorded:
        scale = 60 * recorded / max(sum(cells), 1e-6)
        cells = [scale * seconds for seconds in cells]
    added = [i + 1 for i, c in enumerate(chapter.notebook.cells) if "parameters" in notebooks.tags(c)]
    for index in added:
        cells.insert(index, 0.0)
    return cells


def run_facts(plan: Plan) -> dict[str, Any]:
    """What `status.json` says about the run as a whole."""
    run = session.Run(plan.profile, plan.data, plan.run_dir, plan.seed)
    seeds = {
        "first": plan.seed,
        "pretrain": plan.profile.pretrain_seeds,
        "finetune": plan.profile.finetune_seeds,
    }
    return {
        **run.facts(),
        "seeds": seeds,
        "evidence": plan.profile.is_evidence,
        "package": places.package_hash(),
        "machine": machine(),
        "versions": versions(),
    }


@contextmanager
def only_runner(run_dir: Path) -> Iterator[None]:
    """Hold the run folder for one runner at a time; the system frees it when the process dies."""
    with open(run_dir / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                f"{run_dir}: another run is at work there; wait for it or choose another --run-dir"
            ) from None
        yield


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
