"""A quiz: nothing is lost or run as HTML, every choice is answered, and what is not whole is refused by number."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from eo_ssl.errors import DataError
from eo_ssl.show.quiz import as_html, questions

CHAPTERS = Path(__file__).parents[2] / "notebooks" / "chapters"
FILES = sorted(set(CHAPTERS.glob("*.toml")) - {CHAPTERS / "capstone.toml"})  # which has a rubric


class Choices(HTMLParser):
    """Texts of the page as a reader meets them: (question's group, choice, what opens)."""

    def __init__(self):
        super().__init__()
        self.found, self.open = [], []

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        if tag == "details":
            self.found.append([dict(attributes)["name"], "", ""])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "details" in self.open:
            self.found[-1][1 if "summary" in self.open else 2] += data


def shown(asked, name):
    """Of each question the choices on the page, in order, each with what it opens to."""
    page = Choices()
    page.feed(as_html(asked, name))
    assert page.open == []
    numbers = range(1, len(asked) + 1)
    return [{choice: said for group, choice, said in page.found if group.endswith(f"-{n}")} for n in numbers]


def plain(text):
    return re.sub(r"[`*]", "", text)


def test_each_choice_opens_to_its_own_sentence_and_the_right_one_has_no_favourite_place():
    places = []
    for path in FILES:
        asked = questions(path)
        for one, found in zip(asked, shown(asked, path.stem), strict=True):
            wanted = {plain(one["right"][0]): f"✓ Right. {plain(one['right'][1])}"}
            wanted |= {plain(choice): f"✗ Not quite. {plain(why)}" for choice, why in one["wrong"]}
            assert found == wanted
            assert all(said.rstrip('"').endswith((".", "?")) for said in found.values())
            places.append(list(found).index(plain(one["right"][0])))
    assert max(places.count(place) for place in (0, 1, 2)) < 0.5 * len(places)


def test_text_is_shown_and_not_run():
    wrong = [["b", "y."], ["c", "z."]]
    page = as_html(
        [{"ask": "Is `a < b` *true* & 2*3*4?", "right": ["<script>", "x."], "wrong": wrong}], "name"
    )
    assert "<code>a &lt; b</code> <em>true</em> &amp;" in page and "<script" not in page


@pytest.mark.parametrize(
    "broken", ['ask = ""', 'right = ["a"]', 'wrong = [["b", "y."]]', 'wrong = [["a", "y."], ["c", "z."]]']
)
def test_a_question_that_is_not_whole_is_refused_by_file_and_number(tmp_path, broken):
    lines = {"ask": '"?"', "right": '["a", "x."]', "wrong": '[["b", "y."], ["c", "z."]]'}
    whole = "[[quiz]]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())
    path = tmp_path / "ch99.toml"
    path.write_text(whole)
    assert len(questions(path)) == 1
    key, value = broken.split(" = ")
    path.write_text(whole + whole.replace(f"{key} = {lines[key]}", f"{key} = {value}"))
    with pytest.raises(DataError, match=r"ch99.toml, question 2: give ask"):
        questions(path)
