"""Checks pass on right answers, and answer wrong ones with the message that helps."""


import numpy as np
import pytest
import torch

from eo_ssl.course.checks import ExerciseFailed, exercise, expect, expect_close, expect_shape


@exercise("halving", praise="Well halved.")
def check_half(half):
    got = half(np.array([2.0, 4.0]))
    expect_shape(got, (2,), "the result")
    expect_close(got, [1, 2], "half of 2 and 4", mistakes={"that is twice": [4, 8]})


def test_a_right_answer_is_praised():
    passed = check_half(lambda x: x / 2)
    assert "halving" in repr(passed) and "Well halved." in passed._repr_html_()


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
        (lambda x: "half", "should be an array or tensor, but it is a str"),
        (lambda x: x / 0 * 0, "holds NaN: look for a division by zero"),
        (lambda x: x / 3, r"should be \[1., 2.\], but it is \[0.6667, 1.3333\]"),
        (lambda x: x.no_such_thing, "stopped with AttributeError"),
        (lambda x: missing_operator(), "stopped with NotImplementedError: .*aten::x.* MPS"),
        ([1.0, 2.0], "give it the name, without brackets"),
        (np.array([1.0, 2.0]), "give it the name, without brackets"),
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
def check_layer(layer):
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


def test_tensors_and_arrays_are_compared_alike():
    expect_close(torch.tensor([1.0, 2.0], requires_grad=True), np.array([1, 2]), "the tensor")


def test_a_notebook_shows_the_message_without_a_traceback():
    with pytest.raises(ExerciseFailed) as caught:
        expect(False, "Look at the sign.")
    (line,) = caught.value._render_traceback_()
    assert "Look at the sign." in line and "File" not in line
