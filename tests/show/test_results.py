"""Tables and curves of results: right numbers, what is new or missing."""

from types import SimpleNamespace

import pandas as pd
import pytest

from eo_ssl.experiments.results import read_results
from eo_ssl.profiles import get_profile
from eo_ssl.show import results as show


@pytest.fixture
def run(tmp_path, write_model):
    models = [("late", 5, 0.1), ("late", 6, 1.0), ("dual-finetune", 8, 0.1), ("dual-finetune", 9, 1.0)]
    for method, right, fraction in (*models, ("dual-frozen", 7, 1.0)):
        write_model(method, right, fraction)
    return tmp_path, read_results(tmp_path / "results.jsonl")


def test_the_table_has_mean_and_spread_in_percent_and_a_dash_for_absent_classes(run):
    _, results = run
    late = (results["method"] == "late") & (results["fraction"] == 1.0)
    results.loc[late, "test.aa"] = [0.5, 0.6, 0.8]
    table = show.table(results, "single")
    assert list(table.index) == ["Late fusion", "Dual-SimCLR, frozen", "Dual-SimCLR, fine-tuned"]
    assert table.loc["Late fusion", "AA"] == "63\u00a0±\u00a015"
    assert table.loc["Late fusion", "Water"] == "–" and show.table(pd.DataFrame(), "single").empty
    one = results[results["seed"] == 0]  # no spread to show
    assert "±" not in show.table(one, "single").to_string()


def test_the_curve_has_a_point_with_an_interval_for_every_method_and_fraction(run):
    folder, results = run
    points = show.curve(results, folder, "single")
    assert len(points) == 5 and (points["low"] <= points["value"]).all()
    late = show.curve(results, folder, "single", ["late"], "oa")
    assert late["value"].tolist() == pytest.approx([0.5, 0.6])


@pytest.mark.parametrize(
    "names",
    [
        "s1 s2 early late dual-finetune dual-frozen mma-finetune",
        "unet swinunet-scratch swinunet-finetune swinunet-frozen ensemble",
        "dual-finetune dual-frozen dual-released-frozen mma-frozen mma-released-frozen late",
        "swin-finetune swin-frozen swin-scratch resnet50-scratch dual-finetune dual-frozen late",
    ],
)
def test_methods_that_share_a_figure_can_be_told_apart(names):
    styles = {tuple(show.style_of(name).values()) for name in names.split()}
    assert len(styles) == len(names.split())


def test_two_methods_in_a_sentence_bring_both_scores_winner_first(tmp_path, write_model):
    write_model("s2", 9, 0.1)
    write_model("late", 6, 1.0)
    results = read_results(tmp_path / "results.jsonl")
    said = show.versus(results, tmp_path, "late", "s2", fraction=1.0, other=0.1)
    names = "Only S2 with 10% of the labels is ahead of Late fusion with all labels"
    assert said.startswith(f"**{names}** by average accuracy")
    assert "90.0% against 60.0%: +30.0 points (95% interval +" in said


def test_gains_pair_only_the_fractions_that_both_have(tmp_path, write_model):
    for method, fraction, right in (("late", 1.0, 6), ("dual-finetune", 0.1, 9), ("dual-finetune", 1.0, 9)):
        write_model(method, right, fraction)
    results, pairs = read_results(tmp_path / "results.jsonl"), [("dual-finetune", "late")]
    table = show.gains(results, tmp_path, pairs, evidence=True)
    assert [row[0] for row in table.rows] == ["Dual-SimCLR, fine-tuned − Late fusion", "100% of the labels"]
    assert table.rows[1][1] == "+30.0" and table.rows[1][3] == "yes"
    assert show.gains(results, tmp_path, pairs, evidence=False).rows[1][3] == "smoke run, not evidence"


def growing(folder, part="", task="", profile="laptop"):
    found = get_profile(profile)
    run = SimpleNamespace(profile=found, root=folder, is_evidence=found.is_evidence)
    return show.growing_table(run, part, task)


def row(table, name):
    return next(r for r in table.rows if r[0] == name)


def test_the_parts_add_up_to_the_whole_grid_and_share_nothing():
    whole, none = show.planned("laptop")
    added = [show.planned("laptop", part) for part in show.PARTS]
    assert not none and set.union(*(own for _, own in added)) == whole
    assert all(not earlier & own for earlier, own in added) and added[0][0] == set()


def test_the_growing_table_tells_new_old_not_run_and_not_planned_apart(tmp_path, write_model):
    for method, fraction in (("late", 1.0), ("late", 0.1), ("dual-frozen", 1.0)):
        write_model(method, 8, fraction)
    write_model("swin-frozen", 9)
    table = growing(tmp_path, "few-labels", "single")
    late, pair, single = (row(table, name) for name in ("Late fusion", "Dual-SimCLR, frozen", "Only S1"))
    tenth, whole = table.head.index("10%"), table.head.index("100%")
    assert late[tenth].startswith("**80 [") and late[whole].startswith("80 [") and late[-2] == "3"
    assert late[-1] == pair[-1] == "new" and single[-1] == ""
    assert single[whole] == "not run" and single[tenth] == "–" and "has not reached" in table.caption
    assert "Swin pair, frozen" not in [r[0] for r in table.rows]  # of a later chapter
    assert "Swin pair, frozen" in [r[0] for r in growing(tmp_path).rows]
