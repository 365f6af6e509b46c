"""results.jsonl survives kills and many writers."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from eo_ssl.errors import DataError
from eo_ssl.experiments.results import append_result, read_lines, read_results


@pytest.mark.parametrize("torn", [b'{"key": "b", "te', b'{"key": "\xc3', b"\x00\x00"])
def test_a_torn_last_line_is_ignored_and_then_replaced(tmp_path, torn):
    path = tmp_path / "results.jsonl"
    append_result(path, {"key": "a"})
    path.write_bytes(path.read_bytes() + torn)
    assert read_lines(path) == [{"key": "a"}]
    append_result(path, {"key": "c"})
    assert [line["key"] for line in read_lines(path)] == ["a", "c"]
    assert all(json.loads(line) for line in path.read_text().splitlines())
    path.write_text('{"key": "a"}')  # whole, only the newline is missing
    append_result(path, {"key": "b"})
    assert [line["key"] for line in read_lines(path)] == ["a", "b"]


def test_a_broken_line_in_the_middle_is_named_and_nan_never_written(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text('{"key": "a"}\nnonsense\n{"key": "b"}\n')
    with pytest.raises(DataError, match="line 2"):
        read_lines(path)
    path = tmp_path / "new.jsonl"
    with pytest.raises(ValueError):
        append_result(path, {"loss": float("nan")})
    assert not path.exists()


def test_many_writers_lose_no_line(tmp_path):
    path = tmp_path / "results.jsonl"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: append_result(path, {"key": i, "pad": "x" * 5000}), range(60)))
    assert sorted(line["key"] for line in read_lines(path)) == list(range(60))


def test_the_table_is_flat_and_takes_the_last_line_of_a_key(tmp_path):
    path = tmp_path / "results.jsonl"
    for aa in (0.1, 0.2):
        append_result(path, {"key": "a", "test": {"aa": aa, "miou": None}, "n": np.int64(3)})
    table = read_results(path)
    assert len(table) == 1 and table["test.aa"][0] == 0.2 and table["n"][0] == 3
    assert np.isnan(table["test.miou"][0])
    assert read_results(tmp_path / "missing.jsonl").empty
