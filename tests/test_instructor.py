"""The pages for teachers: minutes are sums of what is counted, sections and chapters exist, nothing is left unfilled."""

import json
import re
import runpy
import shutil
from pathlib import Path

import pytest

from eo_ssl.course import notebooks
from eo_ssl.show.quiz import questions

ROOT = Path(__file__).parents[1]
TABLES = runpy.run_path(str(ROOT / "book" / "instructor" / "tables.py"))
CHAPTERS = TABLES["read_chapters"](ROOT)
SCHEDULES = {one["name"]: one for one in TABLES["schedules"]()}


@pytest.fixture
def pages(tmp_path):
    """The book's pages with their tables."""
    shutil.copytree(ROOT / "book", tmp_path / "book", ignore=shutil.ignore_patterns("_*", "results"))
    TABLES["fill"](ROOT, tmp_path / "book")
    return {path.stem: path.read_text("utf-8") for path in (tmp_path / "book").rglob("*.md")}


def test_minutes_are_those_of_the_released_run_the_titles_of_exercises_and_the_words():
    released = json.loads((ROOT / "book" / "results" / "laptop.json").read_text())["minutes"]
    for path in notebooks.sources(ROOT / "notebooks"):
        chapter, notebook = CHAPTERS[path.stem[:2]], notebooks.read(path)
        text = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
        assert chapter.computing == released.get(path.stem)
        assert chapter.doing() == sum(notebooks.effort(one).get("minutes", 0) for one in text)
        assert chapter.reading() >= len(" ".join(text).split()) / TABLES["WORDS"]


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_last_line_of_a_schedule_is_the_sum_of_the_others_and_fits_its_time(name, pages):
    table = re.search(rf"### {name}\n.*?\n\n(?P<rows>\|.*?)\n\n", pages["index"], re.DOTALL)["rows"]
    cells = [[c.strip(" *") for c in line.split("|")[2:-1]] for line in table.splitlines()[2:]]
    lines = [[float(cell) for cell in row] for row in cells]
    for talk, reading, doing, room, *_ in lines[:-1]:
        assert talk + reading + doing == room <= SCHEDULES[name].get("each", 1e9)
    # Computing is shown to a tenth.
    assert lines[-1] == pytest.approx([sum(column) for column in zip(*lines[:-1])], abs=0.05 * len(lines))
    assert lines[-1][3] <= SCHEDULES[name]["minutes"]


def test_what_schedules_leave_out_and_notes_speak_of_is_there():
    for part in [part for one in SCHEDULES.values() for part in one["part"]]:
        there = [CHAPTERS[number] for number in part.get("chapters", []) if number in CHAPTERS]
        if there:
            assert set(part.get("without", [])) <= {s.title for chapter in there for s in chapter.sections}
    taught = {number for part in SCHEDULES["Ten weeks"]["part"] for number in part.get("chapters", [])}
    assert {number for number in CHAPTERS if not number.startswith("a")} <= taught


def test_every_chapter_has_its_note_its_sections_and_the_answers_to_its_quiz(pages):
    assert not [name for name, text in pages.items() if re.search("<!-- (?!status)", text)]
    notes = re.split(r"^## ", pages["notes"], flags=re.MULTILINE)[1:]
    assert [note[:2] for note in notes] == [n.upper() for n in CHAPTERS if n != "capstone"]
    for note in notes:
        assert all(f"**{title}.**" in note for title in TABLES["SAID"].values()), note[:40]
        assert "Minutes of each section" in note
        quiz = ROOT / "notebooks" / "chapters" / f"{'ch' * note[0].isdigit()}{note[:2].lower()}.toml"
        right = [one["right"][1] for one in questions(quiz)] if quiz.is_file() else []
        assert all(why in note for why in right) and (right or note.startswith("00"))
