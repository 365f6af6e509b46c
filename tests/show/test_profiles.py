"""Other profiles beside this run: main metrics of known methods, order and not values, nothing where there is none."""

import pytest

from eo_ssl.experiments.tables import in_order
from eo_ssl.show import profiles


def rows(scores, task="single", metric="aa"):
    return [
        {"task": task, "method": m, "label": m, "fraction": 1.0, "n_labels": 9, "seeds": 3, "metric": metric, "mean": v,
         "low": v - 0.1, "high": v + 0.1, "values": [v]}
        for m, v in scores.items()
    ]  # fmt: skip


def release(scores):
    other = rows({"late": 0.9}, metric="oa") + rows({"from the future": 0.9})
    facts = {"device": "NVIDIA H100", "date": "2026-11-22T10:00:00+00:00", "commit": "0123456789abcdef"}
    return {**facts, "rows": rows(scores) + other}


def test_only_the_main_metric_of_known_methods_is_shown():
    table = profiles.release_rows(release({"late": 0.6, "s1": 0.5}))
    assert table["method"].tolist() == ["s1", "late"] and table["mean"].tolist() == [0.5, 0.6]
    assert table["label"].tolist() == ["Only S1", "Late fusion"]


def test_a_profile_without_results_says_that_it_is_not_yet_measured():
    said = profiles.provenance({"gpu": None, "laptop": release({"late": 0.6})})
    assert "**GPU**: not yet measured on GPU" in said
    assert "**laptop**: measured on NVIDIA H100, 2026-11-22, commit 012345678, 3 seeds." in said
    assert len(profiles.release_rows(None)) == 0


def test_agreement_counts_pairs_in_the_same_order():
    one = in_order(rows({"s1": 0.4, "late": 0.6, "early": 0.5, "mma-frozen": 0.9}))
    other = profiles.release_rows(release({"s1": 0.5, "late": 0.6, "early": 0.7}))
    assert profiles.agreement(one, other, "single") == (2, 3)
    said = profiles.agreement_words({"laptop": one, "gpu": other}, True)
    assert "at laptop and at GPU: 2 of 3 pairs" in said and "no evidence" not in said
    assert "no evidence" in profiles.agreement_words({"smoke": one, "gpu": other}, False)
    assert "no pair" in profiles.agreement_words({"smoke": one, "gpu": profiles.release_rows(None)}, True)


@pytest.mark.parametrize("task", ["single", "segment"])
def test_the_figure_shows_what_two_profiles_have_in_common(task):
    metric = {"single": "aa", "segment": "miou"}[task]
    one, other = (
        in_order(rows({"late": v, "unet": v, extra: v}, task, metric))
        for v, extra in ((0.4, "s1"), (0.7, "s2"))
    )
    alt = profiles.beside({"laptop": one, "gpu": other}).eo_alt
    assert "laptop: Late fusion 40" in alt and "gpu: Late fusion 70" in alt and "Only S" not in alt
