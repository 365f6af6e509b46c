"""`results.jsonl`: one line per trained model, written as soon as it is known."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from eo_ssl.errors import DataError

Result = dict[str, Any]


def results_path(folder: str | Path) -> Path:
    """Where the lines of a run are."""
    return Path(folder) / "results.jsonl"


def append_result(path: str | Path, result: Result) -> None:
    """Add one line under a file lock and flush it to disk.

    A line torn by a kill is cut off first, so that it can never swallow the new one. NaN and infinity are not
    JSON and are refused with ValueError.
    """
    path = Path(path)
    line = json.dumps(result, sort_keys=True, ensure_ascii=False, allow_nan=False, default=_plain) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"), open(path, "ab+") as file:
        _mend_tail(file)
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def _plain(value: Any) -> Any:
    """NumPy and torch scalars and arrays as plain values."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} does not go into JSON")


def _mend_tail(file: Any) -> None:
    """End the file with a whole line: keep an unterminated last line if it parses, cut it off if not."""
    file.seek(0)
    content = file.read()
    if not content or content.endswith(b"\n"):
        return
    start = content.rfind(b"\n") + 1
    if _parse(content[start:]) is None:
        file.truncate(start)
    else:
        file.write(b"\n")


def _parse(line: bytes) -> Result | None:
    try:
        value = json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None
    return value if isinstance(value, dict) else None


def read_lines(path: str | Path) -> list[Result]:
    """All results; a torn last line is left out, a broken one elsewhere raises `DataError`."""
    path = Path(path)
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    results = []
    for number, line in enumerate(lines, 1):
        value = _parse(line) if line.strip() else None
        if value is not None:
            results.append(value)
        elif line.strip() and number < len(lines):
            raise DataError(f"{path}, line {number}: not a result; delete the line and run the grid again")
    return results


def read_results(path: str | Path) -> pd.DataFrame:
    """Results as a table: one row per model, metrics in columns "test.aa", "val.miou" and so on.

    Of several lines with the same key the last counts. An empty or missing file gives an empty table.
    """
    lines = {line.get("key", number): line for number, line in enumerate(read_lines(path))}
    return pd.DataFrame([_flat(line) for line in lines.values()])


def _flat(line: Result) -> Result:
    row = {}
    for key, value in line.items():
        if key in ("test", "val") and isinstance(value, dict):
            row |= {f"{key}.{name}": _number(inner) for name, inner in value.items()}
        else:
            row[key] = value
    return row


def _number(value: Any) -> Any:
    """None marks a metric that is not defined; in a column of numbers that is NaN."""
    return math.nan if value is None else value
