"""A release is made of finished, committed evidence only, and read back only in the form it was written in."""

import json
import shutil
from pathlib import Path

import pytest
from finished_run import COMMIT, finish
from typer.testing import CliRunner

from eo_ssl import cli, provenance
from eo_ssl.course import release, status
from eo_ssl.errors import ConfigError, DataError
from eo_ssl.experiments.results import append_result, read_results
from eo_ssl.experiments.tables import interval
from eo_ssl.files import read_json, write_json


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    return finish(tmp_path_factory.mktemp("finished") / "laptop")


@pytest.fixture
def run_dir(finished, tmp_path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture(scope="module")
def found(finished) -> dict:
    return release.summarise(finished)


def change(run_dir, **facts):
    write_json(status.path(run_dir), {**status.read(run_dir), **facts})


def test_the_summary_says_where_when_and_from_what_the_run_was_made(found):
    assert found["profile"] == "laptop" and found["device"] == "GPU X"
    assert found["machine"] == {"cpu": "CPU Y", "cores": 4, "memory_gb": 16.0, "gpus": ["GPU X"]}
    assert found["versions"]["torch"] == "2.15.0" and found["commits"] == [found["commit"]] == [COMMIT]
    assert found["date"].startswith("2026-01-02") and found["data_version"] == "simulated laptop 1.1 seed 0"
    assert set(found["minutes"].values()) == {1.5}


def test_every_tested_model_is_in_one_row_of_each_metric_with_the_interval_of_the_course(finished, found):
    results = read_results(finished / "results.jsonl")
    keys = [(r["task"], r["method"], r["fraction"], r["metric"]) for r in found["rows"]]
    assert len(keys) == len(set(keys))
    for task, metric in (("single", "aa"), ("single", "oa"), ("multi", "f1_macro"), ("segment", "miou")):
        rows = [r for r in found["rows"] if r["task"] == task and r["metric"] == metric]
        assert sum(r["seeds"] for r in rows) == (results["task"] == task).sum()
    row = next(r for r in found["rows"] if (r["method"], r["fraction"], r["metric"]) == ("late", 0.1, "aa"))
    expected = interval(finished, results, "single", "late", 0.1)
    assert (row["mean"], row["low"], row["high"]) == pytest.approx(
        (expected.value, expected.low, expected.high), abs=1e-6
    )
    assert row["mean"] == pytest.approx(sum(row["values"]) / 3, abs=1e-6) and row["n_labels"] == 40


def test_an_ensemble_has_the_labels_of_its_members(found):
    labels = {
        r["method"]: r["n_labels"] for r in found["rows"] if (r["task"], r["fraction"]) == ("segment", 1.0)
    }
    assert labels["ensemble"] == labels["unet"] == 400


def test_a_release_is_read_as_it_was_written(run_dir, found, tmp_path):
    path = release.write_release(run_dir, tmp_path / "results")
    assert path == tmp_path / "results" / "laptop.json"
    assert release.read_release("laptop", tmp_path / "results") == found == read_json(path)
    assert release.read_release("gpu", tmp_path / "results") is None
    with pytest.raises(ConfigError, match="did you mean laptop"):
        release.read_release("laptp", tmp_path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: change(d, profile="smoke"), "no evidence"),
        (lambda d: change(d, evidence=False), "no evidence"),
        (lambda d: change(d, profile="unheard of"), "no evidence"),
        (lambda d: (d / "03_data_fusion.ipynb").unlink(), "not finished .*03_data_fusion"),
        (lambda d: status.update(d, {}, "04_simclr", {"state": "failed"}), "not finished .*04_simclr"),
        (lambda d: status.update(d, {}, "04_simclr", {"state": "running"}), "not finished .*04_simclr"),
        (lambda d: change(d, chapters={}), "no finished chapter"),
        (lambda d: change(d, commit=COMMIT + "+"), "in no commit .*0123abcde\\+"),
        (lambda d: change(d, commit="v0.1.0"), "in no commit"),
        (lambda d: change(d, commit=""), "unknown"),
        (lambda d: status.update(d, {}, "04_simclr", {"commit": COMMIT + "+"}), "in no commit"),
        (lambda d: drop_last_line(d), "tested models missing: "),
    ],
)
def test_what_is_no_evidence_unfinished_or_uncommitted_is_refused_and_nothing_written(
    run_dir, tmp_path, spoil, message
):
    spoil(run_dir)
    with pytest.raises(ConfigError, match=message):
        release.write_release(run_dir, tmp_path / "results")
    assert not (tmp_path / "results").exists()


def drop_last_line(run_dir):
    path = run_dir / "results.jsonl"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")


def test_uncommitted_code_can_be_allowed_and_the_commit_keeps_its_mark(run_dir, tmp_path):
    change(run_dir, commit=COMMIT + "+")
    path = release.write_release(run_dir, tmp_path, allow_dirty=True)
    assert read_json(path)["commit"] == COMMIT + "+"


def test_a_model_of_uncommitted_code_is_seen_in_its_line(run_dir, tmp_path):
    line = json.loads((run_dir / "results.jsonl").read_text().splitlines()[0])
    append_result(run_dir / "results.jsonl", {**line, "commit": COMMIT + "+"})
    with pytest.raises(ConfigError, match="in no commit"):
        release.write_release(run_dir, tmp_path)


def test_lines_of_an_older_grid_are_left_out_and_mixed_profiles_refused(run_dir, found):
    line = json.loads((run_dir / "results.jsonl").read_text().splitlines()[0])
    append_result(run_dir / "results.jsonl", {**line, "key": "single late f=0.7 s=0", "fraction": 0.7})
    assert release.summarise(run_dir)["rows"] == found["rows"]
    append_result(run_dir / "results.jsonl", {**line, "profile": "smoke"})
    with pytest.raises(DataError, match="laptop and smoke are mixed"):
        release.summarise(run_dir)


def test_a_run_without_machine_and_versions_gets_those_found_here(run_dir):
    change(run_dir, machine=None, versions=None)
    here = release.summarise(run_dir)
    assert here["machine"] == provenance.machine() and "torch" in here["versions"]
    release.validate(here, "here")


def set_first(row_key, value):
    def spoil(made):
        made["rows"][0][row_key] = value

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda made: made.pop("commit"), "'commit' is a required property"),
        (lambda made: made.update(minutes=[]), "minutes: .* is not of type 'object'"),
        (lambda made: made["machine"].pop("gpus"), "machine: 'gpus' is a required property"),
        (set_first("mean", "0.7"), "rows 0, mean: '0.7' is not of type 'number'"),
        (set_first("mean", float("nan")), "rows 0: .*finite"),
        (set_first("values", [True, 0.5, 0.5]), "rows 0, values 0: True is not of type 'number'"),
        (set_first("values", [0.5]), "rows 0: .*one value per seed"),
        (set_first("low", 2.0), "rows 0: .*low not above high"),
        (lambda made: made["rows"].append(made["rows"][0]), "is there twice"),
        (lambda made: made.update(profile="gpu"), "profile 'gpu', not 'laptop'"),
    ],
)
def test_a_release_in_another_form_is_refused_with_file_and_entry(found, tmp_path, spoil, message):
    made = json.loads(json.dumps(found))
    spoil(made)
    write_json(tmp_path / "laptop.json", made)
    with pytest.raises(DataError, match=message) as caught:
        release.read_release("laptop", tmp_path)
    assert str(tmp_path / "laptop.json") in str(caught.value)


def test_a_whole_run_may_be_published_and_its_chapters_are_those_of_the_project(run_dir, folder, write):
    release.require_publishable(run_dir)
    write("99_new")
    with pytest.raises(ConfigError, match="99_new"):
        release.require_publishable(run_dir, chapters=folder)


def test_the_command_writes_checks_and_refuses_another_profile(run_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(release, "results_folder", lambda: tmp_path / "results")
    run = CliRunner().invoke
    done = run(cli.app, ["course", "release", "--check", "--run-dir", str(run_dir)])
    assert done.exit_code == 0 and "can be released" in done.output and not (tmp_path / "results").exists()
    done = run(cli.app, ["course", "release", "--run-dir", str(run_dir)])
    assert done.exit_code == 0 and done.output.strip().endswith("laptop.json")
    done = run(cli.app, ["course", "release", "--profile", "gpu", "--run-dir", str(run_dir)])
    assert isinstance(done.exception, ConfigError) and "use --profile laptop" in str(done.exception)


def test_the_name_of_the_data_set_is_fit_for_the_key_of_a_cache(tmp_path):
    def name(*options):
        done = CliRunner().invoke(cli.app, ["course", "data-version", *options])
        assert done.exit_code == 0, done.output
        return done.output.strip()

    folders = [tmp_path / n / "SEN 12, MS\n" for n in "ab"]
    for folder in folders:
        folder.mkdir(parents=True)
    names = [name("--profile", "gpu"), name("--profile", "smoke"), *(name("--data", str(f)) for f in folders)]
    assert len(set(names)) == 4 and names[0].startswith("simulated-gpu-")
    assert all(
        set(n) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") for n in names
    )


def test_the_machine_is_named(tmp_path):
    found = provenance.machine()
    assert found["cpu"] and found["cores"] >= 1 and found["memory_gb"] > 0
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Fast: CPU\n")
    assert provenance.cpu_name(str(tmp_path / "cpuinfo")) == "Fast: CPU"
    assert provenance.cpu_name(str(tmp_path / "missing"))


def test_a_run_of_other_sources_is_told_from_one_of_these(run_dir, monkeypatch):
    done = ["course", "release", "--check", "--run-dir", str(run_dir)]
    assert CliRunner().invoke(cli.app, [*done, "--same-sources"]).exit_code == 0
    status.update(run_dir, {}, "04_simclr", {"sources": "other"})
    answer = CliRunner().invoke(cli.app, [*done, "--same-sources"])
    assert isinstance(answer.exception, ConfigError) and "other sources than those here (04_simclr)" in str(
        answer.exception
    )
    assert CliRunner().invoke(cli.app, done).exit_code == 0
