"""Tables of the instructor's pages, made when the book is built: minutes, notes of each chapter, rubric.

Computing minutes are those of the released laptop run, exercise minutes stand under the titles of the exercises,
reading minutes are counted at the rates below. Nothing is typed that can be counted.
"""

import math
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from eo_ssl.course import notebooks
from eo_ssl.files import read_json, write_text
from eo_ssl.show.quiz import questions

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "notebooks"))

from chapters.capstone import rubric  # noqa: E402 (the table that stands in the notebook)

WORDS, LINES = 130, 15  # of prose, and of shown code, that are read in a minute
FOLDED = {"hide-input", "remove-input", "remove-cell", "parameters"}
KINDS = {"none": (), "must": ("must",), "all": ("must", "stretch")}
OPENING, TOGETHER = "Opening", "**together**"


@dataclass(frozen=True)
class Section:
    """What stands under one heading of the second level: minutes of reading, and (minutes, kind) of its exercises."""

    title: str
    reading: float
    exercises: tuple[tuple[int, str], ...]

    def doing(self, exercises: str = "all") -> int:
        """Minutes of its exercises: "must", "all" or "none"."""
        return sum(minutes for minutes, kind in self.exercises if kind in KINDS[exercises])


@dataclass(frozen=True)
class Chapter:
    """A chapter with its sections; `computing` minutes are None where the released run does not hold it."""

    number: str
    title: str
    sections: tuple[Section, ...]
    computing: float | None

    @property
    def name(self) -> str:
        """Number and title, as in the book's contents."""
        return f"{self.number} {self.title}" if len(self.number) == 2 else self.title

    def reading(self, without: Iterable[str] = ()) -> int:
        """Minutes of reading, whole, without the sections of these titles."""
        return math.ceil(sum(s.reading for s in self.sections if s.title not in set(without)))

    def doing(self, exercises: str = "all", without: Iterable[str] = ()) -> int:
        """Minutes of exercises, without the sections of these titles."""
        return sum(s.doing(exercises) for s in self.sections if s.title not in set(without))


def read_chapters(root: Path) -> dict[str, Chapter]:
    """All chapters of the project in `root` by number ("04"), and the capstone by its name."""
    released = read_json(root / "book" / "results" / "laptop.json")["minutes"]
    found = {}
    folder = root / "notebooks"
    for path in notebooks.handed_out(folder):
        notebook = notebooks.read(path)
        number = path.stem if path.stem == "capstone" else path.stem[:2]
        found[number] = Chapter(
            number, notebooks.title(notebook), sections(notebook), released.get(path.stem)
        )
    return found


def sections(notebook: nbformat.NotebookNode) -> tuple[Section, ...]:
    """The sections of a notebook, in order; what stands before the first heading is the opening."""
    made: list[tuple[str, list[float], list[tuple[int, str]]]] = [(OPENING, [], [])]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            shown = 0 if FOLDED & set(notebooks.tags(cell)) else len(cell.source.splitlines())
            made[-1][1].append(shown / LINES)
            continue
        for line in cell.source.splitlines():
            if line.startswith("## "):
                made.append((line[3:].strip(), [], []))
            made[-1][1].append(len(line.split()) / WORDS)
        if said := notebooks.effort(cell.source):
            made[-1][2].append((said["minutes"], said["kind"]))
    return tuple(Section(title, sum(reading), tuple(doing)) for title, reading, doing in made)


# Schedules


@dataclass(frozen=True)
class Row:
    """One line of a schedule, in minutes: talk, reading and exercises in the room, homework, and computing."""

    title: str
    talk: int
    reading: int
    doing: int
    home: int
    computing: float

    @property
    def room(self) -> int:
        """Minutes in the room; computing is done before, or runs meanwhile."""
        return self.talk + self.reading + self.doing


def schedules() -> list[dict[str, Any]]:
    """The plans of schedules.toml, as they stand there."""
    return tomllib.loads((HERE / "schedules.toml").read_text(encoding="utf-8"))["schedule"]


def rows(schedule: dict[str, Any], chapters: dict[str, Chapter]) -> list[Row]:
    """The lines of a schedule; chapters that are not there are left out, and so are lines of nothing else."""
    made = []
    for part in schedule["part"]:
        wanted, without = part.get("chapters", []), part.get("without", [])
        there = [chapters[number] for number in wanted if number in chapters]
        if wanted and not there:
            continue
        kind, at_home = part.get("exercises", "must"), part.get("at_home", False)
        reading = sum(chapter.reading(without) for chapter in there)
        doing = sum(chapter.doing(kind, without) for chapter in there)
        more = sum(chapter.doing("all", without) for chapter in there) - doing
        minutes = (0, doing, reading + more) if at_home else (reading, doing, 0)
        title = ": ".join([part["title"], *filter(None, [" · ".join(c.name for c in there)])])
        made.append(Row(title, part.get("talk", 0), *minutes, sum(c.computing or 0 for c in there)))
    return made


def total(lines: Iterable[Row]) -> Row:
    """The sums of a schedule."""
    lines, names = list(lines), ("talk", "reading", "doing", "home", "computing")
    return Row(TOGETHER, *(sum(getattr(row, name) for row in lines) for name in names))


def schedule_table(schedule: dict[str, Any], chapters: dict[str, Chapter]) -> str:
    """A schedule in Markdown, with its sums and the time that it was made for."""
    lines = rows(schedule, chapters)
    out = [f"### {schedule['name']}", "", schedule["about"].strip(), ""]
    out.append("| part | talk | reading | exercises | **in the room** | at home | computing |")
    out.append("|---|--:|--:|--:|--:|--:|--:|")
    for row in [*lines, total(lines)]:
        numbers = (
            f"{row.talk} | {row.reading} | {row.doing} | **{row.room}** | {row.home} | {row.computing:.1f}"
        )
        out.append(f"| {row.title} | {numbers} |")
    spare = schedule["minutes"] - total(lines).room
    left = f"{spare} are left for breaks and for what nobody foresees"
    return "\n".join([*out, "", f"Made for {schedule['minutes']} minutes, of which {left}."])


# Notes, pages


def section_table(chapter: Chapter) -> str:
    """Minutes of each section of a chapter, in Markdown."""
    lines = ["| section | reading | must | stretch |", "|---|--:|--:|--:|"]
    for one in chapter.sections:
        must = one.doing("must")
        lines.append(f"| {one.title} | {one.reading:.1f} | {must or ''} | {one.doing() - must or ''} |")
    must = chapter.doing("must")
    sums = f"{sum(s.reading for s in chapter.sections):.1f} | {must} | {chapter.doing() - must}"
    return "\n".join([*lines, f"| {TOGETHER} | {sums} |"])


def answers(path: Path) -> str:
    """The right choice of each question of a quiz, and why, in Markdown."""
    lines = [
        f"{number}. {one['ask']} **{one['right'][0].rstrip('.')}.** {one['right'][1]}"
        for number, one in enumerate(questions(path), 1)
    ]
    return "\n".join(lines)


def longest(chapters: Iterable[Chapter], count: int = 4) -> str:
    """The chapters that compute longest, in words."""
    known = sorted((c for c in chapters if c.computing), key=lambda c: -(c.computing or 0))[:count]
    return ", ".join(f"{c.number} ({c.computing:.0f} minutes)" for c in known)


def folded(title: str, text: str) -> str:
    """Text that opens under its title."""
    return f":::{{dropdown}} {title}\n{text}\n:::"


SAID = {"watch": "Watch for", "pause": "Pause", "late": "When late, skip", "plots": "The plots"}


def note(chapter: Chapter, said: dict[str, str], quiz: Path) -> str:
    """What the page of notes says of one chapter, in Markdown."""
    must, whole = chapter.doing("must"), chapter.doing()
    known = chapter.computing is not None
    computing = f"{chapter.computing:.1f} of computing" if known else "computing not in the released run yet"
    exercises = f"{must} of exercises that everybody does ({whole} with all)" if whole else "no exercises"
    parts = [f"## {chapter.number.upper()} · {chapter.title}"]
    parts.append(f"*About {chapter.reading()} minutes of reading, {exercises}, {computing}.*")
    parts += [f"**{title}.** {said[name]}" for name, title in SAID.items() if name in said]
    parts.append(folded("Minutes of each section", section_table(chapter)))
    if quiz.is_file():
        parts.append(folded("Answers to the quiz", answers(quiz)))
    return "\n\n".join(parts)


def fill(root: Path, book: Path) -> None:
    """Put the tables in the place of their marks, in the pages of a copy of the book's folder."""
    modules, chapters = root / "notebooks" / "chapters", read_chapters(root)
    said = tomllib.loads((HERE / "notes.toml").read_text(encoding="utf-8"))
    quizzes = {n: modules / f"{n if n.startswith('a') else f'ch{n}'}.toml" for n in chapters if len(n) == 2}
    made = {
        "rates": f"{WORDS} words of prose, and {LINES} lines of shown code, a minute",
        "longest": longest(chapters.values()),
        "schedules": "\n\n".join(schedule_table(one, chapters) for one in schedules()),
        "notes": "\n\n".join(
            note(chapters[n], said.get(n, {}), quizzes[n]) for n in chapters if n in quizzes
        ),
        "rubric": rubric().data,
    }
    for page in (*book.glob("instructor/*.md"), book / "capstone.md"):
        text = page.read_text(encoding="utf-8")
        for name, table in made.items():
            text = text.replace(f"<!-- {name} -->", table)
        write_text(page, text)
