"""The student edition: stubs instead of solutions, nothing else changed, nobody's work overwritten."""

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eo_ssl.course import notebooks, student
from eo_ssl.course.student import BEGIN, END, stub, student_edition
from eo_ssl.errors import DataError
from eo_ssl.files import write_text

SOLVED = f"def f(x):\n    '''Twice x.'''\n    {BEGIN}\n    y = x\n    return 2 * y\n    {END}"


@pytest.mark.parametrize(
    "source", ["x = 1", f"{BEGIN}\nx = 1", f"{BEGIN}\n{BEGIN}\n{END}", f"{END}\n{BEGIN}"]
)
def test_markers_that_do_not_match_are_named(source):
    with pytest.raises(DataError, match="chapter 9"):
        stub(source, "chapter 9")


lines = st.lists(st.sampled_from("abcd").map("{} = 1".format), max_size=6)


@given(lines, lines, lines, lines, lines)
def test_whatever_is_inside_goes_and_whatever_is_outside_stays(before, one, between, two, after):
    source = "\n".join([*before, BEGIN, *one, END, *between, BEGIN, *two, END, *after])
    assert stub(source).splitlines() == [*before, student.STUB, *between, student.STUB, *after]
    with pytest.raises(NotImplementedError):
        exec(stub(source), {})
    assert student.without_markers(source).splitlines() == [*before, *one, *between, *two, *after]


@pytest.fixture
def chapter(write, folder):
    path = write("01_a", SOLVED, "ch01.check_twice(f)", prose=":::{dropdown} Hint\n`x`\n:::")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[2].metadata["tags"] = ["exercise", "hide-input"]
    nbformat.write(notebook, path)
    notebooks.normalise(path)
    notebook = nbformat.read(path, as_version=4)  # an instructor has run it
    notebook.cells[3].outputs = [nbformat.v4.new_output("stream", text="return 2")]
    nbformat.write(notebook, path)
    return path


def test_the_edition_has_stubs_that_are_not_folded_and_do_not_stop_run_all(chapter, folder, tmp_path):
    (path,) = student_edition(folder, tmp_path / "student")
    cells = nbformat.read(path, as_version=4).cells
    assert BEGIN not in path.read_text() and "return 2" not in path.read_text()
    assert cells[2].metadata == {"tags": ["exercise", "raises-exception"]}, "nor hidden in JupyterLab"
    assert cells[3].metadata["tags"] == ["raises-exception"]
    assert cells[0].source.endswith("<details><summary>Hint</summary>\n\n`x`\n\n</details>"), "folds, too"


def test_works_are_cited_by_author_and_year_as_jupyterlab_knows_no_roles(folder, write, tmp_path):
    write_text(
        folder.parent / "book" / "references.bib",
        """@book{a, author = {von Neumann, John and Fr{\\"o}b, Ada}, title = {A <b> & c}, year = 1950}
        @book{b, author = {Wu, Bo and others}, title = {{SAR} seen}, year = 2020}""",
    )
    write("01_a", prose="Two {cite}`a,b` and an unknown one {cite}`a,c`.")
    (path,) = student_edition(folder, tmp_path / "student")
    assert (
        nbformat.read(path, as_version=4)
        .cells[0]
        .source.endswith(
            'Two (<abbr title="A &lt;b&gt; &amp; c">von Neumann and Fröb, 1950</abbr>; '
            '<abbr title="SAR seen">Wu et al., 2020</abbr>) and an unknown one {cite}`a,c`.'
        )
    )


def test_modules_and_images_come_along_and_only_what_a_student_has_not_changed_is_brought_up_to_date(
    chapter, folder, tmp_path
):
    module, out = folder / "chapters" / "ch01.py", tmp_path / "student"
    write_text(module, "x = 1")
    write_text(folder / "chapters" / "__pycache__" / "ch01.pyc", "")
    write_text(folder / "images" / "windows.svg", "<svg/>")
    (path,) = student_edition(folder, out)
    assert {str(p.relative_to(out)) for p in out.rglob("*.*") if p.is_file()} == {
        "01_a.ipynb", "chapters/ch01.py", "images/windows.svg", student.WRITTEN,
    }  # fmt: skip
    write_text(module, "x = 2")
    student_edition(folder, out)
    assert (out / "chapters" / "ch01.py").read_text() == "x = 2"
    path.write_text("my work")
    assert student_edition(folder, out) == [path], "there is nothing new to put beside it"
    chapter.write_text(chapter.read_text().replace("Title", "Better title"))
    (new,) = student_edition(folder, out)
    assert path.read_text() == "my work" and new.name == "01_a.new.ipynb" and "Better" in new.read_text()
    new.write_text("work there, too")
    chapter.write_text(chapter.read_text().replace("Better", "Best"))
    (newest,) = student_edition(folder, out)
    assert new.read_text() == "work there, too" and newest.name == "01_a.new2.ipynb"
    newest.unlink()
    student_edition(folder, out)
    assert path.read_text() == "my work" and not newest.exists(), "what was thrown away does not come back"


def test_solutions_are_left_out_unless_asked_for_and_then_stand_aside_under_their_titles(
    chapter, folder, tmp_path
):
    notebook = nbformat.read(chapter, as_version=4)
    notebook.cells.insert(2, nbformat.v4.new_markdown_cell("## Part\n\n### Exercise 1.1: twice\n\nDo it."))
    nbformat.write(notebook, chapter)
    student_edition(folder, tmp_path / "without")
    assert not (tmp_path / "without" / "solutions").exists()
    student_edition(folder, tmp_path / "with", solutions=True)
    text = (tmp_path / "with" / "solutions" / "01_a.py").read_text()
    assert text.startswith("# Exercise 1.1: twice\n\ndef f(x):") and BEGIN not in text
    namespace = {}
    exec(text, namespace)
    assert namespace["f"](2) == 4


def test_a_solution_outside_an_exercise_cell_is_refused(write, folder, tmp_path):
    write("01_a", SOLVED)
    with pytest.raises(DataError, match=r"01_a\.ipynb, cell 2: holds a solution but is not tagged exercise"):
        student_edition(folder, tmp_path / "student")
