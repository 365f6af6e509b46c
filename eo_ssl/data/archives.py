"""Unpack archives without trusting them, and keep a folder to one process at a time."""

import errno
import fcntl
import fnmatch
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from eo_ssl.errors import DataError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder for one process at a time; the system frees it when the process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for debris in folder.glob(".*.partial"):  # nobody else is at work: left by a killed process
            shutil.rmtree(debris, ignore_errors=True)
        yield


@contextmanager
def scratch(target: Path) -> Iterator[Path]:
    """Yield a new folder beside `target` (same disk, so that moving is atomic), removed at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".partial"))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def safe_name(name: str) -> PurePosixPath:
    """The member's relative path; absolute paths, `..`, backslashes and drive letters raise `DataError`.

    >>> str(safe_name("a/./b.tif"))
    'a/b.tif'
    """
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or any(c in name for c in "\\\0:"):
        raise DataError(f"archive member {name!r} would be written outside its folder; refused")
    return path


def unpack(source: Path, target: Path, members: tuple[str, ...], limit: int) -> None:
    """Unpack the wanted regular files of a zip, tar.gz or tar.bz2 into the existing folder `target`.

    Links, devices, escaping paths, more than `limit` bytes in all and broken archives raise `DataError`.
    """
    try:
        for name, size, content in _entries(source):
            limit -= size
            if limit < 0:
                raise DataError(f"{source}: unpacks to more bytes than the published archive; refused")
            path = safe_name(name)
            if any(fnmatch.fnmatchcase(str(path), pattern) for pattern in members):
                (target / path).parent.mkdir(parents=True, exist_ok=True)
                with content() as reader, open(target / path, "xb") as writer:
                    shutil.copyfileobj(reader, writer)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DataError(f"{target}: the disk is full; free some space and run again") from error
        raise DataError(f"{source}: cannot be unpacked ({error}); delete it and fetch again") from error
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{source}: broken archive ({reason}); delete it and fetch again") from error


def _entries(source: Path) -> Iterator[tuple[str, int, Callable[[], IO[bytes]]]]:
    """Name, size and opener of each regular file; anything but files and folders raises `DataError`."""
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            for info in archive.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise DataError(f"{source}: member {info.filename!r} is a link or a device; refused")
                if not info.is_dir():
                    yield info.filename, info.file_size, lambda info=info: archive.open(info)
        return
    with tarfile.open(source, "r:*") as archive:
        for info in archive:
            if not (info.isreg() or info.isdir()):
                raise DataError(f"{source}: member {info.name!r} is a link or a device; refused")
            if info.isreg():
                yield info.name, info.size, lambda info=info: _file(archive, info)


def _file(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    reader = archive.extractfile(info)
    assert reader is not None  # regular files always open
    return reader
