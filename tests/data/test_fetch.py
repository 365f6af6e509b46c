"""Unpacking: only wanted regular files, only inside the target, all or nothing."""

import contextlib
import io
import os
import signal
import stat
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eo_ssl.data import archives
from eo_ssl.errors import DataError

ANY = ("*",)


def make_zip(path: Path, members: dict[str, bytes], modes: dict[str, int] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (modes or {}).get(name, 0) << 16
            archive.writestr(info, content)
    return path


def make_tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w:bz2") -> Path:
    with tarfile.open(path, mode) as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def files_in(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir()}


def target_of(tmp_path: Path) -> Path:
    target = tmp_path / "outer" / "target"
    target.mkdir(parents=True)
    return target


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "..", "a\\b", "C:x", "", "."])
def test_names_that_leave_the_folder_are_refused(name):
    with pytest.raises(DataError, match="outside its folder"):
        archives.safe_name(name)


@given(st.text(min_size=1, max_size=30))
def test_every_accepted_name_stays_inside(name):
    try:
        path = archives.safe_name(name)
    except DataError:
        return
    inside = os.path.normpath(os.path.join("/root/target", str(path)))
    assert inside.startswith("/root/target/")
    assert ".." not in PurePosixPath(inside).parts


@pytest.mark.parametrize("escape", ["../evil.txt", "/tmp/eo-ssl-evil.txt", "a/../../evil.txt"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_escaping_members_write_nothing_outside(tmp_path, escape, kind):
    target = target_of(tmp_path)
    if kind == "zip":
        source = make_zip(tmp_path / "a.zip", {escape: b"x"})
    else:
        source = make_tar(tmp_path / "a.tar.bz2", [(tarfile.TarInfo(escape), b"x")])
    with pytest.raises(DataError, match="refused"):
        archives.unpack(source, target, ANY, 1000)
    assert files_in(tmp_path / "outer") == set()
    assert not Path("/tmp/eo-ssl-evil.txt").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    info = tarfile.TarInfo("link")
    info.type, info.linkname = kind, "/etc/passwd"
    source = make_tar(tmp_path / "a.tar.gz", [(info, b"")], "w:gz")
    with pytest.raises(DataError, match="link or a device"):
        archives.unpack(source, target_of(tmp_path), ANY, 1000)


def test_links_in_a_zip_are_refused(tmp_path):
    source = make_zip(tmp_path / "a.zip", {"link": b"/etc/passwd"}, {"link": stat.S_IFLNK | 0o777})
    with pytest.raises(DataError, match="link or a device"):
        archives.unpack(source, target_of(tmp_path), ANY, 1000)


def test_a_bomb_stops_at_the_limit(tmp_path):
    source = make_zip(tmp_path / "bomb.zip", {"a": bytes(900), "b": bytes(900)})
    with pytest.raises(DataError, match="more bytes"):
        archives.unpack(source, target_of(tmp_path), ANY, 1000)


def test_only_wanted_members_are_written(tmp_path):
    target = target_of(tmp_path)
    source = make_zip(tmp_path / "a.zip", {"keep/a.tif": b"1", "code.py": b"2", "data.pkl": b"3"})
    archives.unpack(source, target, ("*.tif",), 1000)
    assert files_in(target) == {"keep/a.tif"}
    assert (target / "keep/a.tif").read_bytes() == b"1"


@pytest.mark.parametrize("maker", ["zip", "bz2", "gz"])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_damaged_archive_raises_data_error_and_never_escapes(tmp_path_factory, maker, data):
    folder = tmp_path_factory.mktemp("damage")
    target = target_of(folder)
    content = bytes(range(256)) * 8
    if maker == "zip":
        source = make_zip(folder / "a.zip", {"a/b.bin": content})
    else:
        source = make_tar(folder / f"a.{maker}", [(tarfile.TarInfo("a/b.bin"), content)], f"w:{maker}")
    raw = bytearray(source.read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    if data.draw(st.booleans()):
        raw[at] ^= data.draw(st.integers(1, 255))
    else:
        del raw[at:]
    source.write_bytes(raw)
    with contextlib.suppress(DataError):
        archives.unpack(source, target, ANY, 10_000)
    assert {p.name for p in folder.iterdir()} == {"outer", source.name}
    assert {p.name for p in (folder / "outer").iterdir()} == {"target"}


def test_text_is_not_an_archive(tmp_path):
    (tmp_path / "a.whl").write_text("<html>blocked by the proxy</html>")
    with pytest.raises(DataError, match=r"a\.whl: broken archive .* fetch again") as caught:
        archives.unpack(tmp_path / "a.whl", target_of(tmp_path), ANY, 1000)
    assert "\n" not in str(caught.value)


def test_scratch_is_removed_even_when_the_block_fails(tmp_path):
    with pytest.raises(RuntimeError), archives.scratch(tmp_path / "set") as work:
        (work / "half").write_text("half")
        raise RuntimeError("stopped")
    assert list(tmp_path.iterdir()) == []


def test_debris_of_a_killed_process_is_cleared_under_the_lock(tmp_path):
    debris = tmp_path / ".set.abc.partial"
    debris.mkdir()
    (debris / "half").write_text("half")
    with archives.locked(tmp_path):
        assert not debris.exists()


_KILL_ME = """
import sys, time
from pathlib import Path
from eo_ssl.data import archives
folder = Path(sys.argv[1])
with archives.locked(folder), archives.scratch(folder / "set") as work:
    (work / "half").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.kill
def test_a_kill_frees_the_lock_and_leaves_no_target(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", _KILL_ME, str(tmp_path)], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"ready\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    start = time.monotonic()
    with archives.locked(tmp_path):
        assert time.monotonic() - start < 30  # would hang for ever if the lock survived its holder
        assert not (tmp_path / "set").exists()
        assert not list(tmp_path.glob(".*.partial"))
