"""Atomic writes: the old file or the new one, never half of one."""

import pytest

from eo_ssl import files
from eo_ssl.errors import DataError


def test_a_failing_write_leaves_the_old_file_and_no_temporary(tmp_path):
    target = tmp_path / "a.txt"
    files.write_text(target, "old")
    with pytest.raises(RuntimeError), files.atomic_path(target) as path:
        path.write_text("half of the ne")
        raise RuntimeError("killed")
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_written_files_are_readable_by_others(tmp_path):
    files.write_text(tmp_path / "a.txt", "x")
    (tmp_path / "plain.txt").write_text("x")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "plain.txt").stat().st_mode


@pytest.mark.parametrize("content", [None, b"{", b"\xff"])
def test_missing_and_broken_json_are_named(tmp_path, content):
    path = tmp_path / "broken.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.json"):
        files.read_json(path)


def test_require_space_states_need_and_fix(tmp_path):
    files.require_space(tmp_path / "not" / "yet", 1, "a byte")
    with pytest.raises(DataError, match=r"needs .* MB but only .* free some space"):
        files.require_space(tmp_path, 1 << 60, "the data set")


def test_the_cache_is_one_folder_from_wherever_it_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EO_SSL_CACHE", "cache")
    assert files.cache_dir() == tmp_path / "cache"
