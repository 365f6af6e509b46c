"""The pre-flight table: one row for each thing, and what to do where something is missing."""

import pytest

from eo_ssl.course import preflight, setup, status
from eo_ssl.profiles import PROFILES


@pytest.fixture
def run(tmp_path):
    return setup("smoke", run_dir=str(tmp_path / "run"))


def test_every_row_has_a_state_and_rows_that_need_you_say_what_to_do(run):
    items = preflight.items(run)
    names = [item.name for item in items]
    assert {
        "Python",
        "Packages",
        "Device",
        "Memory",
        "Run folder",
        "Cache",
        "Data set",
        "Real patches",
    } == set(names)
    assert all(item.found and (item.state == preflight.READY or item.advice) for item in items)
    page = preflight.preflight(run)._repr_html_()
    assert page.count("<tr") == len(items) + 1 and all(name in page for name in names)


def test_missing_patches_and_data_are_notes_with_the_command(run):
    rows = {item.name: item for item in preflight.items(run)}
    assert rows["Real patches"].state == preflight.NOTE and "eo-ssl data fetch" in rows["Real patches"].advice
    assert rows["Data set"].state == preflight.NOTE


def test_an_old_package_and_a_full_disk_are_to_do(run, monkeypatch):
    monkeypatch.setattr(preflight, "version", lambda name: "0.0.1")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 0})())
    rows = {item.name: item for item in preflight.items(run)}
    assert rows["Packages"].state == preflight.STOP and "make setup" in rows["Packages"].advice
    assert rows["Run folder"].state == rows["Cache"].state == preflight.STOP


def test_a_cache_that_cannot_be_written_is_to_do(run, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("EO_SSL_CACHE", str(tmp_path / "file" / "cache"))
    rows = {item.name: item for item in preflight.items(run)}
    assert rows["Cache"].state == preflight.STOP and "EO_SSL_CACHE" in rows["Cache"].advice


def test_every_profile_says_how_long_it_takes():
    table = preflight.profiles()
    assert all(f"| `{p.name}` |" in table and p.budget in table for p in PROFILES.values())


def test_private_folders_are_not_shown_in_full(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert preflight.shown(tmp_path / "cache" / "x") == "~/cache/x"


def test_the_times_have_alt_text_with_the_numbers(run, monkeypatch):
    known = {"00_preflight": 0.25, "99_gone": 3}
    monkeypatch.setattr(status, "expected_minutes", lambda *_: known)
    minutes = preflight.times(run)
    assert minutes == {"00_preflight": 0.25}
    figure = preflight.plot_times(minutes, run)
    assert "00 preflight 0.2" in figure.eo_alt
