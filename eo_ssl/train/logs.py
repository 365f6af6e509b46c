"""Where numbers go while a run lasts: a CSV table, TensorBoard when it is installed, a progress bar."""

import csv
import io
import time
import warnings
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from eo_ssl.files import write_text

Row = dict[str, float]


def write_csv(path: Path, rows: list[Row]) -> None:
    """Write one line per epoch, atomically and as a whole: a resumed run never repeats a line."""
    text = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: f"{value:.6g}" for key, value in row.items()} for row in rows)
    write_text(path, text.getvalue())


class TensorBoard:
    """Scalars for TensorBoard; silent where the package is not installed (`pip install tensorboard`)."""

    def __init__(self, folder: Path, enabled: bool = True, first_step: int = 0) -> None:
        self.writer: Any = None
        if enabled:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                return
            self.writer = SummaryWriter(str(folder), purge_step=first_step or None)

    def log(self, values: Row, step: int) -> None:
        """Write each value under its name at `step`."""
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close the file."""
        if self.writer is not None:
            self.writer.close()


class Progress:
    """One bar over all updates of a run: loss, pairs per second, time left."""

    def __init__(self, label: str, total: int, done: int, pairs: int, enabled: bool) -> None:
        self.bar = tqdm(
            total=total, initial=done, desc=label, unit="update", disable=not enabled, mininterval=1.0,
            bar_format="{desc} {percentage:.0f}%|{bar:20}|{n_fmt}/{total_fmt} {elapsed}<{remaining}{postfix}",
        )  # fmt: skip
        self.pairs, self.since, self.count, self.shown = pairs, time.perf_counter(), 0, 0.0

    def update(self, loss: Tensor, **more: Tensor) -> None:
        """Count one update; numbers are fetched once a second, because a GPU has to stop for that."""
        self.count += 1
        now = time.perf_counter()
        if not self.bar.disable and now - self.shown > 1.0:
            self.shown = now
            rate = self.pairs * self.count / (now - self.since)
            values = {"loss": float(loss), "pairs/s": rate} | {key: float(x) for key, x in more.items()}
            self.bar.set_postfix({key: f"{value:.3g}" for key, value in values.items()}, refresh=False)
        self.bar.update()

    def warn(self, text: str) -> None:
        """Say above the bar what changes the run, and as a warning where there is no bar."""
        if self.bar.disable:
            warnings.warn(text, RuntimeWarning, stacklevel=3)
        else:
            self.bar.write(text)

    def close(self) -> None:
        """End the line of the bar."""
        self.bar.close()
