"""A release is made of finished, committed evidence only; the same run never drifts, a large shift always does."""

import copy
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from finished_run import COMMIT, finish
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from eo_ssl import cli, provenance
from eo_ssl.course import release, session, status
from eo_ssl.errors import ConfigError, DataError
from eo_ssl.experiments.results import append_result, read_results
from eo_ssl.experiments.tables import interval
from eo_ssl.files import read_json, write_json, write_text
from eo_ssl.profiles import get_profile


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    return finish(tmp_path_factory.mktemp("finished") / "laptop")


@pytest.fixture(scope="module")
def found(finished) -> dict:
    return release.summarise(finished)


@pytest.fixture
def run_dir(finished, tmp_path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch) -> Path:
    """An empty folder of releases."""
    monkeypatch.setattr(release, "results_folder", lambda: tmp_path / "results")
    return tmp_path / "results"


def change(run_dir, **facts):
    write_json(run_dir / status.FILE, {**status.read(run_dir), **facts})


def invoke(*arguments):
    return CliRunner().invoke(cli.app, ["course", *map(str, arguments)])


# ---- releases ----------------------------------------------------------------------------------------------


def test_every_tested_model_is_in_one_row_of_each_metric_with_the_interval_of_the_course(finished, found):
    results = read_results(finished / "results.jsonl")
    rows = {(r["task"], r["method"], r["fraction"], r["metric"]): r for r in found["rows"]}
    assert len(rows) == len(found["rows"])
    for task, metric in (("single", "aa"), ("single", "oa"), ("multi", "f1_macro"), ("segment", "miou")):
        seeds = [r["seeds"] for key, r in rows.items() if (key[0], key[3]) == (task, metric)]
        assert sum(seeds) == (results["task"] == task).sum()
    row, expected = rows["single", "late", 0.1, "aa"], interval(finished, results, "single", "late", 0.1)
    assert (row["mean"], row["low"], row["high"]) == pytest.approx(
        (expected.value, expected.low, expected.high), abs=1e-6
    )
    assert row["mean"] == pytest.approx(sum(row["values"]) / 3, abs=1e-6) and row["n_labels"] == 40
    labels = [rows["segment", method, 1.0, "miou"]["n_labels"] for method in ("ensemble", "unet")]
    assert labels == [400, 400], "an ensemble has the labels of its members"


def test_a_release_is_read_as_it_was_written(run_dir, found, results):
    path = release.write_release(run_dir)
    assert path == results / "laptop.json"
    assert release.read_release("laptop") == found == read_json(path)
    assert release.read_release("gpu") is None
    with pytest.raises(ConfigError, match="did you mean laptop"):
        release.read_release("laptp")


def test_a_run_on_other_data_is_released_beside_the_simulated_one(run_dir, results, tmp_path):
    simulated = release.write_release(run_dir)
    real = {**read_json(simulated), "data_version": "ben-ge-8k"}
    write_json(results / "laptop-ben-ge-8k.json", real)
    assert release.read_release("laptop", "ben-ge-8k")["data_version"] == "ben-ge-8k"
    run = session.Run(get_profile("laptop"), session.SIMULATED, tmp_path, 0)
    assert release.others(run) == {"laptop-ben-ge-8k": real, "gpu": None, "paper": None}
    alike = "simulated laptop 1.1 seed 1", "simulated-scenes of mine 1.0", "my data winter", "my data summer"
    names = [release.release_name("laptop", data) for data in (*alike, real["data_version"], "")]
    assert len(set(names)) == len(names), "one release never takes the place of another"


def drop_last_line(run_dir):
    path = run_dir / "results.jsonl"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")


def add_line(run_dir, **differs):
    line = json.loads((run_dir / "results.jsonl").read_text().splitlines()[0])
    append_result(run_dir / "results.jsonl", {**line, **differs})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: change(d, profile="smoke"), "no evidence"),
        (lambda d: (d / "03_data_fusion.ipynb").unlink(), "not finished .*03_data_fusion"),
        (lambda d: status.update(d, {}, "04_simclr", {"state": "failed"}), "not finished .*04_simclr"),
        (lambda d: change(d, commit=COMMIT + "+"), "in no commit .*0123abcde\\+"),
        (lambda d: change(d, commit="v0.1.0"), "in no commit"),
        (lambda d: status.update(d, {}, "04_simclr", {"commit": COMMIT + "+"}), "in no commit"),
        (lambda d: add_line(d, commit=COMMIT + "+"), "in no commit"),
        (drop_last_line, "1 tested models missing"),
    ],
)
def test_what_is_no_evidence_unfinished_or_uncommitted_is_refused_and_nothing_written(
    run_dir, results, spoil, message
):
    spoil(run_dir)
    with pytest.raises(ConfigError, match=message):
        release.write_release(run_dir)
    assert not results.exists()


def test_lines_of_an_older_grid_are_left_out_and_mixed_profiles_refused(run_dir, found):
    add_line(run_dir, key="single late f=0.7 s=0", fraction=0.7)
    assert release.summarise(run_dir)["rows"] == found["rows"]
    add_line(run_dir, profile="smoke")
    with pytest.raises(DataError, match="laptop and smoke are mixed"):
        release.summarise(run_dir)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda made: made.pop("commit"), "commit is missing"),
        (lambda made: made["rows"][0].update(mean=float("nan")), "rows: every result needs"),
        (lambda made: made["rows"].append(made["rows"][0]), "and once"),
    ],
)
def test_a_release_in_another_form_is_refused_with_file_and_entry(found, results, spoil, message):
    made = copy.deepcopy(found)
    spoil(made)
    write_json(results / "laptop.json", made)
    with pytest.raises(DataError, match=message) as caught:
        release.read_release("laptop")
    assert str(results / "laptop.json") in str(caught.value)


def test_the_chapters_of_a_whole_run_are_those_of_the_project(run_dir, folder, write, monkeypatch):
    status.update(run_dir, {}, "15_removed_since", {"state": "failed"})
    release.require_publishable(run_dir)
    write("99_new")
    monkeypatch.setattr(session, "project_root", lambda: folder.parent)
    with pytest.raises(ConfigError, match="99_new"):
        release.require_publishable(run_dir)


def test_the_command_checks_writes_and_refuses_another_profile_or_other_sources(run_dir, results):
    check = ("release", "--check", "--run-dir", run_dir)
    done = invoke(*check, "--same-sources")
    assert done.exit_code == 0 and "can be released" in done.output and not results.exists()
    done = invoke("release", "--run-dir", run_dir)
    assert done.exit_code == 0 and done.output.strip().endswith("laptop.json")
    done = invoke("release", "--profile", "gpu", "--run-dir", run_dir)
    assert isinstance(done.exception, ConfigError) and "use --profile laptop" in str(done.exception)
    status.update(run_dir, {}, "04_simclr", {"sources": "other"})
    done = invoke(*check, "--same-sources")
    assert isinstance(done.exception, ConfigError) and "than those here (04_simclr)" in str(done.exception)
    assert invoke(*check).exit_code == 0


def test_only_a_repository_that_keeps_the_package_names_its_commit(tmp_path, monkeypatch):
    def git(*words):
        about = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *about, *words], cwd=tmp_path, check=True, capture_output=True)

    write_text(tmp_path / "eo_ssl" / "__init__.py", "")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "eo_ssl" / "provenance.py"))
    git("init", "-q")
    for options, commit in ((["--allow-empty"], "v.*"), (["--all"], "[0-9a-f]{9}")):
        git("commit", "-q", "-m", "of somebody", *options)
        assert re.fullmatch(commit, provenance.commit.__wrapped__())
        git("add", "eo_ssl")


# ---- drift -------------------------------------------------------------------------------------------------

share = st.floats(0, 1).map(lambda x: round(x, 6))


def row(values, method="late", fraction=1.0, widen=0.0):
    """A row with the interval of its seeds (of three the resamples reach all), widened as by test patches."""
    return {
        "task": "single", "method": method, "label": method.title(), "fraction": fraction, "n_labels": 400,
        "seeds": len(values), "metric": "aa", "mean": float(np.mean(values)), "low": min(values) - widen,
        "high": max(values) + widen, "values": list(values),
    }  # fmt: skip


def made(rows, **facts):
    """A release or run that holds these rows."""
    about = {
        "profile": "laptop", "device": "CPU", "commit": "abc", "commits": ["abc"], "date": "2026-01-02T03",
        "machine": {"cpu": "c", "cores": 2, "memory_gb": 8, "gpus": []}, "data_version": "simulated 1",
        "seeds": {"first": 0}, "versions": {}, "minutes": {},
    }  # fmt: skip
    return {**about, **facts, "rows": rows}


def shifted(one, by):
    """The same row with its mean, interval and values moved."""
    moved = {name: one[name] + by for name in ("mean", "low", "high")}
    return {**one, **moved, "values": [value + by for value in one["values"]]}


@st.composite
def tables(draw):
    """Rows of distinct results with one to five seeds, three in most."""
    names = st.tuples(st.sampled_from("abcdef"), st.sampled_from([0.01, 1.0]))
    seeds = draw(st.sampled_from([1, 3, 3, 3, 5]))
    values = st.lists(share, min_size=seeds, max_size=seeds)
    drawn = draw(st.lists(names, min_size=1, max_size=8, unique=True))
    return [row(draw(values), m, f, widen=draw(st.floats(0, 0.1))) for m, f in drawn]


def compared(before, after, **facts):
    """The comparison of a release and a run with these rows."""
    return release.compare(made(before), made(after, **facts))


def keys(rows):
    return {tuple(one[name] for name in release.KEY) for one in rows}


@settings(deadline=None, max_examples=30)
@given(tables(), st.sampled_from([-10, 10]))
def test_an_identical_run_never_drifts_and_a_shift_of_ten_widths_of_the_widest_interval_always(rows, times):
    assert compared(rows, copy.deepcopy(rows))["state"].tolist() == ["same"] * len(rows)
    widest = max(max(one["high"] - one["low"] for one in rows), 1e-3)
    found = compared(rows, [shifted(rows[0], times * widest), *rows[1:]])
    moved = found[found["state"] == "moved"]
    assert keys(moved.to_dict("records")) == keys(rows[:1])
    assert moved["change"].iloc[0] == pytest.approx(times * widest)


@settings(deadline=None, max_examples=30)
@given(tables(), tables())
def test_new_and_missing_rows_are_named_and_nothing_else_is_compared(before, after):
    found = compared(before, after)
    old, new = keys(before), keys(after)
    for states, expected in ((["new"], new - old), (["gone"], old - new), (["same", "moved"], old & new)):
        assert keys(found[found["state"].isin(states)].to_dict("records")) == expected
    text = release.markdown(made(before), found)
    assert all(release.name(one) in text for one in found.itertuples() if one.state in ("new", "gone"))


def test_a_result_moved_where_the_two_intervals_have_nothing_in_common():
    before = {**row([0.70, 0.70, 0.70]), "low": 0.60, "high": 0.75}
    for by, widen, moves in (
        (0.049, 0, "same"), (0.051, 0, "moved"), (0.051, 0.002, "same"), (-0.099, 0, "same"), (-0.101, 0, "moved")
    ):  # fmt: skip
        after = row([0.70 + by] * 3, widen=widen)
        (found,) = compared([before], [after]).itertuples()
        assert found.state == moves and found.change == pytest.approx(by)


@pytest.mark.parametrize("facts", [{"data_version": "simulated 2"}, {"profile": "gpu"}])
def test_other_data_or_another_profile_are_refused_with_the_reason(facts):
    with pytest.raises(ConfigError, match="cannot be compared"):
        compared([row([0.5])], [row([0.5])], **facts)


@pytest.fixture
def small(tmp_path):
    """A run folder with one chapter that ended well and one that failed."""
    folder = tmp_path / "small"
    facts = {"profile": "laptop", "device": "CPU", "evidence": True, "commit": "abc"}
    facts["data"] = "simulated laptop 1 seed 0"
    status.update(folder, facts, "00_a", {"state": "done", "minutes": 1.25})
    status.update(folder, {}, "01_b", {"state": "failed", "error": "01_b, cell 3: no data"})
    return folder


def test_the_command_ends_with_1_only_when_something_moved_and_shows_from_where_to_where(
    small, results, monkeypatch
):
    rows = [row([0.70, 0.71, 0.72]), row([0.5, 0.5, 0.5], "dual")]
    done = invoke("drift", "--run-dir", small)
    assert done.exit_code == 0 and "No release of profile laptop yet" in done.output
    write_json(results / "laptop.json", made(rows))
    moved = "| single, Dual, 100% of labels, aa | 400 | 0.5000 [0.5000, 0.5000] | 0.6000 [0.6000, 0.6000] | +0.1000 |"
    changed = [rows[0], shifted(rows[1], 0.1), row([0.1], "new")]
    for now, code, words in ((rows, 0, "none moved"), (changed, 1, moved)):
        monkeypatch.setattr(release, "summarise", lambda _, now=now: made(now))
        done = invoke("drift", "--run-dir", small)
        assert done.exit_code == code and words in done.output
        assert "2 results compared" in done.output and "Late" not in done.output


def test_the_summary_tells_times_failures_and_changed_results(small, results, monkeypatch):
    rows = [row([0.70, 0.71, 0.72])]
    monkeypatch.setattr(release, "summarise", lambda _: made([shifted(rows[0], 0.2)]))
    write_json(results / "laptop.json", made(rows, minutes={"00_a": 1.0, "01_b": 9.0}))
    text = invoke("summary", "--run-dir", small).output
    assert "## Run at profile laptop on CPU" in text and "commit abc" in text
    assert "| 00_a | done | 1.2 | 1.0 |" in text and "| **all** | 1 of 2 done | **1.2** | **10.0** |" in text
    assert "`01_b`: 01_b, cell 3: no data" in text and "+0.2000" in text and "no number" not in text
    status.update(small, {"profile": "smoke", "evidence": False}, "00_a", {})
    assert "no number here is a result" in invoke("summary", "--run-dir", small).output


def test_the_summary_says_what_it_can_of_a_run_that_never_began_or_cannot_be_compared(
    small, results, tmp_path
):
    write_text(results / "laptop.json", "{")
    done = invoke("summary", "--run-dir", small)
    assert done.exit_code == 0 and "| 00_a | done | 1.2 |" in done.output and "Not compared: " in done.output
    done = invoke("summary", "--run-dir", tmp_path / "empty")
    assert done.exit_code == 0 and "No chapter was executed" in done.output
