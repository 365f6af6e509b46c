"""Notebook sources have one form, and converting the same text twice gives the same bytes."""

import nbformat
import pytest

from eo_ssl.course import notebooks
from eo_ssl.errors import DataError


def test_normalising_strips_outputs_counts_and_metadata_but_keeps_tags(write):
    path = write("00_a", "é = 'ü'")
    before = path.read_bytes()
    notebook = nbformat.read(path, as_version=4)
    cell = notebook.cells[2]
    cell.execution_count = 7
    cell.outputs = [nbformat.v4.new_output("stream", text="2")]
    cell.metadata = {"tags": ["hide-input"], "papermill": {"duration": 1}, "collapsed": True}
    notebook.metadata["widgets"] = {"state": "large"}
    nbformat.write(notebook, path)
    notebooks.normalise(path)
    cleaned = nbformat.read(path, as_version=4)
    assert cleaned.cells[2].metadata == {"tags": ["hide-input"], "jupyter": {"source_hidden": True}}
    cleaned.cells[2].metadata = {}
    nbformat.write(cleaned, path)
    notebooks.normalise(path)
    assert path.read_bytes() == before


def test_ids_come_from_the_content_and_are_unique(write):
    ids = [c.id for c in notebooks.read(write("00_a", "same", "same", "other")).cells]
    assert len(set(ids)) == len(ids) and ids[3] == f"{ids[2]}-2"
    assert [c.id for c in notebooks.read(write("00_a", "same", "same", "other")).cells] == ids


def test_only_numbered_notebooks_are_chapters(write, folder):
    for stem in ("a1_appendix", "10_last", "02_first"):
        write(stem)
    for name in ("scratch.ipynb", "02_first.new.ipynb"):
        (folder / name).write_text("{}")
    assert [p.stem for p in notebooks.sources(folder)] == ["02_first", "10_last", "a1_appendix"]


@pytest.mark.parametrize("name", ["02", "first", "02_first", "02_first.ipynb"])
def test_a_chapter_is_found_by_number_name_or_both(write, folder, name):
    write("02_first")
    write("10_last")
    assert [p.stem for p in notebooks.select(folder, [name])] == ["02_first"]


def test_parameters_are_read_without_running_them_and_a_broken_file_is_named(write, folder):
    notebook = notebooks.read(write("00_a", parameters="profile = 'x'\nseed = -3\nflag = True"))
    assert notebooks.parameters(notebook) == {"profile": "x", "seed": -3, "flag": True}
    (folder / "00_a.ipynb").write_text("not json")
    with pytest.raises(DataError, match=r"00_a\.ipynb"):
        notebooks.normalise(folder / "00_a.ipynb")
