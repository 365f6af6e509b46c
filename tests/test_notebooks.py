"""Rules for all chapters: form, length, alt text, and exercises whose solutions pass and whose stubs fail."""

import ast
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml

from eo_ssl.course import notebooks, student
from eo_ssl.course.checks import ExerciseFailed
from eo_ssl.show.quiz import questions

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"
SOURCES = notebooks.sources(FOLDER)
LONGEST = 30


def code_cells(path: Path) -> list[Any]:
    return [c for c in notebooks.read(path).cells if c.cell_type == "code"]


def each(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=lambda p: p.stem)


def exercises() -> Iterator[Any]:
    """(chapter, exercise cell, check cell) of all exercises."""
    for path in SOURCES:
        for cell, check in pairwise([*code_cells(path), nbformat.v4.new_code_cell()]):
            if "exercise" in notebooks.tags(cell):
                names = re.findall(r"\.(check_\w+)\(", check.source)
                yield pytest.param(path, cell, check.source, id=f"{path.stem[:2]}-{'-'.join(names)}")


@each(SOURCES)
def test_the_source_is_in_the_form_of_the_repository(path, tmp_path):
    copy = tmp_path / path.name
    shutil.copy(path, copy)
    notebooks.normalise(copy)
    advice = f"run: python -m eo_ssl.course.notebooks notebooks/{path.name}"
    assert copy.read_text(encoding="utf-8") == path.read_text(encoding="utf-8"), advice
    nbformat.validate(nbformat.read(path, as_version=4))


@each(SOURCES)
def test_the_chapter_begins_with_a_title_and_the_parameter_cell_and_no_cell_is_too_long(path):
    first, cells = notebooks.read(path).cells[0], code_cells(path)
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    assert [index for index, cell in enumerate(cells) if "parameters" in notebooks.tags(cell)] == [0]
    assert re.sub(" +#", " #", cells[0].source) == re.sub(" +#", " #", notebooks.PARAMETERS)
    assert "setup(profile, data, run_dir, seed)" in cells[1].source
    assert [c.source for c in cells if len(c.source.splitlines()) > LONGEST] == []


@each(SOURCES)
def test_every_picture_in_the_text_has_alt_text_and_links_to_other_chapters_lead_somewhere(path):
    text = "\n".join(c.source for c in notebooks.read(path).cells if c.cell_type == "markdown")
    assert not re.search(r"!\[\s*\]", text)
    assert all(re.search(r'alt="[^"]+"', tag) for tag in re.findall(r"<img[^>]*>", text))
    linked = set(re.findall(r"\]\((\w\d_\w+\.ipynb)", text))
    assert {name for name in linked if not (FOLDER / name).is_file()} == set()


def test_the_picture_of_the_course_has_a_number_for_every_chapter_and_says_in_words_what_it_shows():
    picture = (FOLDER / "images" / "course.svg").read_text(encoding="utf-8")
    assert {path.stem[:2] for path in SOURCES} <= set(re.findall(r'id="eo-ch(..)"', picture))
    assert re.search(r"<title[^>]*>.{10,}</title>", picture)
    assert re.search(r"<desc[^>]*>.{100,}</desc>", picture)


def test_no_function_is_defined_in_two_chapters():
    where = defaultdict(set)
    for path in SOURCES:
        for cell in code_cells(path):
            for node in ast.walk(ast.parse(cell.source)):
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    where[node.name].add(path.stem)
    assert {name: stems for name, stems in where.items() if len(stems) > 1} == {}


def test_the_table_of_contents_lists_every_chapter_in_order():
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
    files = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    chapters = [name for name in files if name.startswith("notebooks/")]
    assert chapters == [f"notebooks/{path.stem}" for path in SOURCES], "book/_toc.yml"
    assert len({path.stem[:2] for path in SOURCES}) == len(SOURCES) > 12, "numbers of their own"
    assert all((ROOT / f"{name}.md").is_file() for name in files if not name.startswith("notebooks/"))


@each([path for path in SOURCES if "01" <= path.stem < "a"])
def test_every_chapter_has_two_exercises_with_hints_that_the_book_folds(path):
    cells = notebooks.read(path).cells
    places = [i for i, c in enumerate(cells) if "exercise" in notebooks.tags(c)]
    assert len(places) >= 2
    for index in places:
        assert "hide-input" in notebooks.tags(cells[index])
        before = [c.source for c in cells[:index] if c.cell_type == "markdown"]
        assert re.search("hint", before[-1], re.IGNORECASE), "the text before an exercise needs a hint"
        said = "under its title: *10 minutes · ●●○ · must*, as its metadata say (python -m eo_ssl.course.notebooks)"
        assert cells[index].metadata.get("exercise") == notebooks.effort(before[-1]) != {}, said
        assert re.search(r"· [●○]{3} ·", before[-1])
    assert {cells[index].metadata["exercise"]["kind"] for index in places} >= {"must"}


@each([path for path in SOURCES if path.stem[:2] != "00"])
def test_every_chapter_asks_three_to_five_questions_before_it_answers_them(path):
    module = "a1" if path.stem.startswith("a1") else f"ch{path.stem[:2]}"
    assert 3 <= len(questions(FOLDER / "chapters" / f"{module}.toml")) <= 5
    sources = [cell.source for cell in notebooks.read(path).cells]
    asked = sources.index(f"show.quiz({module})")
    assert "## Check yourself" in sources[asked - 1]
    assert not any("## Common misunderstandings" in source for source in sources[:asked])


@pytest.mark.parametrize(("path", "cell", "check"), exercises())
def test_the_solution_passes_and_the_stub_fails_with_a_message_that_teaches(path, cell, check):
    assert re.search(r"\bch\d\d\.check_", check), "the code cell after an exercise calls its check"
    solved = prepared(path, cell)
    exec(cell.source, solved)
    exec(check, solved)
    unsolved = prepared(path, cell)
    exec(student.stub(cell.source, path.name), unsolved)
    with pytest.raises(ExerciseFailed) as caught:
        exec(check, unsolved)
    assert len(str(caught.value)) > 20


def prepared(path: Path, until: Any) -> dict[str, Any]:
    """The imports of a chapter and its earlier solutions: all that an exercise may lean on."""
    namespace: dict[str, Any] = {"__name__": "chapter"}
    for cell in code_cells(path):
        imports = [n for n in ast.parse(cell.source).body if isinstance(n, ast.Import | ast.ImportFrom)]
        exec(compile(ast.Module(imports, []), path.name, "exec"), namespace)
    for cell in code_cells(path):
        if cell.id == until.id:
            return namespace
        if "exercise" in notebooks.tags(cell):
            exec(cell.source, namespace)
    raise AssertionError("the exercise is not in the chapter")
