"""The table that grows: what a part adds is new, what is missing is said, and a smoke run is no evidence."""

from types import SimpleNamespace

import pytest

from eo_ssl.errors import ConfigError
from eo_ssl.experiments.tables import measured
from eo_ssl.experiments.results import read_results
from eo_ssl.profiles import get_profile
from eo_ssl.show import growing


def run(folder, profile="laptop"):
    found = get_profile(profile)
    return SimpleNamespace(profile=found, root=folder, is_evidence=found.is_evidence)


def row(table, name):
    return next(r for r in table.rows if r[0] == name)


def test_the_parts_add_up_to_the_whole_grid_and_share_nothing():
    whole, none = growing.planned("laptop")
    added = [growing.planned("laptop", part) for part in growing.PARTS]
    assert not none and set.union(*(own for _, own in added)) == whole
    assert all(not earlier & own for earlier, own in added) and added[0][0] == set()


def test_what_a_chapter_adds_is_bold_and_new_and_the_rest_is_not(tmp_path, write_model):
    for method, fraction in (("late", 1.0), ("late", 0.1), ("dual-frozen", 1.0), ("s1", 1.0)):
        write_model(method, 8, fraction)
    table = growing.growing_table(run(tmp_path), "few-labels", "single")
    late, pair, single = (row(table, name) for name in ("Late fusion", "Dual-SimCLR, frozen", "Only S1"))
    assert late[table.head.index("10%")].startswith("**80 [") and late[table.head.index("100%")].startswith(
        "80 ["
    )
    assert late[-1] == pair[-1] == "new" and single[-1] == "" and single[-2] == "3"


def test_not_run_and_not_planned_are_told_apart(tmp_path, write_model):
    write_model("late", 8)
    table = growing.growing_table(run(tmp_path), "few-labels", "single")
    single = row(table, "Only S1")
    assert single[table.head.index("100%")] == "not run" and single[table.head.index("10%")] == "–"
    assert "has not reached" in table.caption


def test_later_chapters_do_not_show_before_their_turn(tmp_path, write_model):
    write_model("late", 8)
    write_model("swin-frozen", 9)
    names = [r[0] for r in growing.growing_table(run(tmp_path), "few-labels").rows]
    assert "Late fusion" in names and "Swin pair, frozen" not in names
    assert "Swin pair, frozen" in [r[0] for r in growing.growing_table(run(tmp_path)).rows]


def test_a_smoke_run_says_that_it_is_no_evidence(tmp_path, write_model):
    write_model("late", 8)
    assert "no evidence" in growing.growing_table(run(tmp_path, "smoke"), "fusion").caption
    assert "no evidence" not in growing.growing_table(run(tmp_path), "fusion").caption


def test_unknown_parts_and_tasks_are_named(tmp_path):
    with pytest.raises(ConfigError, match="swim"):
        growing.growing_table(run(tmp_path), "swim")
    with pytest.raises(ConfigError, match="triple"):
        growing.growing_table(run(tmp_path), task="triple")


def test_the_overview_has_a_panel_per_task_and_names_the_best(tmp_path, write_model):
    write_model("late", 6)
    write_model("dual-frozen", 8)
    write_model("unet", 5, task="segment")
    fig = growing.overview(measured(read_results(tmp_path / "results.jsonl"), tmp_path))
    assert len(fig.axes) == 2 and "best Dual-SimCLR, frozen 80%" in fig.eo_alt
    with pytest.raises(ConfigError, match="nothing was measured"):
        growing.overview(measured(read_results(tmp_path / "none.jsonl"), tmp_path))
