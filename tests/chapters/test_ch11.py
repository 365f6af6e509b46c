"""Chapter 11: claims are settled by the comparison that decides; published stands beside measured; words and counts."""

import copy

import numpy as np
import pandas as pd
import pytest

from chapters import ch11
from eo_ssl.evaluate.intervals import Interval
from eo_ssl.experiments import tables
from eo_ssl.experiments.results import read_results
from eo_ssl.models.dual import DualEncoder
from eo_ssl.models.encoders import make_encoder
from eo_ssl.models.fusion import Classifier
from eo_ssl.models.swin_unet import SwinUNet

# --- Claims ---

PARTS = tuple((("dual-finetune", 1.0), (m, 1.0)) for m in ("early", "late"))
CLAIM = ch11.Claim("A beats both", "fusion", "single", PARTS)
UP, DOWN, ACROSS = Interval(0.05, 0.02, 0.08), Interval(-0.05, -0.08, -0.02), Interval(0.01, -0.02, 0.04)


@pytest.fixture
def outcome(monkeypatch):
    """`outcome({"early": UP, …})`: the claim examined in a run where these rivals were trained."""

    def make(gaps, claim=CLAIM):
        monkeypatch.setattr(ch11, "compare", lambda *args: gaps[args[4][0]])
        lines = pd.DataFrame({"method": ["dual-finetune", *gaps]})
        lines = lines.assign(task=claim.task, fraction=1.0, seed=0, test_reads=1)
        return ch11.examine(lines, ".", [claim])[0]

    return make


@pytest.mark.parametrize(
    ("gaps", "status", "said"),
    [
        ({"early": UP, "late": UP}, ch11.HOLDS, "is ahead of"),
        ({"early": UP, "late": DOWN}, ch11.FAILS, "is behind Late fusion"),
        ({"early": ACROSS, "late": DOWN}, ch11.FAILS, "is behind Late fusion"),
        ({"early": ACROSS, "late": UP}, ch11.OPEN, "cannot be told from Early fusion"),
        ({"early": UP}, ch11.IN_PART, "1 of 2 comparisons run"),
        ({}, ch11.NOT_RUN, "does not train"),
    ],
)
def test_a_claim_is_worded_by_the_comparison_that_decides(outcome, gaps, status, said):
    found = outcome(gaps)
    assert found.status == status == found.verdict(True) and said in found.words
    assert found.verdict(False) == ("not run" if status == ch11.NOT_RUN else "no evidence")


def test_the_usual_resnet_stands_in_for_the_deep_one_where_that_was_not_trained_and_only_there(outcome):
    parts = (
        (("resnet50-finetune", 0.1), ("resnet50-scratch", 0.1)),
        (("resnet50-finetune", 1.0), ("resnet50-scratch", 1.0)),
    )
    claim = ch11.Claim("x", "transformers", "single", parts)
    stood_in = outcome({"late": UP}, claim)
    assert stood_in.run[0][:2] == (("dual-finetune", 1.0), ("late", 1.0)) and stood_in.status == ch11.IN_PART
    deep = outcome({"late": DOWN, "resnet50-finetune": UP, "resnet50-scratch": UP}, claim)
    assert deep.run[0][:2] == (("resnet50-finetune", 1.0), ("resnet50-scratch", 1.0))
    lines = pd.DataFrame({"method": ["resnet50-finetune"], "fraction": [1.0]})
    lines = lines.assign(task="single", seed=0, test_reads=1)
    assert ch11.run_as(lines, "multi", "resnet50-finetune") == "dual-finetune"


@pytest.fixture
def run(tmp_path, write_model):
    for line in (("early", 6, 1), ("late", 5, 1), ("dual-finetune", 9, 1), ("dual-finetune", 8, 0.1)):
        write_model(*line)
    for line in (("swinunet-scratch", 5), ("swinunet-finetune", 4)):
        write_model(*line, task="segment")
    return read_results(tmp_path / "results.jsonl"), tmp_path


def test_the_claims_table_has_every_claim_under_its_paper_and_a_smoke_run_settles_none(run):
    outcomes = ch11.examine(*run)
    table = ch11.claims_table(outcomes, True)
    assert len(table) == len(ch11.CLAIMS) + 2 and table.rows[1][2] == "**holds as far as run**"
    assert "at 10% is ahead of Early fusion at 100%" in outcomes[0].words
    smoke = ch11.claims_table(outcomes, False)
    assert "not evidence" in smoke.caption
    assert {row[2] for row in smoke.rows if len(row) > 1} == {"**no evidence**", "**not run**"}
    said = ch11.tally(outcomes)
    published = sum(claim.published for claim in ch11.CLAIMS)
    assert f"Of {published} published claims" in said and "holds as far as run **3**" in said


# --- Published beside measured ---


def test_differences_are_taken_to_the_best_supervised_model_of_the_same_column(run):
    rows = ch11.column_differences(*run, *ch11.COLUMNS[0][:3])
    dual = rows["Dual-SimCLR, fine-tuned"]
    assert dual["published"] == pytest.approx(0.70 - 0.62)
    assert dual["this run"].value == pytest.approx(0.9 - 0.6)  # early is the better one here
    assert np.isnan(rows["MMA, fine-tuned"]["this run"]) and "Early fusion" not in rows
    swin = ch11.column_differences(*run, *ch11.COLUMNS[2][:3])
    ahead = swin["Dual-SimCLR, fine-tuned"]["this run"].value
    assert ahead == pytest.approx(0.9 - 0.5)  # early is no rival there
    assert swin["Swin pair, frozen"]["published"] == pytest.approx(0.572 - 0.436)


def test_both_tables_have_one_form_with_the_averages_first(run):
    table = ch11.beside(run[0], "single")
    assert list(table.columns[:3]) == ["AA", "OA", "Forest"]
    assert table.loc[("published", "MMA"), "AA"] == "69±2"
    assert table.loc[("this run", "Late fusion"), "Water"] == "–"


# --- One pair of encoders ---


def test_shared_numbers_are_the_same_memory_not_equal_values_and_parameters_add_up():
    pair = DualEncoder(make_encoder("swin_nano", 2, 32), make_encoder("swin_nano", 13, 32))
    classifier, segmenter = Classifier(pair), SwinUNet(pair.s1, pair.s2)
    inside = sum(p.numel() for p in pair.parameters())
    assert ch11.shared(pair, classifier) == (inside, inside)
    assert ch11.shared(classifier, segmenter)[0] == inside
    assert ch11.shared(pair, copy.deepcopy(classifier))[0] == 0
    for model in (classifier, segmenter):
        assert sum(ch11.parameters(model).values()) == sum(p.numel() for p in model.parameters())


# --- Everything measured, here and at other profiles ---


def rows(scores, metric="aa"):
    shared = {"task": "single", "fraction": 1.0, "seeds": 3, "metric": metric}
    return [{**shared, "method": name, "mean": value} for name, value in scores.items()]


def release(scores):
    other = rows({"late": 0.9}, metric="oa") + rows({"from the future": 0.9})
    facts = {"device": "NVIDIA H100", "date": "2026-11-22T10:00:00+00:00", "commit": "0123456789abcdef"}
    return {**facts, "rows": rows(scores) + other}


def test_a_release_shows_the_main_metric_of_known_methods_and_says_where_it_was_measured():
    table = ch11.release_rows(release({"late": 0.6, "s1": 0.5}))
    assert table["method"].tolist() == ["s1", "late"] and table["mean"].tolist() == [0.5, 0.6]
    assert table["label"].tolist() == ["Only S1", "Late fusion"]
    said = ch11.provenance({"gpu": None, "laptop": release({"late": 0.6})})
    assert "**gpu**: not yet measured on GPU" in said
    assert "**laptop**: measured on NVIDIA H100, 2026-11-22, commit 012345678, 3 seeds." in said


def test_agreement_counts_pairs_in_the_same_order():
    one = tables.in_order(rows({"s1": 0.4, "late": 0.6, "early": 0.5, "mma-frozen": 0.9}))
    other = ch11.release_rows(release({"s1": 0.5, "late": 0.6, "early": 0.7}))
    assert "at laptop and at gpu: 2 of 3 pairs" in ch11.agreement({"laptop": one, "gpu": other})
