"""Execute one notebook with papermill, and bring changed prose into an executed copy."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat

from eo_ssl.course import notebooks
from eo_ssl.course.plan import Chapter
from eo_ssl.course.progress import Progress
from eo_ssl.errors import EOError
from eo_ssl.files import write_text


class ChapterFailed(EOError):
    """A cell of a chapter raised an error."""


def execute(chapter: Chapter, target: Path, progress: Progress) -> nbformat.NotebookNode:
    """Run the notebook with papermill, writing `target` as it goes; a failing cell raises `ChapterFailed`."""
    import papermill
    from nbclient.exceptions import DeadKernelError

    for name in ("papermill", "papermill.translators"):
        logging.getLogger(name).setLevel(logging.ERROR)
    log = target.with_suffix(".log")
    with reporting_engine(lambda i: progress.cell(chapter.stem, i), progress.cell_done, log) as engine:
        os.environ["EO_SSL_CHAPTER"] = chapter.stem
        try:
            return papermill.execute_notebook(
                chapter.source,
                target,
                parameters=chapter.parameters,
                engine_name=engine,
                progress_bar=False,
                cwd=chapter.source.parent,
            )
        except papermill.PapermillExecutionError as error:
            last = error.evalue.strip().splitlines() or [""]
            where = f"{chapter.stem}, cell {error.cell_index}"
            raise ChapterFailed(f"{where}: {error.ename}: {last[-1]}") from None
        except DeadKernelError:
            raise ChapterFailed(
                f"{chapter.stem}: the kernel died (often: out of memory; see {log})"
            ) from None
        finally:
            os.environ.pop("EO_SSL_CHAPTER", None)


@contextmanager
def reporting_engine(on_start: Callable[[int], None], on_end: Callable[[], None], log: Path) -> Iterator[str]:
    """Register a papermill engine that reports each cell and keeps what the kernel itself says in `log`."""
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import Engine, papermill_engines

    class Client(PapermillNotebookClient):
        def start_new_kernel(self, **kwargs: Any) -> None:
            with open(log, "wb") as file:
                super().start_new_kernel(stderr=file, **kwargs)

        def papermill_execute_cells(self) -> None:
            start, complete = self.nb_man.cell_start, self.nb_man.cell_complete

            def cell_start(cell: Any, cell_index: int = 0, **more: Any) -> None:
                on_start(cell_index)
                start(cell, cell_index, **more)

            def cell_complete(*args: Any, **more: Any) -> None:
                complete(*args, **more)
                on_end()

            self.nb_man.cell_start, self.nb_man.cell_complete = cell_start, cell_complete
            super().papermill_execute_cells()

    class Reporting(Engine):
        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **_: Any) -> Any:
            return Client(nb_man, kernel_name=kernel_name, startup_timeout=300, timeout=None).execute()

    papermill_engines.register("eo_ssl", Reporting)
    yield "eo_ssl"


def refresh_text(chapter: Chapter, executed_copy: Path) -> None:
    """Bring changed prose into an executed copy whose code cells are those of the chapter."""
    executed = nbformat.read(executed_copy, as_version=4)
    injected = [c for c in executed.cells if "injected-parameters" in notebooks.tags(c)]
    ran = [c for c in executed.cells if c.cell_type == "code" and c not in injected]
    cells = []
    for cell in nbformat.from_dict(chapter.notebook).cells:
        if cell.cell_type == "code":
            before = ran.pop(0)
            cell.outputs, cell.execution_count = before.outputs, before.execution_count
            cell.metadata["papermill"] = before.metadata.get("papermill", {})
        cells += [cell, *injected] if "parameters" in notebooks.tags(cell) else [cell]
    executed.cells = cells
    write_text(executed_copy, nbformat.writes(executed))


def cell_seconds(executed: nbformat.NotebookNode) -> dict[str, float]:
    """Seconds that each code cell took, by cell id, as papermill recorded them."""
    timed = {
        c.id: c.metadata.get("papermill", {}).get("duration") for c in executed.cells if c.cell_type == "code"
    }
    return {name: round(seconds, 3) for name, seconds in timed.items() if seconds is not None}
