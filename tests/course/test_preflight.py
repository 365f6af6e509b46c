"""The pre-flight table: one row for each thing, and what to do where something is missing."""

import pytest

from eo_ssl.course import preflight, setup, status


@pytest.fixture
def run(tmp_path):
    return setup("smoke", run_dir=str(tmp_path / "run"))


@pytest.fixture
def rows(run):
    return lambda: {item.name: item for item in preflight.items(run)}


def test_every_row_has_a_state_and_rows_that_need_you_say_what_to_do(run, rows):
    found = rows()
    names = {"Python", "Packages", "Device", "Memory", "Run folder", "Cache", "Data set", "Real patches"}
    assert set(found) == names
    assert all(item.found and (item.state == preflight.READY or item.advice) for item in found.values())
    page = preflight.preflight(run)._repr_html_()
    assert page.count("<tr") == len(found) + 1 and all(name in page for name in names)
    assert found["Real patches"].state == found["Data set"].state == preflight.NOTE


def test_a_missing_package_a_full_disk_and_a_cache_that_cannot_be_written_are_to_do(
    rows, monkeypatch, tmp_path
):
    monkeypatch.setattr(preflight, "SHOWN", ("torch", "no-such-package"))
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 0})())
    found = rows()
    assert {found[name].state for name in ("Packages", "Run folder", "Cache")} == {preflight.STOP}
    assert found["Packages"].advice == "no-such-package missing: run **make setup**"
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("EO_SSL_CACHE", str(tmp_path / "file" / "cache"))
    assert rows()["Cache"].state == preflight.STOP and "EO_SSL_CACHE" in rows()["Cache"].advice


def test_private_folders_are_not_shown_in_full(monkeypatch, tmp_path):
    pytest.importorskip("pwd")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert preflight.shown(tmp_path / "cache" / "x") == "~/cache/x"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # a user whom the system does not know
    assert preflight.shown(tmp_path / "x") == str(tmp_path / "x")


def test_the_times_are_forecast_for_this_machine_or_taken_and_have_alt_text(run, monkeypatch):
    monkeypatch.setattr(preflight.forecast, "cost", lambda *_: 1e-3)
    forecast = preflight.times(run)
    assert {"00_preflight", "08_few_labels"} <= set(forecast) and min(forecast.values()) > 0
    status.update(run.root, {"expected": {"00_preflight": 0.25, "01_x": 3.0}})
    notebook = run.root / "00_preflight.ipynb"
    notebook.touch()
    status.update(run.root, {}, "00_preflight", {"state": "done", "minutes": 0.2})
    minutes = preflight.times(run)
    assert minutes == {"00_preflight": 0.2, "01_x": 3.0}
    assert "00 0.2, 01 3" in preflight.plot_times(minutes, run).eo_alt
