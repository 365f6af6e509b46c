"""results.jsonl survives kills and many writers; intervals cover what they should."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from eo_ssl.errors import DataError
from eo_ssl.evaluate import intervals
from eo_ssl.evaluate.metrics import confusion_metrics
from eo_ssl.evaluate.results import append_result, read_lines, read_results
from eo_ssl.evaluate.segmentation_metrics import segmentation_metrics


@pytest.mark.parametrize("torn", [b'{"key": "b", "te', b'{"key": "\xc3', b"\x00\x00"])
def test_a_torn_last_line_is_ignored_and_then_replaced(tmp_path, torn):
    path = tmp_path / "results.jsonl"
    append_result(path, {"key": "a"})
    path.write_bytes(path.read_bytes() + torn)
    assert read_lines(path) == [{"key": "a"}]
    append_result(path, {"key": "c"})
    assert [line["key"] for line in read_lines(path)] == ["a", "c"]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_whole_last_line_without_newline_is_kept(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text('{"key": "a"}')
    append_result(path, {"key": "b"})
    assert [line["key"] for line in read_lines(path)] == ["a", "b"]


def test_a_broken_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text('{"key": "a"}\nnonsense\n{"key": "b"}\n')
    with pytest.raises(DataError, match="line 2"):
        read_lines(path)


def test_many_writers_lose_no_line(tmp_path):
    path = tmp_path / "results.jsonl"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: append_result(path, {"key": i, "pad": "x" * 5000}), range(60)))
    assert sorted(line["key"] for line in read_lines(path)) == list(range(60))


def test_nan_is_refused_and_leaves_the_file_alone(tmp_path):
    path = tmp_path / "results.jsonl"
    with pytest.raises(ValueError):
        append_result(path, {"loss": float("nan")})
    assert not path.exists()


def test_the_table_is_flat_and_takes_the_last_line_of_a_key(tmp_path):
    path = tmp_path / "results.jsonl"
    for aa in (0.1, 0.2):
        append_result(path, {"key": "a", "test": {"aa": aa, "miou": None}, "n": np.int64(3)})
    table = read_results(path)
    assert len(table) == 1 and table["test.aa"][0] == 0.2 and table["n"][0] == 3
    assert np.isnan(table["test.miou"][0])
    assert read_results(tmp_path / "missing.jsonl").empty


def random_confusions(seeds, patches, skill, seed):
    """Patches with one of three classes each, predicted right with probability `skill`."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, patches)
    counts = np.zeros((seeds, patches, 3, 3), dtype=int)
    for s in range(seeds):
        guess = np.where(rng.random(patches) < skill, truth, (truth + 1) % 3)
        counts[s, np.arange(patches), truth, guess] = 1
    return counts


def test_vectorised_metrics_equal_the_plain_ones():
    confusion = np.random.default_rng(0).integers(0, 9, (4, 3, 3))
    confusion[1, 2] = 0  # an absent class
    plain = [segmentation_metrics(torch.tensor(one)) for one in confusion]
    for name in ("aa", "oa", "miou"):
        assert intervals.METRICS[name](confusion) == pytest.approx([one[name] for one in plain])
    from eo_ssl.evaluate.metrics import multilabel_count_metrics

    counts = np.array([[[3, 1, 2], [0, 4, 0], [1, 0, 0]], [[0, 0, 5], [2, 2, 2], [0, 0, 0]]])
    expected = [multilabel_count_metrics(torch.tensor(one))["f1_macro"] for one in counts]
    assert intervals.macro_f1(counts) == pytest.approx(expected)


def test_the_value_is_the_mean_over_seeds_of_the_pooled_metric():
    counts = random_confusions(3, 50, 0.7, 0)
    interval = intervals.hierarchical_interval(
        counts, np.arange(50), intervals.average_accuracy, resamples=200
    )
    expected = np.mean([confusion_metrics(torch.tensor(one.sum(0)))["aa"] for one in counts])
    assert interval.value == pytest.approx(expected)
    assert interval.low <= interval.value <= interval.high


def test_95_percent_intervals_cover_the_truth_about_that_often():
    hits = 0
    for trial in range(120):
        counts = random_confusions(1, 80, 0.7, trial)
        interval = intervals.hierarchical_interval(
            counts, np.arange(80), intervals.overall_accuracy, resamples=300, seed=trial
        )
        hits += interval.low <= 0.7 <= interval.high
    assert 0.88 <= hits / 120 <= 1.0


def test_overlapping_patches_widen_the_interval():
    counts = np.repeat(random_confusions(1, 20, 0.7, 1), 10, axis=1)  # every patch seen ten times
    alone = intervals.hierarchical_interval(counts, np.arange(200), intervals.overall_accuracy)
    grouped = intervals.hierarchical_interval(
        counts, np.repeat(np.arange(20), 10), intervals.overall_accuracy
    )
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)


def test_pairing_sees_a_difference_that_separate_intervals_do_not():
    hard = random_confusions(1, 60, 0.5, 2)
    better = hard.copy()
    wrong = np.flatnonzero(hard[0].trace(axis1=1, axis2=2) == 0)[:5]
    for patch in wrong:
        truth = int(hard[0, patch].sum(1).argmax())
        better[0, patch] = 0
        better[0, patch, truth, truth] = 1
    groups = np.arange(60)
    compared = intervals.paired_difference(better, hard, groups, intervals.overall_accuracy)
    assert compared.difference.low > 0 and compared.p_not_better < 0.05
    separate = [
        intervals.hierarchical_interval(c, groups, intervals.overall_accuracy) for c in (better, hard)
    ]
    assert separate[0].low < separate[1].high
    same = intervals.paired_difference(hard, hard, groups, intervals.overall_accuracy)
    assert (same.difference.low, same.difference.high) == (0, 0)


def test_an_interval_of_seeds_stays_within_them_and_needs_values():
    interval = intervals.bootstrap_interval(np.array([0.5, 0.6, 0.7]))
    assert interval.value == pytest.approx(0.6) and 0.5 <= interval.low < interval.high <= 0.7
    with pytest.raises(ValueError):
        intervals.bootstrap_interval(np.array([]))
    with pytest.raises(ValueError):
        intervals.bootstrap_interval(np.array([np.nan]))
