"""Drift: the same run never drifts, a large shift always does, and what is new or gone is named."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from eo_ssl import cli
from eo_ssl.course import drift, release, status
from eo_ssl.errors import ConfigError
from eo_ssl.evaluate.intervals import bootstrap_interval
from eo_ssl.files import write_json

share = st.floats(0, 1).map(lambda x: round(x, 6))


def row(values, method="late", fraction=1.0, metric="aa", widen=0.0):
    """A row with the interval of its seeds, widened as by test patches."""
    found = bootstrap_interval(np.array(values), resamples=200)
    return {
        "task": "single", "method": method, "label": method.title(), "fraction": fraction, "n_labels": 400,
        "seeds": len(values), "metric": metric, "mean": found.value, "low": found.low - widen,
        "high": found.high + widen, "values": list(values),
    }  # fmt: skip


def made(rows, **facts):
    """A release or run that holds these rows."""
    machine = {"cpu": "c", "cores": 2, "memory_gb": 8, "gpus": []}
    about = {
        "profile": "laptop",
        "device": "CPU",
        "commit": "abc",
        "commits": ["abc"],
        "date": "2026-01-02T03",
    }
    about |= {
        "machine": machine,
        "data_version": "simulated 1",
        "seeds": {"first": 0},
        "versions": {},
        "minutes": {},
    }
    return {**about, **facts, "rows": rows}


def shifted(rows, by):
    """The same rows with every mean and value moved."""
    moved = copy.deepcopy(rows)
    for one in moved:
        for name in ("mean", "low", "high"):
            one[name] += by
        one["values"] = [value + by for value in one["values"]]
    return moved


@st.composite
def tables(draw):
    """Rows of distinct results with one to five seeds, three in most."""
    names = draw(
        st.lists(
            st.tuples(st.sampled_from("abcdef"), st.sampled_from([0.01, 1.0])),
            min_size=1,
            max_size=8,
            unique=True,
        )
    )
    seeds = draw(st.sampled_from([1, 3, 3, 3, 5]))
    return [
        row(draw(st.lists(share, min_size=seeds, max_size=seeds)), m, f, widen=draw(st.floats(0, 0.1)))
        for m, f in names
    ]


def compared(before, after, **facts):
    """The comparison of a release and a run with these rows."""
    return drift.compare(made(before), made(after, **facts))


def has_moved(before, after, **facts):
    """Names of the methods whose result moved."""
    found = compared(before, after, **facts)
    return found["method"][found["state"] == "moved"].tolist()


def keys(rows):
    return {tuple(one[name] for name in drift.KEY) for one in rows}


@settings(deadline=None, max_examples=30)
@given(tables())
def test_an_identical_run_never_drifts(rows):
    assert compared(rows, copy.deepcopy(rows))["state"].tolist() == ["same"] * len(rows)


@settings(deadline=None, max_examples=30)
@given(tables(), st.sampled_from([-10, 10]))
def test_a_shift_of_one_row_by_ten_widths_of_the_widest_interval_always_does(rows, times):
    widest = max(max(one["high"] - one["low"] for one in rows), 1e-3)
    found = compared(rows, [*shifted(rows[:1], times * widest), *rows[1:]])
    moved = found[found["state"] == "moved"]
    assert keys(moved.to_dict("records")) == keys(rows[:1])
    assert moved["change"].iloc[0] == pytest.approx(times * widest)


@settings(deadline=None, max_examples=30)
@given(tables(), tables())
def test_new_and_missing_rows_are_named_and_nothing_else_is_compared(before, after):
    found = compared(before, after)
    old, new = keys(before), keys(after)
    for state, expected in (({"new"}, new - old), ({"gone"}, old - new), ({"same", "moved"}, old & new)):
        assert keys(found[found["state"].isin(state)].to_dict("records")) == expected
    text = drift.markdown(made(before), found)
    assert all(drift.name(one) in text for one in found.itertuples() if one.state in ("new", "gone"))


def test_inside_the_released_interval_nothing_moved_on_either_side():
    before = row([0.70, 0.70, 0.70], widen=0.05)
    for by, moves in ((0.049, "same"), (-0.049, "same"), (0.051, "moved"), (-0.051, "moved")):
        (found,) = compared([before], shifted([before], by)).itertuples()
        assert found.state == moves and found.allowed == pytest.approx(0.05)


def test_the_two_sides_of_an_interval_count_each_for_itself():
    before = {**row([0.7, 0.7, 0.7]), "low": 0.6, "high": 0.71}
    assert not has_moved([before], shifted([before], -0.05)) and has_moved([before], shifted([before], 0.05))


def test_seeds_that_scatter_explain_a_mean_outside_a_short_interval_and_a_common_shift_does_not():
    before = row([0.60, 0.62, 0.64])
    scattered, shifted_all = row([0.67, 0.63, 0.65]), row([0.63, 0.65, 0.67])
    assert scattered["mean"] == pytest.approx(shifted_all["mean"]) and scattered["mean"] > before["high"]
    assert not has_moved([before], [scattered]) and has_moved([before], [shifted_all])


def test_runs_of_other_seeds_are_compared_by_their_scatter_over_seeds():
    before, after = row([0.60, 0.62, 0.64]), row([0.63, 0.65, 0.67])
    assert not has_moved([before], [after], seeds={"first": 3})
    after = row([0.83, 0.85, 0.87, 0.89, 0.81])
    assert has_moved([before], [after]), "another number of seeds cannot be paired"


@pytest.mark.parametrize("first", [0, 3], ids=["paired", "not paired"])
def test_chance_alone_is_reported_in_no_more_than_one_run_of_twenty(first):
    rng, alarms, runs = np.random.default_rng(0), 0, 150
    for _ in range(runs):
        tables = [[row(rng.normal(0.6, 0.02, 3), f"m{i}") for i in range(20)] for _ in range(2)]
        alarms += bool(has_moved(*tables, seeds={"first": first}))
    assert alarms / runs <= 0.1  # 0.05 expected at most; without the noise nearly all


def test_a_change_of_four_standard_deviations_is_seen_among_twenty_unchanged_methods():
    rng = np.random.default_rng(1)
    before, after = ([row(rng.normal(0.6, 0.01, 3), f"m{i}") for i in range(20)] for _ in range(2))
    after[3] = row(np.array(after[3]["values"]) - 0.04, "m3")
    assert has_moved(before, after) == ["m3"]


def test_other_data_or_another_profile_are_refused_with_the_reason():
    for facts in ({"data_version": "simulated 2"}, {"profile": "gpu"}):
        with pytest.raises(ConfigError, match="cannot be compared"):
            compared([row([0.5])], [row([0.5])], **facts)


def test_the_table_shows_what_moved_from_where_to_where():
    before = [row([0.70, 0.71, 0.72]), row([0.5, 0.5, 0.5], "dual")]
    after = [row([0.70, 0.71, 0.72]), row([0.6, 0.6, 0.6], "dual")]
    text = drift.markdown(made(before), compared(before, after))
    assert "2 results compared" in text and "**1 moved**" in text
    assert "| single, Dual, 100% of labels, aa | 400 | 0.5000 [0.5000, 0.5000] | 0.6000 | +0.1000 |" in text
    assert "Late" not in text


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    """A run folder whose summary a test may choose with `run_dir.now`, and an empty folder of releases."""
    monkeypatch.setattr(release, "results_folder", lambda: tmp_path / "results")
    folder = tmp_path / "run"
    facts = {"profile": "laptop", "device": "CPU", "evidence": True, "commit": "abc", "data": "simulated 1"}
    status.update(folder, facts, "00_a", {"state": "done", "minutes": 1.25})
    return folder


def summary_is(monkeypatch, found):
    monkeypatch.setattr(release, "summarise", lambda _: found)
    monkeypatch.setattr(drift, "summarise", lambda _: found)


def invoke(*arguments):
    return CliRunner().invoke(cli.app, ["course", *arguments])


def test_the_command_ends_with_1_only_when_something_moved(run_dir, tmp_path, monkeypatch):
    rows = [row([0.70, 0.71, 0.72])]
    summary_is(monkeypatch, made(rows))
    done = invoke("drift", "--run-dir", str(run_dir))
    assert done.exit_code == 0 and "No release of profile laptop yet" in done.output
    write_json(tmp_path / "results" / "laptop.json", made(rows))
    done = invoke("drift", "--run-dir", str(run_dir))
    assert done.exit_code == 0 and "none moved" in done.output
    summary_is(monkeypatch, made([*shifted(rows, 0.2), row([0.1], "new")]))
    done = invoke("drift", "--run-dir", str(run_dir))
    assert done.exit_code == 1 and "+0.2000" in done.output
    summary_is(monkeypatch, made(rows, data_version="simulated 2"))
    done = invoke("drift", "--run-dir", str(run_dir))
    assert isinstance(done.exception, ConfigError) and "cannot be compared" in str(done.exception)


def test_the_summary_tells_times_failures_and_changed_results(run_dir, tmp_path, monkeypatch):
    rows = [row([0.70, 0.71, 0.72])]
    summary_is(monkeypatch, made(shifted(rows, 0.2)))
    write_json(tmp_path / "results" / "laptop.json", made(rows, minutes={"00_a": 1.0, "01_b": 9.0}))
    status.update(run_dir, {}, "01_b", {"state": "failed", "error": "01_b, cell 3: no data"})
    text = invoke("summary", "--run-dir", str(run_dir)).output
    assert "## Run at profile laptop on CPU" in text and "commit abc" in text
    assert "| 00_a | done | 1.2 | 1.0 |" in text and "| **all** | 1 of 2 done | **1.2** | **10.0** |" in text
    assert "`01_b`: 01_b, cell 3: no data" in text and "+0.2000" in text and "no number" not in text


@pytest.mark.parametrize("release_text", [None, "{", '{"profile": "laptop"}'])
def test_the_summary_says_what_it_can_of_a_run_that_never_began_or_cannot_be_compared(
    run_dir, tmp_path, release_text
):
    if release_text:
        (tmp_path / "results").mkdir()
        (tmp_path / "results" / "laptop.json").write_text(release_text)
    done = invoke("summary", "--run-dir", str(run_dir))
    assert done.exit_code == 0 and "| 00_a | done | 1.2 |" in done.output
    assert ("Not compared: " if release_text else "No release") in done.output
    done = invoke("summary", "--run-dir", str(tmp_path / "empty"))
    assert done.exit_code == 0 and "No chapter was executed" in done.output


def test_the_summary_of_a_smoke_run_says_that_it_is_no_result(run_dir):
    status.update(run_dir, {"profile": "smoke", "evidence": False}, "00_a", {})
    assert "no number here is a result" in invoke("summary", "--run-dir", str(run_dir)).output
