"""Atomic writes, locks, checksums, the cache folder."""

import hashlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from eo_ssl.errors import DataError


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """A temporary path beside `target` that takes its place if the block succeeds; nobody ever sees half a file."""
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
    temporary.touch(exist_ok=False)  # with the permissions of any new file, unlike those of `tempfile`
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(target: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(target) as path:
        path.write_text(text, encoding="utf-8")


def write_json(target: str | Path, value: Any) -> None:
    """Write a value as indented JSON with sorted keys, atomically."""
    write_text(target, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read JSON; raise `DataError` naming the file when it is missing or broken."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:  # no JSON, or no UTF-8
        raise DataError(f"{path}: not valid JSON ({error}); delete it and run the step again") from error


def sha256(path: str | Path) -> str:
    """Hex SHA-256 of a file, read in blocks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_dir() -> Path:
    """Folder for downloads: `EO_SSL_CACHE` if set, otherwise `~/.cache/eo_ssl`."""
    try:
        return Path(os.environ.get("EO_SSL_CACHE") or "~/.cache/eo_ssl").expanduser().absolute()
    except RuntimeError as error:  # a user without an entry in the system's table, and no HOME
        raise DataError("this user has no home folder; set EO_SSL_CACHE to a folder for the cache") from error


def require_space(folder: str | Path, needed: int, purpose: str) -> None:
    """Raise `DataError` unless the disk that holds `folder` has `needed` bytes free."""
    folder = Path(folder)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        there = f"needs {needed / 1e6:,.0f} MB but only {free / 1e6:,.0f} MB are free"
        raise DataError(f"{folder}: {purpose} {there}; free some space or choose another folder")


@contextmanager
def locked(path: str | Path, purpose: str = "write there", timeout: float = 3600.0) -> Iterator[None]:
    """Hold the lock file `path` for one process at a time; the system frees it when its holder dies.

    Says on stderr what it waits for, and raises `DataError` after `timeout` seconds of waiting.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=min(2.0, timeout))
    except Timeout:
        print(f"{path}: another process is about to {purpose}; waiting for it ...", file=sys.stderr)
        try:
            lock.acquire(timeout=timeout)
        except Timeout:
            why = f"still held by another process after {timeout:g} s; end it, or delete the file"
            raise DataError(f"{path}: {why}") from None
    try:
        yield
    finally:
        lock.release()


def inside(run_dir: Path, kind: str, name: str) -> Path:
    """Where a run folder keeps files of one kind ("models", "counts", "state") of the model `name`.

    >>> inside(Path("run"), "counts", "single late f=1 s=0.npz").name
    'single_late_f=1_s=0.npz'
    """
    return run_dir / kind / name.replace(" ", "_").replace("/", "-")
