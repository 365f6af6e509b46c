"""`results.jsonl`: one line per trained model, written as soon as it is known."""

import json
import math
import os
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from eo_ssl.errors import DataError
from eo_ssl.files import locked

Result = dict[str, Any]


def results_path(folder: str | Path) -> Path:
    """Where the lines of a run are."""
    return Path(folder) / "results.jsonl"


def append_result(path: str | Path, result: Result) -> None:
    """Add one line under a file lock and flush it to disk.

    A line torn by a kill is cut off first, so that it can never swallow the new one. NaN and infinity are not
    JSON and are refused with ValueError.
    """
    line = json.dumps(result, sort_keys=True, ensure_ascii=False, allow_nan=False, default=_plain) + "\n"
    with locked(f"{path}.lock", "add a result"), open(path, "ab+") as file:
        _mend_tail(file)
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def _plain(value: Any) -> Any:
    """NumPy and torch scalars and arrays, and paths, as plain values."""
    return value.tolist() if hasattr(value, "tolist") else os.fspath(value)


def _mend_tail(file: BinaryIO) -> None:
    """End the file with a whole line: keep an unterminated last line if it parses, cut it off if not."""
    file.seek(0)
    *whole, last = file.read().splitlines(keepends=True) or [b"\n"]
    if last.endswith(b"\n"):
        return
    if _parse(last) is None:
        file.truncate(sum(map(len, whole)))
    else:
        file.write(b"\n")


def _parse(line: bytes) -> Result | None:
    try:
        value = json.loads(line)
    except ValueError:  # no JSON, or no UTF-8
        return None
    return value if isinstance(value, dict) else None


def read_lines(path: str | Path) -> list[Result]:
    """All results; a torn last line is left out, a broken one elsewhere raises `DataError`."""
    path = Path(path)
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    results = [(number, _parse(line)) for number, line in enumerate(lines, 1) if line.strip()]
    for number, value in results:
        if value is None and number < len(lines):
            raise DataError(f"{path}, line {number}: not a result; delete the line and run the grid again")
    return [value for _, value in results if value is not None]


def read_results(path: str | Path) -> pd.DataFrame:
    """Results as a table: one row per model, metrics in columns "test.aa", "val.miou" and so on.

    Of several lines with the same key the last counts. An empty or missing file gives an empty table.
    """
    lines = {line.get("key", number): line for number, line in enumerate(read_lines(path))}
    return pd.DataFrame([_flat(line) for line in lines.values()])


def _flat(line: Result) -> Result:
    """Metrics in columns of their own; None marks one that is not defined: in a column of numbers that is NaN."""
    row: Result = {}
    for key, value in line.items():
        if key in ("test", "val") and isinstance(value, dict):
            row |= {f"{key}.{name}": math.nan if one is None else one for name, one in value.items()}
        else:
            row[key] = value
    return row
