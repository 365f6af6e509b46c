"""The measurement with more unlabelled patches: worded by its intervals, drawn as it is, refused when damaged."""

import json

import pytest

from eo_ssl.errors import DataError
from eo_ssl.show import unlabelled


def row(fraction, low, high, epochs=30):
    gap = {"value": (low + high) / 2, "low": low, "high": high}
    return {"unlabelled": 1764, "epochs": epochs, "updates": 13 * epochs, "top5": 0.13, "chance_top5": 0.026,
            "method": "dual-finetune", "fraction": fraction, "n_labels": 49, "mean": 0.6, "difference": gap}  # fmt: skip


@pytest.fixture
def found():
    rows = [row(f, *ends) for f in (0.1, 1.0) for ends in ((0.02, 0.1), (-0.1, -0.02), (-0.03, 0.05))]
    for epochs, one in zip((30, 60, 90, 30, 60, 90), rows):
        one |= {"epochs": epochs, "updates": 13 * epochs}
    return {"baseline": {"method": "early"}, "rows": rows, "commit": "abc", "machine": {"cpu": "a CPU", "cores": 2},
            "date": "2026-01-01", "seeds": 3}  # fmt: skip


def test_each_variant_is_worded_by_its_interval(found):
    first, second, third = unlabelled.words(found).splitlines()[2:]
    assert "30 epochs" in first and "+6.0 (+2.0 to +10.0) points; the claim **holds**" in first
    assert "−6.0 (−10.0 to −2.0) points; the claim **does not hold**" in second
    assert "is undecided" in third and "13% of cases, by chance in 2.6%" in third


def test_the_figure_shows_every_difference_and_says_so(found):
    fig = unlabelled.ahead_of_supervised(found)
    (ax,) = fig.axes
    assert [t.get_text() for t in ax.get_yticklabels()] == [unlabelled.variant(r) for r in found["rows"][:3]]
    drawn = sorted(round(x, 6) for c in ax.containers for x in c.lines[0].get_xdata())
    assert drawn == sorted(round(100 * r["difference"]["value"], 6) for r in found["rows"])
    assert fig.eo_alt.count("epochs") == 6 and "early fusion with all labels" in fig.eo_alt


def test_where_it_was_measured_is_said(found):
    said = unlabelled.provenance(found)
    assert all(part in said for part in ("a CPU", "2026-01-01", "abc", "3 fine-tuning seeds"))


def test_no_file_is_no_measurement_and_a_damaged_one_is_named(tmp_path, found):
    path = tmp_path / "x.json"
    assert unlabelled.read_measurement(path) is None
    path.write_text(json.dumps({k: v for k, v in found.items() if k != "commit"}))
    with pytest.raises(DataError, match="commit missing"):
        unlabelled.read_measurement(path)
    path.write_text(json.dumps(found))
    assert unlabelled.read_measurement(path) == found


@pytest.mark.parametrize(("score", "advises"), [(0.7, True), (0.58, False)])
def test_the_lesson_is_drawn_only_where_more_patches_helped_most(found, score, advises):
    rows = [{**row(0.1, 0.0, 0.1, epochs), "mean": mean} for epochs, mean in ((30, 0.6), (90, 0.62))]
    rows.append({**row(0.1, 0.0, 0.1), "unlabelled": 8000, "mean": score})
    said = unlabelled.lesson({**found, "rows": rows})
    assert "+2.0 points" in said and ("in common" in said) == advises
    assert ("+10.0" if advises else "−2.0") in said
