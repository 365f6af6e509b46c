"""Checks pass on right answers, and answer wrong ones with the message that helps."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from eo_ssl.course import checks as framework
from eo_ssl.course.checks import ExerciseFailed, exercise, expect, expect_close, expect_shape


@exercise("halving", praise="Well halved.")
def check_half(half):
    got = half(np.array([2.0, 4.0]))
    expect_shape(got, (2,), "the result")
    expect_close(got, [1, 2], "half of 2 and 4", mistakes={"that is twice": [4, 8]})


def test_a_right_answer_is_praised_and_a_notebook_shows_no_traceback_of_a_wrong_one():
    passed = check_half(lambda x: x / 2)
    assert "halving" in repr(passed) and "Well halved." in passed._repr_html_()
    with pytest.raises(ExerciseFailed) as caught:
        expect(False, "Look at the sign.")
    (line,) = caught.value._render_traceback_()
    assert "Look at the sign." in line and "File" not in line


def missing_operator():
    raise NotImplementedError("The operator 'aten::x' is not currently implemented for the MPS device.")


def unfinished(*_):
    raise NotImplementedError("your turn")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (unfinished, "nothing is there yet"),
        (lambda x: None, "nothing is there yet"),
        (lambda x: ..., "nothing is there yet"),
        (lambda x: x * 2, "that is twice"),
        (lambda x: x[:1] / 2, r"should have shape \(2,\), but it has \(1,\)"),
        (lambda x: "half", "should be a number or an array, but it is a str"),
        (lambda x: x / 0 * 0, "holds NaN: look for a division by zero"),
        (lambda x: x / 3, r"should be \[1., 2.\], but it is \[0.6667, 1.3333\]"),
        (lambda x: x.no_such_thing, "stopped with AttributeError"),
        (lambda x: missing_operator(), "stopped with NotImplementedError: .*aten::x.* MPS"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_a_wrong_answer_gets_the_message_that_helps(answer, words):
    with pytest.raises(ExerciseFailed, match=words):
        check_half(answer)


@exercise("both ends")
def check_ends(ends):
    low, high = ends()
    expect(low < high, "The low end first.")


@pytest.mark.parametrize("answer", [lambda: 3, lambda: (1, 2, 3), lambda: [1]])
def test_the_wrong_number_of_values_is_named_as_such(answer):
    with pytest.raises(ExerciseFailed, match="does not return as many values as the task asks for"):
        check_ends(answer)


@exercise("the doubling layer")
def check_layer(layer: type):
    layer(2)


class Broken:
    """Takes no arguments."""


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (type("Unfinished", (), {"__init__": unfinished}), "the doubling layer: nothing is there yet"),
        (Broken, "stopped with TypeError"),
        (None, "nothing"),
    ],
)
def test_a_class_that_is_a_stub_or_broken_gets_a_message_too(answer, words):
    with pytest.raises(ExerciseFailed, match=words):
        check_layer(answer)


RESULTS = st.one_of(st.floats(), st.integers(0, 9), st.lists(st.floats(-9, 9)))


@given(
    RESULTS,
    st.sampled_from([lambda value: value, repr, np.array, torch.tensor, lambda value: {"answer": value}]),
)
@settings(max_examples=40)
def test_a_result_where_a_function_or_a_class_is_asked_for_is_called_by_its_name(value, form):
    thing = form(value)
    name = "a text in quotes" if isinstance(thing, str) else f"the result of a call, a {type(thing).__name__}"
    for check, call in (
        (check_half, "check_half(half): the name of your function"),
        (check_layer, "check_layer(layer): the name of your class"),
    ):
        with pytest.raises(ExerciseFailed) as caught:
            check(thing)
        assert f"this is {name}. Write {call}" in str(caught.value)


@pytest.mark.parametrize(
    ("check", "things", "words"),
    [
        (check_half, [Broken], "this is the class Broken"),
        (check_layer, [unfinished], "this is a function"),
        (check_layer, [Broken()], "this is the result of a call, a Broken"),
        (check_half, [], "one thing is asked for, not 0"),
        (check_half, [unfinished, 2.0], "one thing is asked for, not 2"),
    ],
)
def test_a_class_for_a_function_an_object_for_a_class_and_too_many_things_are_named(check, things, words):
    with pytest.raises(ExerciseFailed, match=words):
        check(*things)


def ways_to_write(values):
    """A nested list of numbers as lists, tuples, arrays or tensors of any type that holds them, mixed at will."""
    array, whole = np.array(values), np.array(values) == np.round(values)
    kinds = ["float64", "float32", *(["int64", "int16", "object"] if whole.all() else [])]
    one = [st.just(values)] + [st.just(array.astype(kind)) for kind in kinds]
    one += [st.just(torch.tensor(values, dtype=getattr(torch, kind))) for kind in kinds if kind != "object"]
    one += [st.just(torch.tensor(values, dtype=torch.float64, requires_grad=True))]
    if array.ndim:
        inner = st.tuples(*(ways_to_write(value) for value in values))
        one += [inner, inner.map(list)]
    return st.one_of(one)


@given(
    st.data(),
    arrays(
        float, array_shapes(min_dims=0, max_dims=3, max_side=3), elements=st.sampled_from([-2, 0, 1, 0.5])
    ),
)
def test_a_right_answer_is_right_in_whatever_type_it_comes_and_a_wrong_one_wrong(data, wanted):
    got = data.draw(ways_to_write(wanted.tolist()))
    expect_shape(got, wanted.shape, "it")
    expect_close(got, wanted, "it")
    with pytest.raises(ExerciseFailed, match="it should be"):
        expect_close(got, wanted + 1, "it")
    flags = np.isin(wanted, (0, 1))
    if flags.all():
        np.testing.assert_array_equal(framework.booleans(got), wanted.astype(bool))
    else:
        with pytest.raises(ExerciseFailed, match="should hold True and False"):
            framework.booleans(got)
