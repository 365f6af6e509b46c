"""Chapter 11 in words: every claim under its paper, no evidence at smoke, published and measured in one form."""

import pytest

from eo_ssl.course.claims import CLAIMS
from eo_ssl.course.reproduction import examine
from eo_ssl.experiments.results import append_result, read_results
from eo_ssl.show import reproduction_text


@pytest.fixture
def run(tmp_path, write_model):
    for method, right, fraction in (
        ("early", 6, 1.0),
        ("late", 5, 1.0),
        ("dual-finetune", 9, 1.0),
        ("dual-finetune", 8, 0.1),
    ):
        write_model(method, right, fraction)
    for method, right in (("swinunet-scratch", 5), ("swinunet-finetune", 4)):
        write_model(method, right, task="segment")
    return read_results(tmp_path / "results.jsonl"), tmp_path


def test_the_claims_table_has_every_claim_under_its_paper_and_a_smoke_run_settles_none(run):
    outcomes = examine(*run)
    table = reproduction_text.claims_table(outcomes, True)
    assert len(table) == len(CLAIMS) + 2 and table.rows[1][2] == "**holds as far as run**"
    smoke = reproduction_text.claims_table(outcomes, False)
    assert "no evidence" in smoke.caption
    assert {row[2] for row in smoke.rows if len(row) > 1} == {"**no evidence**", "**not run**"}


def test_the_tally_counts_and_says_what_chance_would_do(run):
    outcomes = examine(*run)
    said = reproduction_text.tally(outcomes, True)
    published = sum(claim.published for claim in CLAIMS)
    assert (
        f"Of {published} published claims" in said
        and "holds as far as run **3**" in said
        and "not run **13**" in said
    )
    assert "no evidence" in reproduction_text.tally(outcomes, False)


def test_the_headline_is_worded_by_its_interval_and_cautious_at_smoke(run):
    first = examine(*run)[0]
    said = reproduction_text.headline(first, True)
    assert "**holds as far as run**" in said and "at 10% is ahead of Early fusion at 100%" in said
    smoke = reproduction_text.headline(first, False)
    assert smoke.startswith("*Smoke run") and "**no evidence**" in smoke


def test_both_tables_have_one_form_with_the_averages_first(tmp_path):
    line = {"task": "single", "method": "late", "fraction": 1.0, "test_reads": 1}
    for seed in range(2):
        test = {"aa": 0.5, "oa": 0.6 + 0.1 * seed, "per_class": [0.5] * 7 + [None]}
        append_result(tmp_path / "results.jsonl", {**line, "key": f"late {seed}", "seed": seed, "test": test})
    table = reproduction_text.beside(read_results(tmp_path / "results.jsonl"), "single")
    assert table.head[:4] == ("Method", "AA", "OA", "Forest") and len(table.head) == 11
    sections = [i for i, row in enumerate(table.rows) if len(row) == 1]
    assert [table.rows[i][0] for i in sections] == ["published", "this run"] and sections == [0, 8]
    assert table.rows[sections[1] - 1][:3] == ("MMA", "69±2", "69±1")
    assert table.rows[-1][:4] == ("Late fusion", "50±0", "65±7", "50±0") and table.rows[-1][-1] == "–"


def test_pairing_is_worded_by_what_it_did():
    narrow, wide = (0.05, 0.0, 0.1), (0.05, -0.05, 0.15)
    assert "2.0 times as wide: 20 points instead of 10" in reproduction_text.pairing(narrow, wide, True)
    assert "no wider" in reproduction_text.pairing(wide, narrow, True)
    assert "no evidence" in reproduction_text.pairing(narrow, wide, False)
