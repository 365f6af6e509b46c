"""Threads are chosen by measurement: more of them only where they help, and the user's own choice stands."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eo_ssl.course import run as threads


@given(st.dictionaries(st.integers(1, 64), st.floats(1e-3, 10), min_size=1))
def test_the_choice_is_never_slower_than_one_thread_and_never_wasteful(seconds):
    seconds[1] = 1.0
    chosen = threads.choose(seconds)
    assert seconds[chosen] <= 1.0
    cheaper = [seconds[n] for n in seconds if n < chosen]
    assert all(seconds[chosen] < threads.FULL_USE * s for s in cheaper)


@pytest.mark.parametrize("cores", [1, 2, 3, 64])
def test_candidates_span_one_to_all_cores(cores):
    found = threads.candidates(cores)
    assert found[0] == 1 and found[-1] == cores and len(set(found)) == len(found)


def test_the_measured_number_is_one_that_this_process_may_use():
    assert threads.fitting() in threads.candidates(len(os.sched_getaffinity(0)))


def test_work_that_cannot_be_measured_leaves_all_cores(monkeypatch):
    monkeypatch.setattr("sys.executable", "/bin/false")
    assert threads.fitting() == threads.cores()
