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
        self.found, self.open, self.tags = [], [], []

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.tags.append(tag)
        if tag == "details":
            self.found.append([dict(attributes)["name"], "", ""])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "details" in self.open:
            self.found[-1][1 if "summary" in self.open else 2] += data


def plain(text):
    return re.sub(r"[`*]", "", text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_choice_opens_to_its_own_sentence_and_one_of_each_question_is_right(path):
    page, asked = Choices(), questions(path)
    page.feed(as_html(asked, path.stem))
    assert page.open == []
    for number, one in enumerate(asked, 1):
        shown = {choice: said for group, choice, said in page.found if group.endswith(f"-{number}")}
        wanted = {plain(one["right"][0]): f"✓ Right. {plain(one['right'][1])}"}
        wanted |= {plain(choice): f"✗ Not quite. {plain(why)}" for choice, why in one["wrong"]}
        assert shown == wanted
        assert all(said.rstrip('"').endswith((".", "?")) for said in shown.values())


def test_the_right_choice_has_no_favourite_place():
    places = []
    for path in FILES:
        page, asked = Choices(), questions(path)
        page.feed(as_html(asked, path.stem))
        for number in range(1, len(asked) + 1):
            own = [said for group, _, said in page.found if group.endswith(f"-{number}")]
            places += [[said.startswith("✓") for said in own].index(True)]
    assert max(places.count(place) for place in (0, 1, 2)) < 0.5 * len(places)


def test_text_is_shown_and_not_run():
    asked = [
        {
            "ask": "Is `a < b` *true* & 2*3*4?",
            "right": ["<script>", "x."],
            "wrong": [["b", "y."], ["c", "z."]],
        }
    ]
    shown = as_html(asked, "name")
    assert "<code>a &lt; b</code> <em>true</em> &amp;" in shown and "<script" not in shown


@pytest.mark.parametrize(
    "broken", ['ask = ""', 'right = ["a"]', 'wrong = [["b", "y."]]', 'wrong = [["a", "y."], ["c", "z."]]']
)
def test_a_question_that_is_not_whole_is_refused_by_file_and_number(tmp_path, broken):
    lines = {
        "ask": 'ask = "?"',
        "right": 'right = ["a", "x."]',
        "wrong": 'wrong = [["b", "y."], ["c", "z."]]',
    }
    whole = "[[quiz]]\n" + "\n".join(lines.values()) + "\n"
    path = tmp_path / "ch99.toml"
    path.write_text(whole)
    assert len(questions(path)) == 1
    path.write_text(whole + "[[quiz]]\n" + "\n".join((lines | {broken.split()[0]: broken}).values()))
    with pytest.raises(DataError, match=r"ch99.toml, question 2: give ask"):
        questions(path)
