"""One progress bar over all cells of all chapters, with the time left."""

import sys
import threading
import time
from types import TracebackType
from typing import Any

from tqdm import tqdm

UNKNOWN = 2.0  # seconds assumed for a cell that was never timed
FORMAT = "{desc} {percentage:3.0f}% |{bar}| {elapsed} gone, {remaining} left"


class Progress:
    """Bar whose length is the expected seconds of every cell; it also moves within a long cell.

    The rate (seconds taken for each second expected) calibrates itself, so the time left is right on a
    machine that is faster or slower than the one the times were recorded on. Where the output is not a
    terminal, one line is printed for each chapter instead.
    """

    def __init__(self, expected: dict[str, list[float]], stream: Any = None) -> None:
        self.stream = stream or sys.stderr
        self.expected = expected
        self.done = 0.0
        self.weight = 0.0
        self.started = time.monotonic()
        self.quiet = not self.stream.isatty()
        total = max(sum(map(sum, expected.values())), 1e-6)
        self.bar = tqdm(
            total=total,
            bar_format=FORMAT,
            file=self.stream,
            disable=self.quiet,
            dynamic_ncols=True,
            leave=False,
        )
        self.stop = threading.Event()
        self.ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> "Progress":
        if not self.quiet:
            self.ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop.set()
        if self.ticker.is_alive():
            self.ticker.join()
        self.bar.close()

    def cell(self, stem: str, index: int) -> None:
        """The cell with this index starts."""
        times = self.expected[stem]
        self.weight = times[index] if index < len(times) else 0.0
        self.started = time.monotonic()
        self.bar.set_description_str(f"{stem} · cell {index + 1} of {len(times)}", refresh=not self.quiet)

    def cell_done(self) -> None:
        """The running cell has ended."""
        self.done += self.weight
        self.weight = 0.0
        self._move(self.done)

    def chapter_done(self, stem: str) -> None:
        """The chapter has ended: nothing of it is left, whatever was expected."""
        ordered = list(self.expected)
        until = ordered[: ordered.index(stem) + 1]
        self.done = sum(sum(self.expected[name]) for name in until)
        self.weight = 0.0
        self._move(self.done)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        tqdm.write(line, file=self.stream)
        self.stream.flush()

    def _move(self, position: float) -> None:
        if not self.quiet:
            self.bar.n = min(position, self.bar.total)
            self.bar.refresh()

    def _tick(self) -> None:
        while not self.stop.wait(1.0):
            inside = min(time.monotonic() - self.started, 0.95 * self.weight)
            self._move(self.done + inside)
